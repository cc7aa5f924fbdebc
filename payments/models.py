"""Money received: payments, their reversals, and the references under which a payer's channel asks about them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Q

from accounts.models import Account
from billers.acts import Act
from billers.models import Partner
from billers.tenancy import ExistsByKey, Tenanted, TenantForeignKey, TenantQuerySet
from bills.models import Bill
from core.ids import PrefixedIdField, decode, new_id, uuid_of
from core.money import MAX_AMOUNT, AmountField, CurrencyField
from core.refusals import CONFLICT, Conflict, Missing, Refusal
from core.rules import AppendOnly
from core.statements import insert_family, made
from core.text import PAYMENT_REFERENCE
from customers.models import Customer
from events.models import Event, Type
from ledger.models import Entry, Kind
from ledger.rules import OF_METADATA
from ledger.signals import posted
from payments import collecting, payer_references

MOST_TOLD = 1000
"""How many payments, or records that hang on one, are looked through to tell the payments of a payer."""


def is_id(key: str) -> bool:
    """Tell whether `key` looks like an id of ours of a payment."""
    return decode("pay", key) is not None


class Method(models.TextChoices):
    """How the payer paid."""

    CASH = "cash"
    CARD = "card"
    EFT = "eft"
    WALLET = "wallet"
    PUSH = "push"
    OTHER = "other"


class PaymentQuerySet(TenantQuerySet):
    """Words: of_partner, own, named, of, undone, standing. Verbs: collect, undo, undo_for_taker."""

    def collect(
        self, act: Act, fingerprint: bytes, *, partner: Partner | None = None, **asked: Any
    ) -> tuple["Payment", bool]:
        """Take a payment; return it and whether it is new.

        `asked` names what it pays by `obligation`, by `allocations` or by `payer`, whose bills are paid oldest first.

        Raises:
            Missing: what it pays does not exist, or is of a biller that the partner does not collect for.
            Conflict: what it pays is void or settled; or the reference stands for something else.
            RuleBroken: the payment rules in force say no.
        """
        scope_id = uuid_of((partner or act.biller).pk)
        if partner is not None:
            biller = collecting.biller_of(partner, asked)
            if biller is None:
                return self._unless_known(scope_id, asked["external_reference"], fingerprint, collecting.nowhere(asked))
            act.serve(biller)
        told = {name: asked[name] for name in self.model.SAID if name in asked}
        payment = made(Payment, biller=act.biller, partner=partner, actor=act.actor, **told)
        if not Reference.objects.take(Reference.of(payment, fingerprint)):
            return self._unless_known(scope_id, payment.external_reference, fingerprint, None)
        shares, payment.amount_remaining = collecting.shares_of(act, asked)
        payment.payer_name = collecting.masked(shares[0].obligation.payer.name)
        payment.allocations = [share.receipt for share in shares]
        self._post(act, payment, [share.entry(act, payment.pk) for share in shares])
        for share in shares:
            act.leave(share.applied(act, payment.pk))
            if isinstance(share.obligation, Bill):
                share.obligation.tell_if_paid(act)
        return payment, True

    def undo(
        self, act: Act, key: str, reason: str, *, partner: Partner | None = None
    ) -> tuple["Reversal | Reference", bool]:
        """Undo a payment, whole; return what became of that and whether it is new.

        A partner may reverse a reference that has not been seen yet: that is remembered, and the late payment refused.

        Raises:
            Missing: the biller took no such payment, or the partner has none with this id.
        """
        if partner is not None and not is_id(key):
            early = Reference(scope_id=uuid_of(partner.pk), external_reference=key, reason=reason, actor=act.actor)
            if Reference.objects.take(early):
                return early, True
            reference = Reference.objects.held(early.scope_id, key)
            if not reference.payment_id:
                return reference, False
            payment = self.for_biller(reference.biller_id).get(pk=reference.payment_id)
        else:
            own = self.of_partner(partner) if partner else self.for_biller(act.biller).own()
            payment = own.named(key).first()
            if payment is None:
                raise Missing.because("payment_not_found", f"There is no payment “{key}” that you took.")
            Reference.objects.held(payment.scope_id, payment.external_reference)
        return self._undone_once(act, payment, reason)

    def undo_for_taker(self, act: Act, payment_id: str, reason: str) -> tuple["Reversal", bool]:
        """Undo a payment in place of whoever took it, a partner too; return its reversal and whether it is new.

        This is for the biller's staff: over the API, who took a payment undoes it. A partner's payment counts as
        reversed on the partner's side as well, as if the partner had reversed it.

        Raises:
            Missing: the biller was paid no such payment.
        """
        payment = self.for_biller(act.biller).filter(pk=payment_id).first()
        if payment is None:
            raise Missing.because("payment_not_found", f"There is no payment “{payment_id}”.")
        Reference.objects.held(payment.scope_id, payment.external_reference)
        return self._undone_once(act, payment, reason)

    def _undone_once(self, act: Act, payment: "Payment", reason: str) -> tuple["Reversal", bool]:
        """Undo a payment whose reference is held, unless that has been done."""
        if known := payment.reversal:
            return known, False
        act.serve(payment.biller)
        return self._undone(act, payment, reason), True

    def _undone(self, act: Act, payment: "Payment", reason: str) -> "Reversal":
        reversal = made(
            Reversal,
            biller_id=act.biller.pk,
            payment_id=payment.pk,
            partner_id=payment.partner_id,
            reason=reason,
            actor=act.actor,
        )
        paid = Entry.objects.for_biller(act.biller).filter(payment_id=payment.pk, kind=Kind.PAYMENT)
        changes = {entry.obligation: entry.amount for entry in paid}
        mirrored = []
        for key, obligation in collecting.held(act, list(changes)).items():
            entry = Entry.of(act, obligation, -changes[key], Kind.REVERSAL, before=obligation.amount or 0)
            entry.payment_id, entry.reason = payment.pk, reason
            mirrored.append(entry)
        self._post(act, reversal, mirrored)
        told = {name: getattr(payment, name) for name in ("external_reference", "amount", "currency", "allocations")}
        act.leave(Event.of(act, Type.PAYMENT_REVERSED, payment.pk, **told, reason=reason))
        reversal.payment = payment
        return reversal

    def _post(self, act: Act, row: models.Model, entries: list[Entry]) -> None:
        """Insert a payment or reversal with its entries, and let what they are about catch up."""
        insert_family([row], entries)
        posted.send(sender=Entry, entries=entries)

    def _unless_known(
        self, scope_id: UUID, external_reference: str, fingerprint: bytes, otherwise: Refusal | None
    ) -> tuple["Payment", bool]:
        """Return the payment that the reference stands for already, if it said the same."""
        known = Reference.objects.filter(scope_id=scope_id, external_reference=external_reference).first()
        if known is None:
            raise otherwise or RuntimeError("A reference that was taken is gone.")
        if not known.payment_id:
            detail = "This reference was reversed before its payment came."
            raise Conflict.because("payment_reversed", detail, "/external_reference")
        if known.fingerprint is None or bytes(known.fingerprint) != fingerprint:
            detail = "This reference stands for another payment."
            raise Conflict.because("reference_reused", detail, "/external_reference", existing_id=str(known.payment_id))
        return self.for_biller(known.biller_id).get(pk=known.payment_id), False

    def of_partner(self, partner: Any) -> "PaymentQuerySet":
        """Return what a partner has taken, for whichever biller."""
        return self.filter(partner_id=getattr(partner, "pk", partner))

    def own(self) -> "PaymentQuerySet":
        """Return what the billers took themselves."""
        return self.filter(partner_id=None)

    def undone(self) -> "PaymentQuerySet":
        """Return those that were reversed."""
        return self.filter(reversals__isnull=False)

    def standing(self) -> "PaymentQuerySet":
        """Return those that were not reversed: most of them, so a page of the newest meets few that were."""
        undone = Reversal.objects.filter(biller_id=models.OuterRef("biller_id"), payment_id=models.OuterRef("pk"))
        return self.filter(~ExistsByKey(undone))

    def of(self, biller_id: str, obligation_id: str) -> "PaymentQuerySet":
        """Return the newest payments of a biller's customer, account or bill, and of what hangs on it."""
        about, kind = [obligation_id], collecting.kind_of(obligation_id)
        for model in (Account, Bill):
            if kind in {field.name for field in model._meta.fields}:
                held = model.objects.for_biller(biller_id).filter(**{f"{kind}_id": obligation_id})
                about += held.order_by("-created_at", "-pk").values_list("pk", flat=True)[:MOST_TOLD]
        paid = Entry.objects.for_biller(biller_id).filter(
            obligation_id__in=[uuid_of(key) for key in about], kind=Kind.PAYMENT
        )
        # Found first and sorted then: asked at once, the planner may walk all of the biller's payments.
        newest = paid.order_by("-created_at", "-pk").values("payment_id")[:MOST_TOLD]
        return self.for_biller(biller_id).filter(pk__in=newest)

    def named(self, key: str) -> "PaymentQuerySet":
        """Return the payments that `key` names: by our id before a reference, a biller's own before a partner's."""
        own_first = models.F("partner_id").asc(nulls_first=True)
        if not is_id(key):
            return self.filter(external_reference=key).order_by(own_first)
        by_id = models.Case(models.When(pk=key, then=0), default=1)
        return self.filter(Q(pk=key) | Q(external_reference=key)).order_by(by_id, own_first)


class Payment(Tenanted):
    """Money that a partner or the biller itself took from a payer; written once, and answered by a reversal if wrong.

    Its ledger entries say what it paid; `allocations` repeats them, with what then remained, for the receipt.
    """

    id = PrefixedIdField("pay", primary_key=True)
    partner_id = PrefixedIdField("prt", null=True)  # type: ignore[misc]
    partner = models.ForeignObject(
        "billers.Partner", models.PROTECT, from_fields=["partner_id"], to_fields=["id"], related_name="+", null=True
    )
    external_reference = models.CharField(max_length=64, help_text="The taker's own name for the payment.")
    amount = AmountField(help_text="Minor units, at least 1.")
    currency = CurrencyField()
    method = models.CharField(max_length=6, choices=Method.choices)
    paid_at = models.DateTimeField(null=True, help_text="When the payer paid, as the taker tells it.")
    metadata = models.JSONField(default=dict, help_text="At most 10 keys, text to text.")
    payer_name = models.CharField(max_length=255, null=True, help_text="Masked, as on the receipt.")
    allocations = models.JSONField(help_text="What it paid: obligation, kind, amount, remaining.")
    amount_remaining = AmountField(help_text="What the payer still owed of it afterwards, in minor units.")
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    SAID = ("external_reference", "amount", "currency", "method", "paid_at", "metadata")
    """What the taker says of it, apart from what it pays."""

    objects = PaymentQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["biller", "id"], name="payment_of_biller"),
            models.CheckConstraint(
                condition=Q(amount__range=(1, MAX_AMOUNT)),
                name="payment_amount_positive",
                violation_error_message=f"A payment is of 1 to {MAX_AMOUNT:,} minor units.",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"),
                name="payment_currency_well_formed",
                violation_error_message="A currency is three upper-case letters.",
            ),
            models.CheckConstraint(
                condition=Q(method__in=Method.values),
                name="payment_method_known",
                violation_error_message="Unknown method of payment.",
            ),
            models.CheckConstraint(
                condition=Q(external_reference__regex=f"^{PAYMENT_REFERENCE}$"),
                name="payment_external_reference_well_formed",
                violation_error_message="A payment's reference is 1 to 64 letters, digits, dots, hyphens, underscores.",
            ),
            *OF_METADATA,
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="payment_newest"),
            models.Index(fields=["biller", "external_reference"], name="payment_by_reference"),
            # The day's sheet of a partner.
            models.Index(fields=["biller", "partner_id", "created_at", "id"], name="payment_by_partner"),
            # A partner's own list goes across its billers.
            models.Index(
                fields=["partner_id", "created_at", "id"],
                condition=Q(partner_id__isnull=False),
                name="payment_of_partner_newest",
            ),
        ]
        triggers = [AppendOnly()]

    def __str__(self) -> str:
        return self.external_reference

    @property
    def scope_id(self) -> UUID:
        """Within what its reference is told apart: who took it."""
        return uuid_of(self.partner_id or self.biller_id)

    @property
    def reversal(self) -> "Reversal | None":
        """The reversal that undid it, once there is one."""
        return Reversal.objects.filter(biller_id=self.biller_id, payment_id=self.pk).first()


class Reversal(Tenanted):
    """That a payment was undone, whole: its entries are mirrored, and it counts on the day of its reversal."""

    id = PrefixedIdField("rev", primary_key=True)
    payment_id = PrefixedIdField("pay")
    payment = TenantForeignKey(Payment, "payment_id", related_name="reversals")
    partner_id = PrefixedIdField("prt", null=True)  # type: ignore[misc]
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["biller", "payment_id"],
                name="payment_reversed",
                violation_error_message="The payment has been reversed.",
                violation_error_code=CONFLICT,
            ),
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="reversal_newest"),
            models.Index(fields=["biller", "partner_id", "created_at", "id"], name="reversal_by_partner"),
        ]
        triggers = [AppendOnly()]

    def __str__(self) -> str:
        return self.payment_id


_TAKE = """
    INSERT INTO payments_reference (scope_id, external_reference, biller_id, payment_id, fingerprint, reason, actor)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING created_at
"""


class ReferenceQuerySet(models.QuerySet["Reference"]):
    """Verbs: take, held."""

    def take(self, reference: "Reference") -> bool:
        """Let a taker's reference stand for something from now on; tell whether it was free.

        Whoever else is taking it is waited for, so a payment and its reversal that meet know of each other.
        """
        values = [getattr(reference, name) for name in ("external_reference", "fingerprint", "reason", "actor")]
        text, fingerprint, reason, actor = values
        ids = [value and uuid_of(value) for value in (reference.biller_id, reference.payment_id)]
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, [reference.scope_id, text, *ids, fingerprint, reason, actor])
            for (reference.created_at,) in cursor.fetchall():
                return True
        return False

    def held(self, scope_id: UUID, external_reference: str) -> "Reference":
        """Lock and return what a reference stands for."""
        return self.select_for_update().get(scope_id=scope_id, external_reference=external_reference)


class Reference(models.Model):
    """What a taker's reference stands for: one payment, or a reversal that came before its payment."""

    pk = models.CompositePrimaryKey("scope_id", "external_reference")
    scope_id = models.UUIDField(help_text="The partner, or the biller that took the payment itself.")
    external_reference = models.CharField(max_length=64)
    biller_id = PrefixedIdField("blr", null=True)  # type: ignore[misc]
    payment_id = PrefixedIdField("pay", null=True)  # type: ignore[misc]
    fingerprint = models.BinaryField(max_length=32, null=True, help_text="SHA-256 of what the payment said.")
    reason = models.CharField(max_length=500, null=True, help_text="Why it was reversed before it was seen.")
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=models.functions.Now())

    objects = ReferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(payment_id=None, biller_id=None, reason__isnull=False)
                | Q(payment_id__isnull=False, biller_id__isnull=False, reason=None),
                name="reference_of_payment_or_reversal",
                violation_error_message="A reference stands for a payment, or for a reversal that came before it.",
            ),
        ]

    def __str__(self) -> str:
        return self.external_reference

    @classmethod
    def of(cls, payment: Payment, fingerprint: bytes) -> "Reference":
        """Return what makes a reference stand for a payment."""
        return cls(
            scope_id=payment.scope_id,
            external_reference=payment.external_reference,
            biller_id=payment.biller_id,
            payment_id=payment.pk,
            fingerprint=fingerprint,
            actor=payment.actor,
        )


class PayerReferenceQuerySet(TenantQuerySet):
    """Words: of. Verbs: give, give_each."""

    def of(self, biller_id: str, obligation_id: str) -> "PayerReference | None":
        """Return the payer reference of a biller's obligation, if it has one."""
        kind = collecting.kind_of(obligation_id)
        return self.for_biller(biller_id).filter(**{f"{kind}_id": obligation_id}).first()

    def give(self, act: Act, obligation_id: str) -> tuple["PayerReference", bool]:
        """Give an obligation of the biller its payer reference; return it and whether it is new."""
        known, is_new = self.of(act.biller.pk, obligation_id), False
        while known is None:
            # Nothing is written where another act gave it one meanwhile, or where the digits are taken: look again.
            is_new = self.give_each(act, str(collecting.kind_of(obligation_id)), [uuid_of(obligation_id)]) == 1
            known = self.of(act.biller.pk, obligation_id)
        return known, is_new

    def give_each(self, act: Act, kind: str, obligations: Sequence[UUID]) -> int:
        """Give obligations of one kind digits drawn by lot; return how many had none and met no digits taken."""
        drawn = [payer_references.drawn() for _ in obligations]
        keys = [uuid_of(new_id("ref")) for _ in obligations]
        with connection.cursor() as cursor:
            cursor.execute(_GIVE[kind], [uuid_of(act.biller.pk), keys, drawn, list(obligations)])
            return cursor.rowcount


_GIVE = {
    kind: f"""
        INSERT INTO payments_payerreference (id, biller_id, digits, {kind}_id)
        SELECT id, %s, digits, {kind}_id FROM unnest(%s::uuid[], %s::text[], %s::uuid[]) AS one (id, digits, {kind}_id)
        ON CONFLICT DO NOTHING
    """  # noqa: S608 names of our own columns
    for kind in collecting.KINDS
}


def _one_of(*columns: str) -> Q:
    """Return the condition that one of these columns holds something, and the others nothing."""
    told = Q()
    for named in columns:
        told |= Q(**{f"{column}__isnull": column != named for column in columns})
    return told


class PayerReference(Tenanted):
    """What a payer types for a customer, an account or a bill: one of each, unique to its biller."""

    id = PrefixedIdField("ref", primary_key=True)
    digits = models.CharField(max_length=payer_references.MOST_DIGITS)
    # A key can point at one table: there is a column for each kind, and each has its key in a migration.
    customer_id = PrefixedIdField("bcus", null=True, blank=True)  # type: ignore[misc]
    customer = TenantForeignKey(Customer, "customer_id", related_name="payer_references", null=True, blank=True)
    account_id = PrefixedIdField("bacc", null=True, blank=True)  # type: ignore[misc]
    account = TenantForeignKey(Account, "account_id", related_name="payer_references", null=True, blank=True)
    bill_id = PrefixedIdField("bill", null=True, blank=True)  # type: ignore[misc]
    bill = TenantForeignKey(Bill, "bill_id", related_name="payer_references", null=True, blank=True)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    objects = PayerReferenceQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["biller", "digits"], name="payer_reference_unique"),
            *(
                models.UniqueConstraint(
                    fields=["biller", f"{kind}_id"],
                    condition=Q(**{f"{kind}_id__isnull": False}),
                    name=f"payer_reference_of_{kind}",
                    violation_error_message=f"The {kind} has a payer reference.",
                )
                for kind in collecting.KINDS
            ),
            models.CheckConstraint(
                condition=_one_of(*(f"{kind}_id" for kind in collecting.KINDS)),
                name="payer_reference_of_one",
                violation_error_message="A payer reference is of one customer, account or bill.",
            ),
            models.CheckConstraint(
                condition=Q(digits__regex="^[0-9]{2,12}$"),
                name="payer_reference_is_digits",
                violation_error_message="A payer reference is at most 12 digits.",
            ),
        ]
        indexes = [models.Index(fields=["biller", "created_at", "id"], name="payer_reference_newest")]
        triggers = [AppendOnly()]

    def __str__(self) -> str:
        return self.digits

    @property
    def obligation_id(self) -> str:
        """What it is of, as callers know it."""
        return str(self.customer_id or self.account_id or self.bill_id)
