"""What may be in a request body, and nothing else."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from api.fields import Amount, Flag

_SENTENCES = {
    "read_only": "This field is ours to set.",
    "not_updatable": "This field cannot be changed.",
    "unknown_field": "There is no such field.",
}


Errors = Mapping[str, Any]
"""What is wrong, by field: a list of details, or the errors of the object in it."""

REQUIRED = ErrorDetail("This field is required.", "required")


class Shape(serializers.Serializer):
    """A request body: unknown, read-only and fixed fields are errors, never ignored.

    A shape is made once and used for every request: checking keeps nothing in it.
    """

    default_error_messages = {"invalid": "Send an object."}

    ours: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()

    def run_validation(self, data: Any = None, known: Errors | None = None) -> dict[str, Any]:
        """Return the values of a body, or raise everything that is wrong with it, what the caller knows included."""
        if not isinstance(data, Mapping):
            raise ValidationError([ErrorDetail("Send an object.", "null" if data is None else "invalid_type")])
        errors: dict[str, Any] = {name: [self._foreign(name)] for name in data if name not in self.fields}
        values: dict[str, Any] = {}
        for name, field in self.fields.items():
            if name in data:
                try:
                    values[name] = field.run_validation(data[name])
                except ValidationError as error:
                    errors[name] = error.detail
            elif field.required and not self.partial:
                errors[name] = [REQUIRED]
        for more in (known, self.together(data)):
            if more:
                _add(errors, more)
        if errors:
            raise ValidationError(errors)
        return values

    def together(self, data: Mapping[str, Any]) -> Errors | None:
        """Return what is wrong with which fields are there, as the errors of a serializer."""

    def _foreign(self, name: str) -> ErrorDetail:
        code = "not_updatable" if name in self.fixed else "read_only" if name in self.ours else "unknown_field"
        return ErrorDetail(_SENTENCES[code], code)


def _add(errors: dict[str, Any], more: Errors) -> None:
    """Add errors of fields that have none yet."""
    for name, detail in more.items():
        found = errors.setdefault(name, detail)
        if found is not detail and isinstance(found, dict) and isinstance(detail, Mapping):
            _add(found, detail)


class PaymentRules(Shape):
    """Overrides of the payment rules; null removes one."""

    min_amount = Amount(1, required=False, allow_null=True)
    max_amount = Amount(1, required=False, allow_null=True)
    underpayment_allowed = Flag(required=False, allow_null=True)
    overpayment_allowed = Flag(required=False, allow_null=True)
