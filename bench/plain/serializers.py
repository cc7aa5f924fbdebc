"""The twin's serializers."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from bench.plain.models import Account, Bill, Customer, Event
from billers import payment_rules
from core.ids import as_uuid
from payments.collecting import masked

RULES = ("min_amount", "max_amount", "underpayment_allowed", "overpayment_allowed")
SHARED = ["id", "external_reference", "payment_rules", "metadata", "created_at", "updated_at"]


def record_event(request: Any, record: Any, what: str) -> None:
    """Write the event of a record."""
    body = {"id": record.pk, "external_reference": record.external_reference}
    Event.objects.create(biller_id=request.user.pk, type=what, object_id=as_uuid(record.pk), body=body)


class CustomerSerializer(serializers.ModelSerializer):
    """A customer."""

    class Meta:
        model = Customer
        fields = [*SHARED, "name", "email", "phone", "currency", "balance"]
        read_only_fields = ["id", "created_at", "updated_at"]

    def create(self, validated_data: dict[str, Any]) -> Customer:
        request = self.context["request"]
        customer = Customer.objects.create(biller_id=request.user.pk, **validated_data)
        record_event(request, customer, "customer.created")
        return customer


class AccountSerializer(serializers.ModelSerializer):
    """An account."""

    customer = CustomerSerializer()

    class Meta:
        model = Account
        fields = [*SHARED, "name", "currency", "balance", "customer"]
        read_only_fields = ["id", "created_at", "updated_at"]

    def create(self, validated_data: dict[str, Any]) -> Account:
        request = self.context["request"]
        customer = CustomerSerializer(context=self.context).create(validated_data.pop("customer"))
        account = Account.objects.create(biller_id=request.user.pk, customer=customer, **validated_data)
        record_event(request, account, "account.created")
        return account


class BillSerializer(serializers.ModelSerializer):
    """A bill."""

    customer_id = serializers.CharField(read_only=True)
    account_id = serializers.CharField(read_only=True)
    account = AccountSerializer(write_only=True, required=False)
    amount_remaining = serializers.SerializerMethodField()
    amount_overpaid = serializers.SerializerMethodField()
    overdue = serializers.SerializerMethodField()
    rules_in_force = serializers.SerializerMethodField()

    class Meta:
        model = Bill
        fields = [
            *SHARED,
            "customer_id",
            "account_id",
            "account",
            "currency",
            "amount_due",
            "amount_paid",
            "amount_remaining",
            "amount_overpaid",
            "status",
            "overdue",
            "rules_in_force",
            "bill_date",
            "due_date",
            "description",
            "voided_at",
            "void_reason",
        ]
        read_only_fields = ["id", "status", "bill_date", "voided_at", "void_reason", "created_at", "updated_at"]

    def get_amount_remaining(self, bill: Bill) -> int:
        """Return what is still owed."""
        return max(bill.amount_due - bill.amount_paid, 0)

    def get_amount_overpaid(self, bill: Bill) -> int:
        """Return what was paid too much."""
        return max(bill.amount_paid - bill.amount_due, 0)

    def get_overdue(self, bill: Bill) -> bool:
        """Tell whether the bill is late."""
        return bill.status == "UNPAID" and bill.due_date is not None and bill.due_date < timezone.now().date()

    def get_rules_in_force(self, bill: Bill) -> dict[str, Any]:
        """Return the payment rules of the bill, its account or its customer."""
        layers = [bill.payment_rules, bill.account.payment_rules if bill.account else {}, bill.customer.payment_rules]
        return {name: next((layer[name] for layer in layers if name in layer), None) for name in RULES}

    def create(self, validated_data: dict[str, Any]) -> Bill:
        request = self.context["request"]
        account = AccountSerializer(context=self.context).create(validated_data.pop("account"))
        bill = Bill.objects.create(
            biller_id=request.user.pk,
            account=account,
            customer=account.customer,
            bill_date=timezone.now().date(),
            **validated_data,
        )
        record_event(request, bill, "bill.created")
        return bill


class ObligationSerializer(serializers.ModelSerializer):
    """A bill that can be paid now."""

    obligation = serializers.CharField(source="pk")
    kind = serializers.SerializerMethodField()
    payer_name = serializers.SerializerMethodField()
    amount_owed = serializers.SerializerMethodField()
    payment_rules = serializers.SerializerMethodField()

    class Meta:
        model = Bill
        fields = [
            "obligation",
            "kind",
            "payer_name",
            "amount_owed",
            "currency",
            "due_date",
            "description",
            "payment_rules",
        ]

    def get_kind(self, bill: Bill) -> str:
        """Return what it is."""
        return "bill"

    def get_payer_name(self, bill: Bill) -> str | None:
        """Return the customer's name as a partner may see it."""
        return masked(bill.customer.name)

    def get_amount_owed(self, bill: Bill) -> int:
        """Return what is still owed."""
        return bill.amount_due - bill.amount_paid

    def get_payment_rules(self, bill: Bill) -> dict[str, Any]:
        """Return the rules of the bill, its account, its customer or its biller."""
        layers = [(one.payment_rules, one.currency) for one in (bill, bill.account, bill.customer) if one]
        return payment_rules.in_force(self.context["biller"], bill.currency, *layers)
