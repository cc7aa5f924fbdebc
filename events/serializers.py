"""What events look like on the wire."""

from datetime import date
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.answers import Answer
from api.fields import Field, Flag, Text
from api.serializers import Shape
from billers.models import Biller
from core.statements import Row
from events.models import EVERY, Event, State, Stopped, Type
from events.targets import MAX_LENGTH, Target, TargetRefused


class EventAnswer(Answer):
    """Something that happened to a record; the same in the feed and in a webhook."""

    id = serializers.CharField()
    type = serializers.ChoiceField(Type.choices)
    sequence = serializers.IntegerField(min_value=1, max_value=2**63 - 1, help_text="1, 2, 3 … for each biller.")
    created_at = serializers.DateTimeField()
    data = serializers.JSONField(  # type: ignore[assignment] # the stubs take it for the serializer's own
        help_text="id, external_reference, the changed fields and amounts."
    )

    columns = Event.TOLD

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return Event.letter(row)


OURS = frozenset({"id", "disabled_reason", "secret", "secret_changed_at", "created_at", "updated_at"})


class Url(Text):
    """Where a webhook goes: https, and not into a private network."""

    schema = {"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]://", "maxLength": MAX_LENGTH}

    default_error_messages = {
        "invalid_url": "Send an https URL.",
        "url_not_public": "The host is not on the public internet.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(MAX_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            Target.of(text)
        except TargetRefused as refused:
            raise ValidationError(str(refused), refused.code) from None
        return text


class Types(Field):
    """Types of event, each once; “*” alone means all, those to come included."""

    schema = {
        "type": "array",
        "items": {"type": "string", "enum": [*Type.values, EVERY]},
        "minItems": 1,
        "uniqueItems": True,
        "description": "Types of event, or “*” alone for all, those to come included.",
    }

    default_error_messages = {
        "invalid_type": "Send a list of text.",
        "invalid_event_types": "Send known types, each once, or “*” alone for all.",
    }

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            self.fail("invalid_type")
        known = data == [EVERY] or set(data) <= set(Type.values)
        if not data or not known or len(set(data)) != len(data):
            self.fail("invalid_event_types")
        return data


class PatchEndpoint(Shape):
    """Changes of a webhook endpoint."""

    ours = OURS

    url = Url(required=False)
    events = Types(required=False)
    description = Text(500, required=False, allow_null=True)
    enabled = Flag(required=False)


class NewEndpoint(PatchEndpoint):
    """A webhook endpoint to register."""

    url = Url()


class Nothing(Shape):
    """An empty object: the call says it all."""


class WebhookEndpointAnswer(Answer):
    """Where events are delivered to."""

    id = serializers.CharField()
    url = serializers.CharField(max_length=MAX_LENGTH)
    events = serializers.ListField(
        child=serializers.ChoiceField([*Type.values, EVERY]), help_text="Types of event, or “*” alone for all."
    )
    description = serializers.CharField(max_length=500, allow_null=True)
    enabled = serializers.BooleanField()
    disabled_reason = serializers.ChoiceField(
        Stopped.choices, allow_null=True, help_text="gone: the endpoint answered 410."
    )
    secret_changed_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    columns: tuple[str, ...] = (
        "id",
        "url",
        "events",
        "description",
        "enabled",
        "disabled_reason",
        "secret_changed_at",
        "created_at",
        "updated_at",
    )

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return {column: row[column] for column in cls.columns}


class WebhookEndpointWithSecretAnswer(WebhookEndpointAnswer):
    """A webhook endpoint with its newest secret, which is told this once."""

    secret = serializers.CharField(max_length=80, help_text="whsec_ and base64, as Standard Webhooks has it.")

    columns = (*WebhookEndpointAnswer.columns, "secret")


class DeliveryAnswer(Answer):
    """One event on its way to one endpoint, and how that went last."""

    id = serializers.CharField()
    endpoint_id = serializers.CharField()
    event_id = serializers.CharField()
    event_type = serializers.ChoiceField(Type.choices)
    sequence = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    state = serializers.ChoiceField(State.choices)
    attempts = serializers.IntegerField(min_value=0, help_text="Since it was last asked for.")
    due_at = serializers.DateTimeField(allow_null=True, help_text="When it is tried next.")
    last_attempt_at = serializers.DateTimeField(allow_null=True)
    last_status = serializers.IntegerField(allow_null=True, help_text="What the endpoint answered last.")
    last_error = serializers.CharField(max_length=200, allow_null=True, help_text="Why the last attempt failed.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    columns = (
        "id",
        "endpoint_id",
        "event__id",
        "event__type",
        "sequence",
        "state",
        "attempts",
        "due_at",
        "last_attempt_at",
        "last_status",
        "last_error",
        "created_at",
        "updated_at",
    )

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return {column.replace("__", "_"): row[column] for column in cls.columns}
