"""JSON columns that are mostly small or empty, written and read as fast as they can be."""

import json
from functools import partial
from typing import Any

import orjson
from django.db import models
from django.db.backends.postgresql.psycopg_any import Jsonb

_document = partial(Jsonb, dumps=partial(orjson.dumps, option=orjson.OPT_UTC_Z))


class DocumentField(models.JSONField):
    """A JSON object; it may hold dates and times, and an empty one is read without parsing."""

    def reader(self, value: str | None) -> dict[str, Any] | None:
        """Return the object that the database's text means."""
        if value == "{}":
            return {}
        return None if value is None else json.loads(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return self.reader(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return _document(value) if isinstance(value, dict) else super().get_db_prep_value(value, connection, prepared)
