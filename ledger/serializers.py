"""What a ledger entry looks like on the wire."""

from datetime import date

from rest_framework import serializers

from api.answers import Answer, Row
from billers.models import Biller
from core.ids import encode
from core.money import MAX_AMOUNT
from ledger.models import PREFIXES, Kind


class EntryAnswer(Answer):
    """One change of one amount."""

    id = serializers.CharField()
    obligation = serializers.CharField(help_text="The bill, account or customer whose amount changed.")
    kind = serializers.ChoiceField(Kind.choices)
    # A balance may go from one end of its range to the other.
    amount = serializers.IntegerField(
        min_value=-2 * MAX_AMOUNT, max_value=2 * MAX_AMOUNT, help_text="Signed, in minor units."
    )
    total = serializers.IntegerField(help_text="The amount after it.")
    payment_id = serializers.CharField(allow_null=True)
    actor = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()

    columns = (
        "id",
        "obligation_kind",
        "obligation_id",
        "kind",
        "amount",
        "total",
        "payment_id",
        "actor",
        "reason",
        "created_at",
    )

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return {
            "id": row["id"],
            "obligation": encode(PREFIXES[row["obligation_kind"]], row["obligation_id"]),
            **{column: row[column] for column in cls.columns[3:]},
        }
