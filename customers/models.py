"""Of whom money is asked."""

from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper

from billers.acts import Act
from core.audit import audited
from core.ids import PrefixedIdField
from core.money import AmountField, CurrencyField
from core.rules import Versioned
from ledger.models import Obligation, ObligationQuerySet, Versions
from ledger.rules import OF_EVERY_BALANCE, OF_EVERY_RECORD, balance_triggers, ledger_triggers, metadata_index


class CustomerQuerySet(ObligationQuerySet):
    """Verbs: enrol, amend, put."""

    def amend(self, act: Act, key: str, *, versions: Versions = None, **changes: Any) -> "Customer":
        """Change a customer by id or reference; its balance changes through the ledger."""
        customer: Customer = self.held(act, key, versions)
        customer.amend(act, changes)
        return customer

    def put(self, act: Act, reference: str, *, versions: Versions = None, **fields: Any) -> tuple["Customer", bool]:
        """Create or update the customer with this reference; return it and whether it is new."""
        customer = self.for_biller(act.biller).filter(external_reference=reference).locked().first()
        if customer is None:
            self.absent(versions, fields)
            act.upserting = True
            return self.enrol(act, external_reference=reference, **fields), True
        self.required(customer, reference, versions).amend(act, fields)
        return customer, False

    def enrol(self, act: Act, **fields: Any) -> "Customer":
        """Create a customer, with the opening entry of its balance."""
        customer = self.planned(act, "", **fields)
        act.insert()
        return customer


@audited("biller", "id", model_name="CustomerHistory")
class Customer(Obligation):
    """A payer of one biller; its balance, when tracked, is the biller's own figure."""

    kind = "customer"
    amount_field = "balance"

    id = PrefixedIdField("bcus", primary_key=True)
    name = models.CharField(max_length=255, null=True, blank=True)
    email = models.EmailField(max_length=254, null=True, blank=True)
    phone = models.CharField(max_length=16, null=True, blank=True, help_text="E.164, such as +27821234567.")
    currency = CurrencyField(null=True, blank=True)
    balance = AmountField(null=True, blank=True, help_text="Minor units: positive owes, negative is credit.")

    objects = CustomerQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Obligation.Meta):
        constraints = [*OF_EVERY_RECORD, *OF_EVERY_BALANCE]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="customer_newest"),
            models.Index(fields=["biller", "updated_at", "id"], name="customer_changed"),
            models.Index(fields=["biller", "name", "id"], name="customer_by_name"),
            models.Index(fields=["biller", "phone"], condition=Q(phone__isnull=False), name="customer_by_phone"),
            GinIndex(
                "biller",
                *(
                    OpClass(Upper(name), name="gin_trgm_ops")
                    for name in ("external_reference", "name", "email", "phone")
                ),
                name="customer_search",
            ),
            metadata_index("customer"),
        ]
        triggers = [Versioned(), *ledger_triggers("customer"), *balance_triggers("customer")]
