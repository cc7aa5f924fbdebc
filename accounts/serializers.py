"""What an account looks like on the wire."""

from datetime import date

from rest_framework import serializers

from api.answers import RecordAnswer, Row
from api.fields import Amount, Currency, Metadata, Parent, Reference, Text
from api.serializers import PaymentRules, Shape
from billers import payment_rules
from billers.models import Biller
from core.money import MAX_AMOUNT
from customers.serializers import OURS, CustomerAnswer, NewCustomer, PatchCustomer, SettledCustomer


class AccountAnswer(RecordAnswer):
    """An account."""

    id = serializers.CharField()
    customer_id = serializers.CharField()
    name = serializers.CharField(allow_null=True, max_length=255)
    currency = serializers.CharField(allow_null=True, max_length=3)
    balance = serializers.IntegerField(allow_null=True, help_text="Minor units: positive owes, negative is credit.")

    own = (
        "id",
        "external_reference",
        "customer_id",
        "name",
        "currency",
        "balance",
        "payment_rules",
        "metadata",
        "created_at",
        "updated_at",
    )
    columns = (*own, "customer__payment_rules", "customer__currency")
    parents = {"customer": CustomerAnswer}

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        layers = (
            (row["payment_rules"], row["currency"]),
            (row["customer__payment_rules"], row["customer__currency"]),
        )
        return {
            **{column: row[column] for column in cls.own},
            "payment_rules": payment_rules.in_force(biller, row["currency"], *layers),
        }


class NewAccount(Shape):
    """An account to create, under an existing or a new customer."""

    ours = OURS | {"customer_id"}

    external_reference = Reference()
    customer = Parent(NewCustomer())
    name = Text(255, required=False, allow_null=True)
    currency = Currency(required=False, allow_null=True)
    balance = Amount(-MAX_AMOUNT, required=False, allow_null=True)
    payment_rules = PaymentRules(required=False)
    metadata = Metadata(required=False)


class PutAccount(NewAccount):
    """An account to create or update; only what is sent changes."""

    external_reference = Reference(required=False)
    customer = Parent(SettledCustomer(), required=False)
    metadata = Metadata(required=False, merges=True)


class PatchAccount(PutAccount):
    """Changes of an account, and of its customer."""

    fixed = frozenset({"external_reference"})
    external_reference = None  # type: ignore[assignment]
    customer = PatchCustomer(required=False)  # type: ignore[assignment]
