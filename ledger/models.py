"""Every change of an amount owed, append-only, and what it means to be an obligation."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, ClassVar

from django.db import connection, models

from billers import payment_rules
from billers.acts import Act
from billers.models import Biller
from billers.tenancy import Record, RecordQuerySet, Tenanted, TenantQuerySet, Versions
from core.ids import PrefixedIdField, encode, new_id
from core.money import AmountField
from core.refusals import Malformed, Reason, Stale
from core.rules import AppendOnly, Chained
from core.statements import Prepared, made
from events.models import Event


class Kind(models.TextChoices):
    """Why an amount changed."""

    OPENING = "opening"
    ADJUSTMENT = "adjustment"
    PAYMENT = "payment"
    REVERSAL = "reversal"
    IMPORT = "import"


class EntryQuerySet(TenantQuerySet):
    """Verbs of the ledger."""

    def post(self, act: Act, obligation: "Obligation", amount: int, kind: Kind = Kind.ADJUSTMENT) -> "Entry":
        """Write one change of a locked obligation; the signal that follows recomputes the obligation from it."""
        entry = Entry.of(act, obligation, amount, kind, before=obligation.amount or 0)
        entry.save(force_insert=True)
        return entry


class Entry(Tenanted):
    """One change of one amount: of a bill's amount_paid, or of an account's or customer's balance.

    `total` is the amount after it. An entry is never changed or removed; a mistake is answered by another entry.
    """

    id = PrefixedIdField("ent", primary_key=True)
    obligation_kind = models.CharField(max_length=8)
    obligation_id = models.UUIDField()
    sequence = models.BigIntegerField(help_text="1, 2, 3 … for each obligation, without gaps.")
    amount = AmountField(help_text="Signed, in minor units.")
    total = AmountField(help_text="The obligation's amount after this entry.")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    payment_id = PrefixedIdField("pay", null=True)  # type: ignore[misc]
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, null=True)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    subject: "Obligation | None" = None
    """The row this entry is about, when its writer holds it: the recompute brings it up to date."""

    objects = EntryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(fields=["biller", "obligation_id", "sequence"], name="entry_sequence_unique"),
            models.CheckConstraint(
                condition=models.Q(kind__in=Kind.values),
                name="entry_kind_known",
                violation_error_message="Unknown kind of entry.",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=[Kind.PAYMENT, Kind.REVERSAL], payment_id__isnull=False)
                | (~models.Q(kind__in=[Kind.PAYMENT, Kind.REVERSAL]) & models.Q(payment_id=None)),
                name="entry_names_its_payment",
                violation_error_message="Entries of payments and reversals name the payment, and no others do.",
            ),
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="entry_newest"),
            models.Index(
                fields=["biller", "payment_id"], condition=models.Q(payment_id__isnull=False), name="entry_of_payment"
            ),
        ]
        triggers = [AppendOnly(), Chained()]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"

    @property
    def obligation(self) -> str:
        """The id of what it changed, as callers know it."""
        return encode(PREFIXES[self.obligation_kind], self.obligation_id)

    @classmethod
    def of(cls, act: Act, obligation: "Obligation", amount: int, kind: Kind, *, before: int) -> "Entry":
        """Return the next entry of an obligation that stood at `before`, not yet written."""
        entry = cls(
            biller_id=act.biller.pk,
            obligation_kind=obligation.kind,
            obligation_id=obligation._meta.pk.get_db_prep_value(obligation.pk, connection),
            sequence=obligation.entry_count + 1,
            amount=amount,
            total=before + amount,
            kind=kind,
            actor=act.actor,
            reason=act.reason,
        )
        entry.subject = obligation
        return entry


PREFIXES = {"customer": "bcus", "account": "bacc", "bill": "bill"}

Parent = str | dict[str, Any]
"""A parent in a request: the id or reference of an existing one, or the fields of one."""


class ObligationQuerySet(RecordQuerySet):
    """Verbs that customers, accounts and bills share."""

    def planned(self, act: Act, pointer: str, **fields: Any) -> Any:
        """Plan a new row with its opening entry and its event; `Act.insert` writes it."""
        for name in Obligation.mergeable:
            fields[name] = {key: kept for key, kept in fields.get(name, {}).items() if kept is not None}
        record = made(self.model, biller_id=act.biller.pk, **fields)
        if record.amount:
            act.leave(Entry.of(act, record, record.amount, Kind.OPENING, before=0))
            record.entry_count = 1
        act.plan(record, pointer)
        act.leave(Event.told(act, record, "created", **_tellable(fields)))
        return record

    def given(self, act: Act, pointer: str, parent: "Parent | None") -> Any:
        """Return the existing row that a POST names, or plan the new one it describes."""
        if not isinstance(parent, str):
            return self.planned(act, pointer, **(parent or {}))
        found = self.for_biller(act.biller).named(parent).first()
        if found is None:
            detail = f"There is no {self.model.kind} “{parent}”."
            act.missing.append(Reason(f"{self.model.kind}_not_found", detail, pointer))
        return found

    def settled(self, act: Act, pointer: str, parent: "Parent | None") -> Any:
        """Return the existing row that a PUT names, or update or plan the one it describes."""
        if isinstance(parent, str):
            return self.given(act, pointer, parent)
        fields = dict(parent or {})
        found = self.for_biller(act.biller).filter(external_reference=fields["external_reference"]).locked().first()
        if found is None:
            act.upserting = True
            return self.planned(act, pointer, **fields)
        del fields["external_reference"]
        found.amend(act, fields, pointer)
        return found

    def absent(self, versions: Versions, fields: dict[str, Any]) -> None:
        """Make sure that a PUT may create: it expects no version and brings what a new row needs."""
        if versions is not None:
            raise Stale.because("stale", f"There is no such {self.model.kind}, so it has no version.")
        lacking = [name for name in self.model.creation_requires if fields.get(name) is None]
        if lacking:
            raise Malformed(*(Reason("required", "This field is required.", f"/{name}") for name in lacking))

    def holding(self, act: Act, ids: Sequence[str]) -> list[Any]:
        """Lock the rows with these ids, in the order of their ids, and return those there are."""
        model: Any = self.model
        if len(ids) == 1:
            return list(_holding_one(model).objects(act.biller.pk, ids[0]))
        return list(self.for_biller(act.biller).filter(pk__in=ids).order_by("pk").locked())

    def recompute(self, entries: Iterable[Entry]) -> None:
        """Set the amounts of these entries' obligations to what their last entries say, in one statement.

        It costs the same however long the history is. An entry of another kind of obligation is passed over.
        """
        about = {entry.obligation_id: entry for entry in entries if entry.obligation_kind == self.model.kind}
        if not about:
            return
        biller_id = Biller._meta.pk.get_db_prep_value(next(iter(about.values())).biller_id, connection)
        fields = [self.model._meta.get_field(name) for name in ("id", self.model.amount_field, *self.model.decided)]
        with connection.cursor() as cursor:
            cursor.execute(self.model.recompute_sql(), [list(about), biller_id, biller_id])
            for key, *values in cursor.fetchall():
                if (subject := about[key].subject) is not None:
                    for field, value in zip(fields[1:], values, strict=True):
                        setattr(subject, field.attname, value)


@cache
def _holding_one(model: type["Obligation"]) -> Prepared:
    return Prepared(
        lambda biller_id, key: model.objects.for_biller(biller_id).filter(pk=key).with_parents().locked(),
        new_id("blr"),
        new_id(PREFIXES[model.kind]),
    )


class Obligation(Record):
    """Whatever can be paid: its amount changes by ledger entries alone, and COMMIT refuses one that disagrees."""

    kind: ClassVar[str]
    amount_field: ClassVar[str]
    mergeable: ClassVar = ("metadata", "payment_rules")
    creation_requires: ClassVar[tuple[str, ...]] = ()
    decided: ClassVar[tuple[str, ...]] = ("entry_count", "version", "updated_at")
    payment_sign: ClassVar[int] = -1
    """What a payment of 1 changes the amount by: a balance falls, an amount_paid rises."""
    applied: ClassVar[tuple[str, ...]] = ("balance",)
    """The fields that tell of a payment."""

    entry_count = models.BigIntegerField(default=0, editable=False, help_text="How many ledger entries it has.")
    currency: Any

    objects = ObligationQuerySet.as_manager()  # type: ignore[misc]

    class Meta(Record.Meta):
        abstract = True

    @property
    def owed(self) -> int | None:
        """What is owed on it now, in minor units; None where nothing is tracked, negative in credit."""
        return self.amount

    @property
    def payer(self) -> Any:
        """The customer who owes it."""
        return self

    @property
    def layer(self) -> payment_rules.Layer:
        """Its own payment rules."""
        return self.payment_rules, self.currency

    @property
    def layers(self) -> tuple[payment_rules.Layer, ...]:
        """Its own payment rules, then those of what it hangs on."""
        return (self.layer,)

    def rules_in_force(self, biller: Biller) -> dict[str, Any]:
        """Return the payment rules in force for it."""
        return payment_rules.in_force(biller, self.currency, *self.layers)

    @property
    def amount(self) -> int | None:
        """The amount that the ledger stands behind: amount_paid of a bill, else the balance."""
        return getattr(self, self.amount_field)

    @classmethod
    def recompute_sql(cls) -> str:
        """Return the statement of `ObligationQuerySet.recompute`."""
        returned = ", ".join(f"held.{name}" for name in ("id", cls.amount_field, *cls.decided))
        return f"""
            UPDATE {cls._meta.db_table} AS held SET {cls.amount_field} = last.total, entry_count = last.sequence
            FROM unnest(%s::uuid[]) AS about (id), LATERAL (
                SELECT total, sequence FROM ledger_entry WHERE biller_id = %s AND obligation_id = about.id
                ORDER BY sequence DESC LIMIT 1
            ) AS last
            WHERE held.biller_id = %s AND held.id = about.id RETURNING {returned}
        """  # noqa: S608 names of our own tables

    def amend(self, act: Act, changes: dict[str, Any], pointer: str = "", kind: Kind = Kind.ADJUSTMENT) -> None:
        """Apply the changes of a PATCH to this locked row; one that changes nothing writes nothing."""
        changes = {name: self._merged(name, value) for name, value in changes.items()}
        changed = {name: value for name, value in changes.items() if getattr(self, name) != value}
        if not changed:
            return
        amount = changed.get(self.amount_field)
        fields = {name: value for name, value in changed.items() if name != self.amount_field}
        if self.amount_field in changed and (amount is None or self.amount is None):
            fields[self.amount_field] = None if amount is None else 0  # from now on tracked, or not tracked any more
        if fields:
            for name, value in fields.items():
                setattr(self, name, value)
            act.update(self, fields, pointer)
        if amount is not None and amount != self.amount:
            Entry.objects.post(act, self, amount - self.amount, kind)
        act.leave(Event.told(act, self, "updated", **_tellable(changed)))

    def _merged(self, name: str, value: Any) -> Any:
        """Return what a field becomes: objects merge, and a key set to null goes."""
        if name not in self.mergeable:
            return value
        return {key: kept for key, kept in {**getattr(self, name), **value}.items() if kept is not None}


def _tellable(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not isinstance(value, models.Model)}
