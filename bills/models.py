"""Money asked: what is owed, by when, and whether it has been paid."""

from datetime import date
from typing import Any, Self

import pgtrigger
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Upper
from django.utils import timezone

from accounts.models import Account
from billers.acts import Act
from billers.tenancy import TenantForeignKey
from core.audit import audited
from core.ids import PrefixedIdField
from core.money import MAX_AMOUNT, AmountField, CurrencyField
from core.refusals import CONFLICT, Conflict, ParentMissing, Reason, RuleBroken
from core.rules import Rule, Versioned
from customers.models import Customer
from events.models import Event
from ledger.models import Obligation, ObligationQuerySet, Parent, Versions
from ledger.rules import OF_EVERY_RECORD, metadata_index


class Status(models.TextChoices):
    UNPAID = "UNPAID"
    PAID = "PAID"
    VOIDED = "VOIDED"


VOID = "A void bill takes no payment and no change but metadata."
FIXED = {
    "owner": ("bill_owner_fixed", "A bill stays with its customer and account."),
    "currency": ("bill_currency_fixed", "A bill's currency never changes."),
    "bill_date": ("bill_date_fixed", "A bill's date never changes."),
}


class BillQuerySet(ObligationQuerySet):
    """Words: overdue. Verbs: issue, amend, put, void."""

    def overdue(self, on: date) -> Self:
        """Return the unpaid bills whose due date lies before this day."""
        return self.filter(status=Status.UNPAID, due_date__lt=on)

    def locked(self) -> Self:
        return super().locked().select_related("customer", "account")

    def issue(
        self, act: Act, *, customer: Parent | None = None, account: Parent | None = None, **fields: Any
    ) -> "Bill":
        """Create a bill under a customer or an account, either of which may be new."""
        holder: Account | None = None
        if account is None:
            owner = Customer.objects.given(act, "/customer", customer)
        elif isinstance(account, str):
            holder = Account.objects.select_related("customer").given(act, "/account", account)
            owner = self._owner_beside(act, holder, customer)
        else:
            if customer is not None:
                account = {**account, "customer": Customer.objects.given(act, "/customer", customer)}
            holder = Account.objects.given(act, "/account", account)
            owner = holder.customer
        return self._written(act, owner, holder, fields)

    def _owner_beside(self, act: Act, account: Account | None, customer: Parent | None) -> Customer | None:
        """Return the account's customer; one named beside it must be the same."""
        named = Customer.objects.given(act, "/customer", customer) if isinstance(customer, str) else None
        if account is None:
            return named
        if customer is not None and (named is None or named.pk != account.customer_id):
            detail = "The account belongs to another customer."
            act.broken.append(Reason("account_of_another_customer", detail, "/customer"))
        return account.customer

    def _written(self, act: Act, owner: Customer | None, account: Account | None, fields: dict[str, Any]) -> "Bill":
        fields.setdefault("bill_date", act.today)
        bill: Bill = self.planned(act, "", customer=owner, account=account, **fields)
        act.insert()
        bill.tell_if_paid(act)
        return bill

    def amend(
        self,
        act: Act,
        key: str,
        *,
        versions: Versions = None,
        customer: dict[str, Any] | None = None,
        account: dict[str, Any] | None = None,
        **changes: Any,
    ) -> "Bill":
        """Change a bill, and the customer and account it hangs on in the same act, locked in that order."""
        if customer or account:
            known = self.required(self.for_biller(act.biller).named(key).first(), key, versions)
            self._amend_parents(act, known, customer, account)
        bill: Bill = self.held(act, key, versions)
        bill.amend(act, changes)
        return bill

    def _amend_parents(
        self, act: Act, bill: "Bill", customer: dict[str, Any] | None, account: dict[str, Any] | None
    ) -> None:
        if account and bill.account_id is None:
            raise RuleBroken.because("bill_without_account", "The bill hangs on its customer, not on an account.", "/account")
        fields = dict(account or {})
        nested = fields.pop("customer", None)
        pointer, wanted = ("/account/customer", nested) if nested else ("/customer", customer)
        if wanted:
            Customer.objects.held(act, bill.customer_id).amend(act, wanted, pointer)
        if fields:
            Account.objects.held(act, bill.account_id).amend(act, fields, "/account")

    def put(
        self,
        act: Act,
        reference: str,
        *,
        versions: Versions = None,
        customer: Parent | None = None,
        account: Parent | None = None,
        **fields: Any,
    ) -> tuple["Bill", bool]:
        """Create or update the bill with this reference, and its parents; return it and whether it is new."""
        known = self.for_biller(act.biller).filter(external_reference=reference).first()
        if known is None:
            self.absent(versions, {**fields, "customer": customer or account})
            act.upserting = True
            owner, holder = self._settled_owner(act, customer, account)
            return self._written(act, owner, holder, {**fields, "external_reference": reference}), True
        self.required(known, reference, versions)
        owner, holder = self._settled_owner(act, customer, account)
        if act.missing:
            raise ParentMissing(*act.missing)
        bill: Bill = self.held(act, known.pk, versions)
        moved = (owner and owner.pk != bill.customer_id) or (holder and holder.pk != bill.account_id)
        fixed = {"owner": moved} | {
            name: name in fields and fields.pop(name) != getattr(bill, name) for name in ("currency", "bill_date")
        }
        if any(fixed.values()):
            pointers = {"owner": "/account" if account else "/customer", "currency": "/currency", "bill_date": "/bill_date"}
            raise Conflict(*(Reason(*FIXED[name], pointers[name]) for name, changes in fixed.items() if changes))
        bill.amend(act, fields)
        return bill, False

    def _settled_owner(
        self, act: Act, customer: Parent | None, account: Parent | None
    ) -> tuple[Customer | None, Account | None]:
        """Return the customer and account that a PUT names or describes, updated or planned."""
        if account is None:
            return (Customer.objects.settled(act, "/customer", customer) if customer else None), None
        owner = Customer.objects.settled(act, "/customer", customer) if customer else None
        if isinstance(account, dict) and owner is not None:
            account = {**account, "customer": owner}
        holder = Account.objects.settled(act, "/account", account)
        if holder is None:
            return owner, None
        if owner is not None and owner.pk != holder.customer_id:
            detail = "The account belongs to another customer."
            act.broken.append(Reason("account_of_another_customer", detail, "/customer"))
        return holder.customer, holder

    def void(self, act: Act, key: str, *, versions: Versions = None, reason: str | None = None) -> "Bill":
        """Void a bill for good. One with money on it is refused, and so is one that is void already."""
        bill: Bill = self.held(act, key, versions)
        if bill.voided_at is not None:
            raise Conflict.because("bill_voided", "The bill is void already.")
        bill.voided_at, bill.void_reason = timezone.now(), reason
        act.update(bill, ["voided_at", "void_reason"])
        act.leave(Event.told(act, bill, "voided", status=bill.status, void_reason=reason))
        return bill


@audited("biller", "id", model_name="BillHistory", exclude=("customer", "account", "status"))
class Bill(Obligation):
    """A demand for money from a customer, directly or through one of its accounts."""

    kind = "bill"
    amount_field = "amount_paid"
    creation_requires = ("currency", "amount_due", "customer")
    decided = ("entry_count", "status", "version", "updated_at")
    decided_by_database = ("status", "version", "updated_at")

    id = PrefixedIdField("bill", primary_key=True)
    customer_id = PrefixedIdField("bcus")
    customer = TenantForeignKey(Customer, "customer_id", related_name="bills")
    account_id = PrefixedIdField("bacc", null=True, blank=True)
    account = TenantForeignKey(Account, "account_id", related_name="bills", null=True, blank=True)
    currency = CurrencyField()
    amount_due = AmountField(help_text="Minor units, at least 1.")
    amount_paid = AmountField(default=0, help_text="Minor units; the total of the bill's ledger entries.")
    bill_date = models.DateField()
    due_date = models.DateField(null=True, blank=True)
    description = models.CharField(max_length=500, null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True, editable=False)
    void_reason = models.CharField(max_length=500, null=True, blank=True, editable=False)
    status = models.GeneratedField(
        expression=Case(
            When(voided_at__isnull=False, then=Value(Status.VOIDED.value)),
            When(amount_paid__gte=F("amount_due"), then=Value(Status.PAID.value)),
            default=Value(Status.UNPAID.value),
        ),
        output_field=models.CharField(max_length=6, choices=Status.choices),
        db_persist=True,
    )

    objects = BillQuerySet.as_manager()

    class Meta(Obligation.Meta):
        constraints = [
            *OF_EVERY_RECORD,
            models.CheckConstraint(
                condition=Q(amount_due__range=(1, MAX_AMOUNT)),
                name="bill_amount_due_positive",
                violation_error_message=f"A bill asks for 1 to {MAX_AMOUNT:,} minor units.",
            ),
            models.CheckConstraint(
                condition=Q(amount_paid__range=(0, MAX_AMOUNT)),
                name="bill_amount_paid_in_range",
                violation_error_message=f"The amount paid is 0 to {MAX_AMOUNT:,} minor units.",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"),
                name="bill_currency_well_formed",
                violation_error_message="A currency is three upper-case letters.",
            ),
            models.CheckConstraint(
                condition=Q(voided_at=None) | Q(amount_paid=0),
                name="bill_has_payments",
                violation_error_message="A bill with money on it cannot be void: take the amount paid back to 0 first.",
                violation_error_code=CONFLICT,
            ),
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="bill_newest"),
            models.Index(fields=["biller", "updated_at", "id"], name="bill_changed"),
            models.Index(fields=["biller", "amount_due", "id"], name="bill_by_amount_due"),
            models.Index(fields=["biller", "due_date", "id"], name="bill_by_due_date"),
            models.Index(fields=["biller", "customer_id", "created_at", "id"], name="bill_of_customer_newest"),
            models.Index(
                fields=["biller", "account_id", "created_at", "id"],
                condition=Q(account_id__isnull=False),
                name="bill_of_account_newest",
            ),
            # The worklist: what is still owed, by due date.
            models.Index(fields=["biller", "due_date", "id"], condition=Q(status="UNPAID"), name="bill_unpaid"),
            GinIndex("biller", OpClass(Upper("external_reference"), name="gin_trgm_ops"), name="bill_search"),
            metadata_index("bill"),
        ]
        triggers = [
            Versioned(),
            Rule(
                name="bill_voided",
                sentence=VOID,
                conflict=True,
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.voided_at IS NOT NULL AND (OLD.voided_at, OLD.void_reason, OLD.amount_due, OLD.amount_paid, "
                    "OLD.due_date, OLD.description, OLD.payment_rules) IS DISTINCT FROM (NEW.voided_at, NEW.void_reason, "
                    "NEW.amount_due, NEW.amount_paid, NEW.due_date, NEW.description, NEW.payment_rules)"
                ),
            ),
            *(
                Rule(
                    name=FIXED[name][0],
                    sentence=FIXED[name][1],
                    conflict=True,
                    operation=pgtrigger.UpdateOf(*columns),
                    condition=pgtrigger.Condition(
                        " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)
                    ),
                )
                for name, columns in (
                    ("owner", ("customer_id", "account_id")),
                    ("currency", ("currency",)),
                    ("bill_date", ("bill_date",)),
                )
            ),
        ]

    def amend(self, act: Act, changes: dict[str, Any], *place: Any) -> None:
        was = self.status
        super().amend(act, changes, *place)
        if was != self.status:
            self.tell_if_paid(act)

    def tell_if_paid(self, act: Act) -> None:
        """Tell that the bill is paid, once it is."""
        if self.status == Status.PAID:
            act.leave(Event.told(act, self, "paid", amount_due=self.amount_due, amount_paid=self.amount_paid))
