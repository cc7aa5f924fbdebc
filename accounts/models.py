"""Where money is asked: a meter, a policy, a pupil, a loan."""

from typing import Any

import pgtrigger
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper

from billers.acts import Act
from billers.payment_rules import Layer
from billers.tenancy import TenantForeignKey
from core.audit import audited
from core.ids import PrefixedIdField
from core.money import AmountField, CurrencyField
from core.refusals import Conflict, Malformed, ParentMissing
from core.rules import Rule, Versioned
from customers.models import Customer
from ledger.models import Obligation, ObligationQuerySet, Parent, Versions
from ledger.rules import OF_EVERY_BALANCE, OF_EVERY_RECORD, balance_triggers, ledger_triggers, metadata_index

OTHER_CUSTOMER = "An account stays with its customer."


class AccountQuerySet(ObligationQuerySet):
    """Verbs: open, amend, put."""

    def open(self, act: Act, **fields: Any) -> "Account":
        """Create an account under an existing or a new customer."""
        account = self.planned(act, "", **fields)
        act.insert()
        return account

    def amend(
        self, act: Act, key: str, *, versions: Versions = None, customer: dict[str, Any] | None = None, **changes: Any
    ) -> "Account":
        """Change an account, and its customer in the same act."""
        if customer:
            known = self.required(self.for_biller(act.biller).named(key).first(), key, versions)
            Customer.objects.held(act, known.customer_id).amend(act, customer, "/customer")
        account: Account = self.held(act, key, versions)
        account.amend(act, changes)
        return account

    def put(
        self, act: Act, reference: str, *, versions: Versions = None, customer: Parent | None = None, **fields: Any
    ) -> tuple["Account", bool]:
        """Create or update the account with this reference, and its customer; return it and whether it is new."""
        known: Account | None = self.for_biller(act.biller).filter(external_reference=reference).first()
        if known is None:
            self.absent(versions, {**fields, "customer": customer})
            act.upserting = True
            owner = Customer.objects.settled(act, "/customer", customer)
            return self.open(act, external_reference=reference, customer=owner, **fields), True
        self.required(known, reference, versions)
        return self.settle(act, "", known, customer, fields, versions), False

    def planned(self, act: Act, pointer: str, **fields: Any) -> "Account":
        if isinstance(fields["customer"], str | dict):
            fields["customer"] = Customer.objects.given(act, f"{pointer}/customer", fields["customer"])
        account: Account = super().planned(act, pointer, **fields)
        return account

    def settled(self, act: Act, pointer: str, parent: Parent | None) -> Any:
        if isinstance(parent, str):
            return self.given(act, pointer, parent)
        fields = dict(parent or {})
        reference, customer = fields.pop("external_reference"), fields.pop("customer", None)
        known: Account | None = self.for_biller(act.biller).filter(external_reference=reference).first()
        if known is not None:
            return self.settle(act, pointer, known, customer, fields)
        if customer is None and not act.missing:
            raise Malformed.because("required", "This field is required.", f"{pointer}/customer")
        act.upserting = True
        if isinstance(customer, str | dict):
            customer = Customer.objects.settled(act, f"{pointer}/customer", customer)
        return self.planned(act, pointer, external_reference=reference, customer=customer, **fields)

    def settle(
        self,
        act: Act,
        pointer: str,
        known: "Account",
        customer: Parent | Customer | None,
        fields: dict[str, Any],
        versions: Versions = None,
    ) -> "Account":
        """Update an existing account by PUT: its customer first, which must be the one it has.

        A Customer stands for the one beside the account; whether it is the right one is the bill's to say.
        """
        if isinstance(customer, str | dict):
            owner = Customer.objects.settled(act, f"{pointer}/customer", customer)
            if owner is not None and owner.pk != known.customer_id:
                raise Conflict.because("account_customer_fixed", OTHER_CUSTOMER, f"{pointer}/customer")
        if act.missing:
            raise ParentMissing(*act.missing)
        account: Account = self.held(act, known.pk, versions)
        account.amend(act, fields, pointer)
        return account

    def locked(self) -> "AccountQuerySet":
        return super().locked().select_related("customer")


@audited("biller", "id", model_name="AccountHistory", exclude=("customer",))
class Account(Obligation):
    """An account of one customer."""

    kind = "account"
    amount_field = "balance"
    creation_requires = ("customer",)

    id = PrefixedIdField("bacc", primary_key=True)
    customer_id = PrefixedIdField("bcus")
    customer = TenantForeignKey(Customer, "customer_id", related_name="accounts")
    name = models.CharField(max_length=255, null=True, blank=True)
    currency = CurrencyField(null=True, blank=True)
    balance = AmountField(null=True, blank=True, help_text="Minor units: positive owes, negative is credit.")

    objects = AccountQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Obligation.Meta):
        constraints = [
            *OF_EVERY_RECORD,
            *OF_EVERY_BALANCE,
            # What a bill's composite key points at.
            models.UniqueConstraint(fields=["biller", "customer_id", "id"], name="account_of_customer"),
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="account_newest"),
            models.Index(fields=["biller", "updated_at", "id"], name="account_changed"),
            models.Index(fields=["biller", "name", "id"], name="account_by_name"),
            models.Index(fields=["biller", "customer_id", "created_at", "id"], name="account_of_customer_newest"),
            GinIndex(
                "biller",
                *(OpClass(Upper(name), name="gin_trgm_ops") for name in ("external_reference", "name")),
                name="account_search",
            ),
            metadata_index("account"),
        ]
        triggers = [
            Versioned(),
            *ledger_triggers("account"),
            *balance_triggers("account"),
            Rule(
                name="account_customer_fixed",
                sentence=OTHER_CUSTOMER,
                conflict=True,
                operation=pgtrigger.UpdateOf("customer_id"),
                condition=pgtrigger.Condition("OLD.customer_id <> NEW.customer_id"),
            ),
        ]

    @property
    def payer(self) -> Customer:
        return self.customer

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.layer, self.customer.layer
