"""JSON columns that are mostly empty."""

from typing import Any

from django.db import models


class DocumentField(models.JSONField):
    """A JSON object; an empty one, which most rows hold, is read without parsing."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if value == "{}":
            return {}
        return super().from_db_value(value, expression, connection)
