"""The rules customers, accounts and bills share; `%(class)s` makes each name a code of its own."""

import pgtrigger
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.db.models.lookups import LessThanOrEqual

from core.money import MAX_AMOUNT
from core.rules import Rule
from core.text import REFERENCE_PATTERN

OF_PAYMENTS = "The currency cannot change while a payment of the balance stands: it may yet be reversed."


class MetadataKeys(models.Func):
    """How many keys a JSON object has."""

    template = "jsonb_array_length(jsonb_path_query_array(%(expressions)s, '$.keyvalue()'))"
    output_field = models.IntegerField()


class OnlyText(models.Func):
    """Whether a JSON object holds text alone."""

    template = """NOT jsonb_path_exists(%(expressions)s, '$.* ? (@.type() <> "string")')"""
    output_field = models.BooleanField()


def _rule_amount(name: str) -> Cast:
    return Cast(KeyTextTransform(name, "payment_rules"), models.BigIntegerField())


OF_METADATA = [
    models.CheckConstraint(
        condition=LessThanOrEqual(MetadataKeys("metadata"), 10),
        name="%(class)s_metadata_at_most_10_keys",
        violation_error_message="Metadata holds at most 10 keys.",
    ),
    models.CheckConstraint(
        condition=Q(OnlyText("metadata")),
        name="%(class)s_metadata_is_text",
        violation_error_message="Metadata holds text alone.",
    ),
]
"""Of payments too."""

OF_EVERY_RECORD = [
    models.UniqueConstraint(
        fields=["biller", "external_reference"],
        name="%(class)s_external_reference_taken",
        violation_error_message="The external reference is in use.",
    ),
    models.UniqueConstraint(fields=["biller", "id"], name="%(class)s_of_biller"),
    models.CheckConstraint(
        condition=Q(external_reference__regex=REFERENCE_PATTERN),
        name="%(class)s_external_reference_printable",
        violation_error_message="An external reference is printable, without a blank at either end.",
    ),
    *OF_METADATA,
    models.CheckConstraint(
        condition=LessThanOrEqual(_rule_amount("min_amount"), _rule_amount("max_amount")),
        name="%(class)s_min_amount_above_max_amount",
        violation_error_message="payment_rules: the minimum amount is above the maximum.",
    ),
]

OF_EVERY_BALANCE = [
    models.CheckConstraint(
        condition=Q(balance=None) | Q(currency__isnull=False),
        name="%(class)s_balance_needs_currency",
        violation_error_message="A balance needs a currency.",
    ),
    models.CheckConstraint(
        condition=Q(balance=None) | Q(balance__range=(-MAX_AMOUNT, MAX_AMOUNT)),
        name="%(class)s_balance_in_range",
        violation_error_message=f"A balance is at most {MAX_AMOUNT:,} minor units, owed or in credit.",
    ),
    models.CheckConstraint(
        condition=Q(currency=None) | Q(currency__regex="^[A-Z]{3}$"),
        name="%(class)s_currency_well_formed",
        violation_error_message="A currency is three upper-case letters.",
    ),
]


def metadata_index(kind: str) -> GinIndex:
    """Return the index behind `metadata.<key>=`; rows without metadata cost it nothing."""
    return GinIndex(
        "biller",
        OpClass("metadata", name="jsonb_path_ops"),
        condition=~Q(metadata={}),
        name=f"{kind}_metadata",
    )


class CurrencyOfPayments(Rule):
    """A currency stays while a payment could still be reversed: it would come back as money of another currency."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            name=f"{kind}_currency_fixed_by_payments",
            sentence=OF_PAYMENTS,
            operation=pgtrigger.UpdateOf("currency"),
            condition=pgtrigger.Condition("OLD.currency IS DISTINCT FROM NEW.currency AND OLD.entry_count > 0"),
        )

    def get_func(self, model: models.Model) -> str:
        return f"""
            IF EXISTS (
                SELECT FROM ledger_entry
                WHERE biller_id = NEW.biller_id AND obligation_id = NEW.id AND payment_id IS NOT NULL
                HAVING sum(amount) <> 0
            ) THEN
                {super().get_func(model)}
            END IF;
            RETURN NEW;
        """


def balance_triggers(kind: str) -> list[pgtrigger.Trigger]:
    """Return the rules of how a customer's or account's balance and currency may change."""
    return [
        Rule(
            name=f"{kind}_currency_fixed_by_balance",
            sentence="The currency can change only while the balance is 0 or not tracked.",
            operation=pgtrigger.UpdateOf("currency"),
            condition=pgtrigger.Condition(
                "OLD.currency IS DISTINCT FROM NEW.currency AND COALESCE(OLD.balance, 0) <> 0"
            ),
        ),
        CurrencyOfPayments(kind),
        Rule(
            name=f"{kind}_balance_not_zero",
            sentence="A balance can stop being tracked only when it is 0.",
            operation=pgtrigger.UpdateOf("balance"),
            condition=pgtrigger.Condition("NEW.balance IS NULL AND OLD.balance <> 0"),
        ),
    ]


def ledger_triggers(kind: str) -> list[pgtrigger.Trigger]:
    """Return the rules that keep a record where its ledger can find it."""
    return [
        Rule(
            name=f"{kind}_biller_fixed",
            sentence="A record stays with its biller.",
            conflict=True,
            operation=pgtrigger.UpdateOf("biller_id"),
            condition=pgtrigger.Condition("OLD.biller_id IS DISTINCT FROM NEW.biller_id"),
        ),
        Rule(
            name=f"{kind}_has_entries",
            sentence="A record with ledger entries cannot be removed.",
            conflict=True,
            operation=pgtrigger.Delete,
            condition=pgtrigger.Condition("OLD.entry_count > 0"),
        ),
    ]
