"""What a bill looks like on the wire."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts.serializers import AccountAnswer, NewAccount, PatchAccount, PutAccount
from api.answers import RecordAnswer, Row
from api.fields import Amount, Currency, Day, Metadata, Parent, Reference, Text
from api.serializers import REQUIRED, Errors, PaymentRules, Shape
from billers import payment_rules
from billers.models import Biller
from bills.models import Status
from customers.serializers import OURS, CustomerAnswer, NewCustomer, PatchCustomer, SettledCustomer


class BillAnswer(RecordAnswer):
    """A bill."""

    id = serializers.CharField()
    customer_id = serializers.CharField()
    account_id = serializers.CharField(allow_null=True)
    currency = serializers.CharField(max_length=3)
    amount_due = serializers.IntegerField(help_text="Minor units.")
    amount_paid = serializers.IntegerField(help_text="Minor units.")
    amount_remaining = serializers.IntegerField(help_text="max(amount_due - amount_paid, 0)")
    amount_overpaid = serializers.IntegerField(help_text="max(amount_paid - amount_due, 0)")
    status = serializers.ChoiceField(Status.choices)
    overdue = serializers.BooleanField(help_text="Unpaid, and due before today in the biller's time zone.")
    bill_date = serializers.DateField()
    due_date = serializers.DateField(allow_null=True)
    description = serializers.CharField(allow_null=True, max_length=500)
    voided_at = serializers.DateTimeField(allow_null=True)
    void_reason = serializers.CharField(allow_null=True, max_length=500)

    own = (
        "id",
        "external_reference",
        "customer_id",
        "account_id",
        "currency",
        "amount_due",
        "amount_paid",
        "status",
        "bill_date",
        "due_date",
        "description",
        "payment_rules",
        "metadata",
        "voided_at",
        "void_reason",
        "created_at",
        "updated_at",
    )
    columns = (
        *own,
        "account__payment_rules",
        "account__currency",
        "customer__payment_rules",
        "customer__currency",
    )
    parents = {"customer": CustomerAnswer, "account": AccountAnswer}
    beside = "amount_due"

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        layers = (
            (row["payment_rules"], row["currency"]),
            (row["account__payment_rules"], row["account__currency"]),
            (row["customer__payment_rules"], row["customer__currency"]),
        )
        remaining = row["amount_due"] - row["amount_paid"]
        return {
            **{column: row[column] for column in cls.own},
            "amount_remaining": max(remaining, 0),
            "amount_overpaid": max(-remaining, 0),
            "overdue": row["status"] == Status.UNPAID and row["due_date"] is not None and row["due_date"] < today,
            "payment_rules": payment_rules.in_force(biller, row["currency"], *layers),
        }

    @classmethod
    def then(cls, row: Row, total: int | None, beside: Any, moment: datetime) -> Row:
        paid, due = total or 0, beside or row["amount_due"]
        void = row["voided_at"] is not None and row["voided_at"] <= moment
        return {
            "amount_paid": paid,
            "amount_due": due,
            "voided_at": row["voided_at"] if void else None,
            "void_reason": row["void_reason"] if void else None,
            # As the database generates it.
            "status": Status.VOIDED if void else Status.PAID if paid >= due else Status.UNPAID,
        }


class NestedAccount(NewAccount):
    """A new account of a new bill; its customer may stand beside it instead of in it."""

    customer = Parent(NewCustomer(), required=False)


class SettledAccount(PutAccount):
    """An account to create or update on the way to one of its bills."""

    external_reference = Reference()


class NewBill(Shape):
    """A bill to create, under a customer or an account, either of which may be new."""

    ours = OURS | {
        "customer_id",
        "account_id",
        "status",
        "overdue",
        "amount_remaining",
        "amount_overpaid",
        "voided_at",
        "void_reason",
    }

    external_reference = Reference()
    customer = Parent(NewCustomer(), required=False)
    account = Parent(NestedAccount(), required=False)
    currency = Currency()
    amount_due = Amount(1)
    amount_paid = Amount(0, required=False)
    bill_date = Day(required=False)
    due_date = Day(required=False, allow_null=True)
    description = Text(500, required=False, allow_null=True)
    payment_rules = PaymentRules(required=False)
    metadata = Metadata(required=False)

    def together(self, data: Mapping[str, Any]) -> Errors | None:
        account = data.get("account")
        if not data.keys() & {"customer", "account"}:
            return {"customer": [ErrorDetail("Name or describe a customer or an account.", "required")]}
        if isinstance(account, Mapping) and not {*data, *account} & {"customer"}:
            return {"account": {"customer": [REQUIRED]}}
        return two_customers(data)


class PutBill(NewBill):
    """A bill to create or update, with its parents; only what is sent changes."""

    external_reference = Reference(required=False)
    customer = Parent(SettledCustomer(), required=False)
    account = Parent(SettledAccount(), required=False)
    currency = Currency(required=False)
    amount_due = Amount(1, required=False)
    metadata = Metadata(required=False, merges=True)

    def together(self, data: Mapping[str, Any]) -> Errors | None:
        return two_customers(data)


class PatchBill(PutBill):
    """Changes of a bill, and of the customer and account it hangs on."""

    fixed = frozenset({"external_reference", "currency", "bill_date"})
    external_reference = None  # type: ignore[assignment]
    currency = None  # type: ignore[assignment]
    bill_date = None  # type: ignore[assignment]
    customer = PatchCustomer(required=False)  # type: ignore[assignment]
    account = PatchAccount(required=False)  # type: ignore[assignment]


class Void(Shape):
    """Why a bill is void."""

    reason = Text(500, required=False, allow_null=True)


def two_customers(data: Mapping[str, Any]) -> Errors | None:
    """Return the error of a customer both beside the account and in it: which one counts would be a guess."""
    account = data.get("account")
    if "customer" not in data or not isinstance(account, Mapping) or "customer" not in account:
        return None
    detail = "Send the customer beside the account or in it, not both."
    return {"account": {"customer": [ErrorDetail(detail, "customer_given_twice")]}}
