"""What events look like on the wire."""

from datetime import date

from rest_framework import serializers

from api.answers import Answer
from billers.models import Biller
from core.statements import Row
from events.models import Event, Type


class EventAnswer(Answer):
    """Something that happened to a record; the same in the feed and in a webhook."""

    id = serializers.CharField()
    type = serializers.ChoiceField(Type.choices)
    sequence = serializers.IntegerField(min_value=1, max_value=2**63 - 1, help_text="1, 2, 3 … for each biller.")
    created_at = serializers.DateTimeField()
    data = serializers.JSONField(help_text="id, external_reference, the changed fields and amounts.")

    columns = Event.TOLD

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return Event.letter(row)
