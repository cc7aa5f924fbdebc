"""The tenant: a biller, in live and in test mode, the partners that collect for it, and the keys of both."""

import hashlib
import secrets
import zoneinfo
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Self, cast

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from billers.tenancy import PagedQuerySet
from core.audit import audited
from core.countries import is_country
from core.ids import PrefixedIdField
from core.money import MAX_AMOUNT, is_currency


class Mode(models.TextChoices):
    """Live data, or test data that can never touch it."""

    LIVE = "live"
    TEST = "test"


class BillingModel(models.TextChoices):
    """What a biller's payers are asked to pay."""

    CUSTOMER = "customer"
    ACCOUNT = "account"
    BILL = "bill"


def validate_timezone(name: str) -> None:
    """Refuse a name that is no IANA time zone."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError("“%(name)s” is no IANA time zone.", code="unknown_timezone", params={"name": name})


def validate_amount_limits(limits: object) -> None:
    """Refuse anything but ``{"ZAR": {"min_amount": 100, "max_amount": 500000}}``, minor units, either one optional."""
    if not isinstance(limits, dict):
        raise ValidationError("Give an object with a currency for each key.")
    for currency, bounds in limits.items():
        if not is_currency(currency):
            raise ValidationError("“%(code)s” is no ISO 4217 currency.", params={"code": currency})
        if not isinstance(bounds, dict) or not set(bounds) <= {"min_amount", "max_amount"}:
            raise ValidationError("%(code)s: give min_amount, max_amount or both.", params={"code": currency})
        amounts = [bounds.get("min_amount", 1), bounds.get("max_amount", MAX_AMOUNT)]
        if not all(type(amount) is int and 1 <= amount <= MAX_AMOUNT for amount in amounts) or amounts[0] > amounts[1]:
            raise ValidationError(
                "%(code)s: minor units, the minimum not above the maximum.", params={"code": currency}
            )


def validate_country(code: str) -> None:
    """Refuse a code that is no country's."""
    if not is_country(code):
        raise ValidationError("Give an ISO 3166 code of two letters, such as ZA.", code="unknown_country")


def currencies_of(default_currency: str | None, amount_limits: dict[str, Any]) -> list[str]:
    """Return the currencies that a biller with these settings declares."""
    first = [default_currency] if default_currency else []
    return [*first, *sorted(set(amount_limits) - {default_currency})]


def _found(row: models.Model) -> None:
    """Check and insert a biller or partner; one that another act founds at this moment has the reference first."""
    row.full_clean()
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        row.validate_constraints()  # which finds what has been committed meanwhile, and has the words for it
        raise


class BillerQuerySet(PagedQuerySet["Biller"]):
    """Words: collected_by, ever_collected_by. Verbs: found."""

    def collected_by(self, partner: "Partner") -> Self:
        """Return the billers that a partner may collect for now."""
        return self.filter(enablements__partner=partner, enablements__disabled_at=None)

    def ever_collected_by(self, partner: "Partner") -> Self:
        """Return the billers that a partner may collect for, or could once."""
        return self.filter(enablements__partner=partner)

    def found(self, *, name: str, reference: str, **settings: Any) -> dict[str, "Biller"]:
        """Create a biller's live and test rows, which share nothing but the name; return them by mode."""
        pair = {mode: Biller(mode=mode, name=name, reference=reference, **settings) for mode in Mode.values}
        for biller in pair.values():
            _found(biller)
        return pair


@audited("id", model_name="BillerHistory")
class Biller(models.Model):
    """A merchant, the tenant. Its test mode is a row of its own, so test data can never touch live data."""

    id = PrefixedIdField("blr", primary_key=True)
    reference = models.SlugField(max_length=64, db_index=False, help_text="Short name, the same in live and test mode.")
    mode = models.CharField(max_length=4, choices=Mode.choices, default=Mode.LIVE)
    name = models.CharField(max_length=255)
    billing_model = models.CharField(max_length=8, choices=BillingModel.choices, default=BillingModel.BILL)
    country = models.CharField(
        max_length=2, null=True, blank=True, validators=[validate_country], help_text="ISO 3166 code, such as ZA."
    )
    default_currency = models.CharField(max_length=3, null=True, blank=True)
    timezone = models.CharField(
        max_length=64, default="UTC", validators=[validate_timezone], help_text="IANA name; decides what “today” is."
    )
    underpayment_allowed = models.BooleanField(default=True)
    overpayment_allowed = models.BooleanField(default=False)
    amount_limits = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_amount_limits],
        help_text='Per currency, in minor units: {"ZAR": {"min_amount": 100, "max_amount": 500000}}.',
    )
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    objects = BillerQuerySet.as_manager()

    class Meta:
        ordering = ["reference", "mode"]
        constraints = [
            models.UniqueConstraint(
                fields=["reference", "mode"],
                name="biller_reference_taken",
                violation_error_message="Another biller has this reference.",
            ),
            models.CheckConstraint(
                condition=models.Q(mode__in=Mode.values),
                name="biller_mode_known",
                violation_error_message="A biller's mode is live or test.",
            ),
            models.CheckConstraint(
                condition=models.Q(billing_model__in=BillingModel.values),
                name="biller_billing_model_known",
                violation_error_message="The billing model is customer, account or bill.",
            ),
            models.CheckConstraint(
                condition=models.Q(country__regex="^[A-Z]{2}$"),
                name="biller_country_well_formed",
                violation_error_message="A country is two capital letters of ISO 3166.",
            ),
            models.UniqueConstraint(fields=["id", "mode"], name="biller_of_mode"),
        ]

    def __str__(self) -> str:
        return self.name if self.mode == Mode.LIVE else f"{self.name} (test)"

    def clean(self) -> None:
        if self.default_currency and not is_currency(self.default_currency):
            raise ValidationError({"default_currency": "Give an ISO 4217 code, such as ZAR."})

    @property
    def currencies(self) -> list[str]:
        """The currencies the biller declares: its default first, then those it has limits for."""
        return currencies_of(self.default_currency, self.amount_limits)

    def today(self, now: datetime | None = None) -> date:
        """Return the date in the biller's time zone."""
        return (now or timezone.now()).astimezone(zoneinfo.ZoneInfo(self.timezone)).date()


class PartnerQuerySet(models.QuerySet["Partner"]):
    """Verbs: found."""

    def found(self, *, name: str, reference: str) -> dict[str, "Partner"]:
        """Create a partner's live and test rows, which share nothing but the name; return them by mode."""
        pair = {mode: Partner(mode=mode, name=name, reference=reference) for mode in Mode.values}
        for partner in pair.values():
            _found(partner)
        return pair


@audited("id", model_name="PartnerHistory")
class Partner(models.Model):
    """A channel partner: a retailer, bank app or kiosk network that takes payments for billers; once for each mode."""

    id = PrefixedIdField("prt", primary_key=True)
    reference = models.SlugField(max_length=64, db_index=False, help_text="Short name, the same in live and test mode.")
    mode = models.CharField(max_length=4, choices=Mode.choices, default=Mode.LIVE)
    name = models.CharField(max_length=255)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    objects = PartnerQuerySet.as_manager()

    class Meta:
        ordering = ["reference", "mode"]
        constraints = [
            models.UniqueConstraint(
                fields=["reference", "mode"],
                name="partner_reference_taken",
                violation_error_message="Another partner has this reference.",
            ),
            models.CheckConstraint(
                condition=models.Q(mode__in=Mode.values),
                name="partner_mode_known",
                violation_error_message="A partner's mode is live or test.",
            ),
            models.UniqueConstraint(fields=["id", "mode"], name="partner_of_mode"),
        ]

    def __str__(self) -> str:
        return self.name if self.mode == Mode.LIVE else f"{self.name} (test)"


class EnablementQuerySet(models.QuerySet["Enablement"]):
    """Verbs: enable, disable."""

    def enable(self, partner: Partner, billers: Iterable[Biller]) -> None:
        """Let a partner collect for these billers, for the first time or again."""
        # In one order, so that two of these that meet wait for each other and do not lock each other out.
        named = sorted(set(billers), key=lambda biller: biller.pk)
        rows: list[Any] = [Enablement(biller=biller, partner=partner, mode=partner.mode) for biller in named]
        self.bulk_create(
            rows, update_conflicts=True, unique_fields=["biller", "partner"], update_fields=["disabled_at"]
        )

    def disable(self, partner: Partner, billers: Iterable[Biller], now: datetime) -> int:
        """Let a partner collect for these billers no longer; return for how many it could."""
        return self.filter(biller__in=billers, partner=partner, disabled_at=None).update(disabled_at=now)


@audited("biller", "partner", model_name="EnablementHistory")
class Enablement(models.Model):
    """That a partner may collect for a biller of its own mode; what it collected stays when it no longer may."""

    id = PrefixedIdField("enb", primary_key=True)
    # The keys contain the mode, so that test payments cannot reach live bills: SQL in a migration.
    biller = models.ForeignKey(
        Biller, on_delete=models.PROTECT, related_name="enablements", db_index=False, db_constraint=False
    )
    partner = models.ForeignKey(
        Partner, on_delete=models.PROTECT, related_name="enablements", db_index=False, db_constraint=False
    )
    mode = models.CharField(max_length=4, choices=Mode.choices)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = EnablementQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["biller", "partner"], name="enablement_unique")]
        indexes = [
            models.Index(
                fields=["partner", "biller"], name="enablement_of_partner", condition=models.Q(disabled_at=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.partner} for {self.biller}"


class Scope(models.TextChoices):
    """What a key may do; writing includes reading."""

    READ = "read"
    WRITE = "write"


Owner = Biller | Partner
"""Whom a key belongs to."""


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Words: usable. Verbs: issue, keep, revoke."""

    def issue(self, owner: Owner, *, scope: str = Scope.WRITE, **settings: Any) -> tuple["ApiKey", str]:
        """Create a key; return it and its secret text, which exists nowhere else from then on."""
        return self.keep(owner, ApiKey.invent(owner.mode), scope=scope, **settings)

    def keep(self, owner: Owner, text: str, *, scope: str = Scope.WRITE, **settings: Any) -> tuple["ApiKey", str]:
        """Store a key whose text is already chosen (the demo's is fixed)."""
        owned = {"partner" if isinstance(owner, Partner) else "biller": owner}
        key = self.model(
            **owned, public_part=ApiKey.public(text), digest=ApiKey.digest_of(text), scope=scope, **settings
        )
        key.save(force_insert=True)
        return key, text

    def revoke(self, now: datetime) -> int:
        """Revoke these keys; return how many still worked."""
        return self.filter(revoked_at=None).update(revoked_at=now)

    def usable(self, now: datetime) -> Self:
        """Return the keys that open something now."""
        return self.filter(revoked_at=None).filter(models.Q(expires_at=None) | models.Q(expires_at__gt=now))


@audited("id", model_name="ApiKeyHistory", exclude=("digest", "last_used_at"))
class ApiKey(models.Model):
    """An API key of one biller or partner, in one mode: stored hashed, shown once.

    The text is ``sk_`` (live) or ``sk_test_``, a public part of 12 letters and digits, and 32 random bytes.
    """

    id = PrefixedIdField("key", primary_key=True)
    biller = models.ForeignKey(Biller, on_delete=models.PROTECT, related_name="api_keys", null=True, blank=True)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="api_keys", null=True, blank=True)
    public_part = models.CharField(max_length=32, editable=False, help_text="The start of the key, safe to show.")
    digest = models.BinaryField(max_length=32, editable=False)
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.WRITE)
    label = models.CharField(max_length=100, blank=True, help_text="What the key is for.")
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["public_part"], name="api_key_public_part_unique"),
            models.CheckConstraint(
                condition=models.Q(scope__in=Scope.values),
                name="api_key_scope_known",
                violation_error_message="A key's scope is read or write.",
            ),
            models.CheckConstraint(
                condition=models.Q(biller__isnull=False, partner=None) | models.Q(biller=None, partner__isnull=False),
                name="api_key_of_biller_or_partner",
                violation_error_message="A key belongs to one biller or to one partner.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_part}…"

    @property
    def owner(self) -> Owner:
        """The biller or partner whose data the key opens."""
        return cast("Owner", self.biller or self.partner)

    @staticmethod
    def invent(mode: str) -> str:
        """Return the text of a fresh key."""
        prefix = "sk_test_" if mode == Mode.TEST else "sk_"
        return f"{prefix}{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"

    @staticmethod
    def public(text: str) -> str:
        """Return the part of a key's text that is safe to show and to look it up by."""
        prefix = "sk_test_" if text.startswith("sk_test_") else "sk_"
        return prefix + text.removeprefix(prefix).partition("_")[0][:24]

    @staticmethod
    def digest_of(text: str) -> bytes:
        """Return the SHA-256 of a key's text; the key is random enough that no salt or stretching is needed."""
        return hashlib.sha256(text.encode()).digest()
