"""JSON columns that are mostly empty."""

import json
from typing import Any

from django.db import models


class DocumentField(models.JSONField):
    """A JSON object; an empty one, which most rows hold, is read without parsing."""

    def reader(self, value: str | None) -> dict[str, Any] | None:
        """Return the object that the database's text means."""
        if value == "{}":
            return {}
        return None if value is None else json.loads(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return self.reader(value)
