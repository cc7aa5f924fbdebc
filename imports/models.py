"""What has been imported, and how far an import that is under way has come."""

import re
from typing import Any, Self

from django.db import models

from billers.acts import Act
from billers.models import Biller
from billers.tenancy import Tenanted, TenantQuerySet
from core.ids import PrefixedIdField, decode

HOLDS = ("customers", "accounts", "bills", "payments")
"""What a file may hold a row each of."""

PROFILE_NAME = r"^[A-Za-z0-9._-]{1,64}$"
PROFILE_NAMES = "Name a profile by 1 to 64 letters, digits, dots, underscores and hyphens."


class Phase(models.TextChoices):
    """Where an import is. A run that was cut off goes on from its phase and cursor."""

    READING = "reading"
    CUSTOMERS = "customers"
    ACCOUNTS = "accounts"
    BILLS = "bills"
    PAYMENTS = "payments"
    COMPLETED = "completed"
    REFUSED = "refused"


class ImportQuerySet(TenantQuerySet):
    """Words: under way. Verb: take up."""

    def under_way(self) -> Self:
        """Return the imports that have neither completed nor been refused."""
        return self.filter(finished_at=None)

    def take_up(self, biller: Biller, fingerprint: str, **facts: Any) -> "Import":
        """Return the unfinished import of this file with these options, or a new one.

        Two at once get the same: the unique index lets one of them insert.
        """
        while True:
            self.bulk_create([self.model(biller=biller, fingerprint=fingerprint, **facts)], ignore_conflicts=True)
            found: Import | None = self.for_biller(biller).under_way().filter(fingerprint=fingerprint).first()
            if found is not None:  # else it was finished by another run just now
                return found


class Import(Tenanted):
    """One file being imported, once; its counts are what the report says."""

    id = PrefixedIdField("imp", primary_key=True)
    kind = models.CharField(max_length=9, choices=[(name, name) for name in HOLDS], default="bills")
    file_name = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Of the file's bytes and the options that matter.")
    options = models.JSONField(default=dict)
    phase = models.CharField(max_length=9, choices=Phase.choices, default=Phase.READING)
    cursor = models.BigIntegerField(default=0, help_text="The last line, customer or account written in this phase.")
    read = models.BigIntegerField(default=0)
    created = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    unchanged = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    customers_created = models.BigIntegerField(default=0)
    customers_updated = models.BigIntegerField(default=0)
    accounts_created = models.BigIntegerField(default=0)
    accounts_updated = models.BigIntegerField(default=0)
    totals = models.JSONField(default=dict, help_text="By currency, what the amounts of all accepted rows come to.")
    warnings = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = ImportQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["biller", "fingerprint"],
                condition=models.Q(finished_at=None),
                name="import_under_way",
                violation_error_message="This file is being imported already.",
            ),
            models.CheckConstraint(
                condition=models.Q(phase__in=Phase.values),
                name="import_phase_known",
                violation_error_message="Unknown phase of an import.",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=HOLDS),
                name="import_kind_known",
                violation_error_message="Unknown kind of an import.",
            ),
        ]
        indexes = [models.Index(fields=["biller", "created_at", "id"], name="import_newest")]

    def __str__(self) -> str:
        return self.file_name

    @property
    def external_reference(self) -> str:
        """What the biller calls it: the name of the file."""
        return self.file_name

    @property
    def stage(self) -> str:
        """The schema that holds the file's lines until all of them are written."""
        named = decode("imp", self.pk)
        return f"import_{named.hex if named else ''}"

    @property
    def report(self) -> dict[str, Any]:
        """What was done, as callers of `--json` read it."""
        return {
            **{name: getattr(self, name) for name in ("read", "created", "updated", "unchanged", "rejected")},
            "customers": {"created": self.customers_created, "updated": self.customers_updated},
            "accounts": {"created": self.accounts_created, "updated": self.accounts_updated},
            "totals": self.totals,
            "warnings": self.warnings,
        }


class ProfileQuerySet(TenantQuerySet):
    """Word: named. Verb: keep."""

    def named(self, biller: Biller, name: str) -> "Profile | None":
        """Return a biller's profile of this name, if there is one."""
        found: Profile | None = self.for_biller(biller).filter(name=name).first()
        return found

    def keep(self, act: Act, name: str, options: dict[str, Any]) -> None:
        """Remember options other than the usual under a name, in place of what it stood for before."""
        row = self.model(biller=act.biller, name=name, options=options, updated_at=models.functions.Now())
        fields = ["options", "updated_at"]
        self.bulk_create([row], update_conflicts=True, unique_fields=["biller", "name"], update_fields=fields)


class Profile(Tenanted):
    """How a biller's files of one kind are to be understood: the options of an import, under a name."""

    id = PrefixedIdField("prf", primary_key=True)
    name = models.CharField(max_length=64)
    options = models.JSONField(default=dict, help_text="By their names, as the command takes them.")
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    objects = ProfileQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["biller", "name"],
                name="profile_name_taken",
                violation_error_message="Another profile has this name.",
            ),
            models.CheckConstraint(
                condition=models.Q(name__regex=PROFILE_NAME),
                name="profile_name_well_formed",
                violation_error_message=PROFILE_NAMES,
            ),
        ]

    def __str__(self) -> str:
        return self.name


def is_profile_name(text: str) -> bool:
    """Tell whether a profile may be called so."""
    return re.fullmatch(PROFILE_NAME[1:-1], text) is not None
