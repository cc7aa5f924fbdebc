"""What a customer looks like on the wire."""

from datetime import date

from rest_framework import serializers

from api.answers import RecordAnswer, Row
from api.fields import Amount, Currency, Email, Metadata, Phone, Reference, Text
from api.serializers import PaymentRules, Shape
from billers import payment_rules
from billers.models import Biller
from core.money import MAX_AMOUNT

OURS = frozenset({"id", "created_at", "updated_at"})


class CustomerAnswer(RecordAnswer):
    """A customer."""

    id = serializers.CharField()
    name = serializers.CharField(allow_null=True, max_length=255)
    email = serializers.EmailField(allow_null=True)
    phone = serializers.CharField(allow_null=True, max_length=16)
    currency = serializers.CharField(allow_null=True, max_length=3)
    balance = serializers.IntegerField(allow_null=True, help_text="Minor units: positive owes, negative is credit.")

    columns = (
        "id",
        "external_reference",
        "name",
        "email",
        "phone",
        "currency",
        "balance",
        "payment_rules",
        "metadata",
        "created_at",
        "updated_at",
    )

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        layer = (row["payment_rules"], row["currency"])
        return {
            **{column: row[column] for column in cls.columns},
            "payment_rules": payment_rules.in_force(biller, row["currency"], layer),
        }


class NewCustomer(Shape):
    """A customer to create."""

    ours = OURS

    external_reference = Reference()
    name = Text(255, required=False, allow_null=True)
    email = Email(required=False, allow_null=True)
    phone = Phone(required=False, allow_null=True)
    currency = Currency(required=False, allow_null=True)
    balance = Amount(-MAX_AMOUNT, required=False, allow_null=True)
    payment_rules = PaymentRules(required=False)
    metadata = Metadata(required=False)


class PutCustomer(NewCustomer):
    """A customer to create or update; only what is sent changes."""

    external_reference = Reference(required=False)
    metadata = Metadata(required=False, merges=True)


class SettledCustomer(PutCustomer):
    """A customer to create or update on the way to one of its accounts or bills."""

    external_reference = Reference()


class PatchCustomer(PutCustomer):
    """Changes of a customer."""

    fixed = frozenset({"external_reference"})
    external_reference = None  # type: ignore[assignment]
