"""What payments and reversals look like on the wire."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from api.answers import Answer, PartnerAnswer, Row, RowAnswer, RulesAnswer, reached
from api.fields import Amount, Choice, Currency, Metadata, Moment, PaymentReference, Several, Text
from api.serializers import REQUIRED, Errors, Shape
from billers.models import Biller
from core.money import MAX_AMOUNT
from ledger.models import PREFIXES
from payments.models import Method, Reference, Reversal

OLDEST_FIRST = "oldest_first"
MOST_ALLOCATIONS = 100


class AllocationAnswer(serializers.Serializer):
    """What a payment paid of one obligation."""

    obligation = serializers.CharField(help_text="The bill, account or customer that was paid.")
    kind = serializers.ChoiceField(tuple(PREFIXES))
    amount = serializers.IntegerField(min_value=1, help_text="Minor units.")
    remaining = serializers.IntegerField(min_value=0, help_text="What was still owed of it afterwards.")


class Paid(serializers.Serializer):
    """What the answers of a payment share, whoever asks."""

    id = serializers.CharField()
    external_reference = serializers.CharField(max_length=64)
    status = serializers.ChoiceField(("ACCEPTED", "REVERSED"))
    amount = serializers.IntegerField(min_value=1, help_text="Minor units.")
    currency = serializers.CharField(max_length=3)
    method = serializers.ChoiceField(Method.choices)
    payer_name = serializers.CharField(allow_null=True, help_text="Masked: J*** D**.")
    allocations = AllocationAnswer(many=True)
    amount_remaining = serializers.IntegerField(
        min_value=0, max_value=MAX_AMOUNT * MOST_ALLOCATIONS, help_text="What was still owed of it all afterwards."
    )
    paid_at = serializers.DateTimeField(allow_null=True, help_text="As the taker told it.")
    metadata = serializers.DictField(child=serializers.CharField(max_length=500))
    created_at = serializers.DateTimeField()
    reversed_at = serializers.DateTimeField(allow_null=True)
    reversal_reason = serializers.CharField(allow_null=True, max_length=500)

    own = (
        "id",
        "external_reference",
        "amount",
        "currency",
        "method",
        "payer_name",
        "allocations",
        "amount_remaining",
        "paid_at",
        "metadata",
        "created_at",
    )
    later = ("reversals__created_at", "reversals__reason")
    shared = (*own, *later)
    columns: tuple[str, ...] = ()

    @classmethod
    def row_of(cls, record: Any) -> Row:
        """Return the row of a payment that was just taken: nothing has undone it yet."""
        return {column: None if column in cls.later else reached(record, column) for column in cls.columns}

    @classmethod
    def facts(cls, row: Row) -> Row:
        """Return what everybody is told of a payment."""
        reversed_at = row["reversals__created_at"]
        return {
            **{column: row[column] for column in cls.own},
            "status": "REVERSED" if reversed_at else "ACCEPTED",
            "reversed_at": reversed_at,
            "reversal_reason": row["reversals__reason"],
        }


class PartnerPaymentAnswer(Paid, PartnerAnswer):
    """A payment as the partner that took it sees it: the receipt."""

    biller = serializers.CharField(help_text="The biller's reference.")
    biller_name = serializers.CharField(max_length=255)

    columns = (*Paid.shared, "biller__reference", "biller__name")

    @classmethod
    def told(cls, row: Row) -> Row:
        return {**cls.facts(row), "biller": row["biller__reference"], "biller_name": row["biller__name"]}


class PaymentAnswer(Paid, Answer):
    """A payment as its biller sees it, whoever took it."""

    partner = serializers.CharField(allow_null=True, help_text="The partner that took it; null: the biller itself.")
    actor = serializers.CharField(help_text="Who recorded it.")

    columns = (*Paid.shared, "actor", "partner__reference")

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return {**cls.facts(row), "partner": row["partner__reference"], "actor": row["actor"]}


class UndoneAnswer(RowAnswer):
    """What became of a reversal: a payment was undone, or its reference is remembered until the payment comes."""

    id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(("REVERSED", "REMEMBERED"))
    payment_id = serializers.CharField(allow_null=True)
    external_reference = serializers.CharField(max_length=64)
    amount = serializers.IntegerField(allow_null=True, help_text="Minor units, what was undone.")
    currency = serializers.CharField(allow_null=True, max_length=3)
    reason = serializers.CharField(max_length=500)
    created_at = serializers.DateTimeField()


def undone(found: Reversal | Reference) -> Row:
    """Return the JSON object of what became of a reversal."""
    told = {"reason": found.reason, "created_at": found.created_at}
    if isinstance(found, Reference):
        nothing = dict.fromkeys(("id", "payment_id", "amount", "currency"))
        return {**nothing, "status": "REMEMBERED", "external_reference": found.external_reference, **told}
    payment = found.payment
    return {
        "id": found.pk,
        "status": "REVERSED",
        "payment_id": payment.pk,
        "external_reference": payment.external_reference,
        "amount": payment.amount,
        "currency": payment.currency,
        **told,
    }


class ObligationAnswer(PartnerAnswer):
    """Something that can be paid now, and nothing else personal."""

    obligation = serializers.CharField(help_text="Pay it by this id.")
    kind = serializers.ChoiceField(tuple(PREFIXES))
    payer_name = serializers.CharField(allow_null=True, help_text="Masked: J*** D**.")
    amount_owed = serializers.IntegerField(min_value=1, help_text="Minor units.")
    currency = serializers.CharField(max_length=3)
    due_date = serializers.DateField(allow_null=True)
    description = serializers.CharField(allow_null=True, max_length=500)
    payment_rules = RulesAnswer()

    @classmethod
    def told(cls, row: Row) -> Row:
        return row


class Allocation(Shape):
    """A part of a payment for one obligation."""

    obligation = Text(64)
    amount = Amount(1)


class NewPayment(Shape):
    """A payment: of one obligation, of listed ones, or of a payer's bills, oldest first."""

    ours = frozenset(
        {"id", "status", "payer_name", "amount_remaining", "created_at", "reversed_at", "reversal_reason", "biller"}
        | {"biller_name", "partner", "actor"}
    )

    external_reference = PaymentReference()
    amount = Amount(1)
    currency = Currency()
    method = Choice(Method.values)
    obligation = Text(64, required=False)
    allocations = Several(Allocation(), MOST_ALLOCATIONS, word=OLDEST_FIRST, required=False)
    payer = Text(64, required=False)
    paid_at = Moment(required=False, allow_null=True)
    metadata = Metadata(required=False, cards=False)

    def together(self, data: Mapping[str, Any]) -> Errors | None:
        oldest_first = data.get("allocations") == OLDEST_FIRST
        if oldest_first or "payer" in data:
            wrong = {} if "payer" in data else {"payer": [REQUIRED]}
            if not oldest_first:
                wrong["allocations"] = [ErrorDetail(f"Beside a payer, send “{OLDEST_FIRST}”.", "required")]
            if "obligation" in data:
                wrong["obligation"] = [ErrorDetail("Send an obligation or a payer, not both.", "ambiguous_payment")]
            return wrong
        named = [name for name in ("obligation", "allocations") if name in data]
        if not named:
            detail = "Name an obligation, list allocations, or name a payer whose bills are paid oldest first."
            return {"obligation": [ErrorDetail(detail, "required")]}
        if len(named) > 1:
            detail = "Send an obligation or allocations, not both."
            return {"allocations": [ErrorDetail(detail, "ambiguous_payment")]}
        return None


class Reverse(Shape):
    """Why a payment is undone."""

    reason = Text(500, blank=False)


class PayerReferenceAnswer(Answer):
    """What a payer types for a customer, an account or a bill."""

    payer_reference = serializers.CharField(max_length=12, help_text="12 digits, the last of which is a check digit.")
    obligation = serializers.CharField(help_text="The customer, account or bill that it is of.")
    created_at = serializers.DateTimeField()

    columns = ("digits", "obligation_id", "created_at")

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        return {
            "payer_reference": row["digits"],
            "obligation": row["obligation_id"],
            "created_at": row["created_at"],
        }


class MakePayerReference(Shape):
    """Nothing is said of a payer reference: its digits are drawn by lot."""
