"""What imports look like on the wire."""

from datetime import date
from typing import Any

from rest_framework import serializers

from api.answers import Answer
from api.serializers import Shape
from billers.models import Biller
from core.statements import Row
from imports.models import HOLDS, Import, Status
from imports.options import as_field

_MOST = 2**63 - 1


def _count(**options: Any) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0, max_value=_MOST, **options)


class ProgressAnswer(serializers.Serializer):
    """How far an import is."""

    phase = serializers.CharField(max_length=20, help_text="Waiting, Reading, Checking or Writing; Over at the end.")
    done = _count(help_text="Bytes while reading, rows while writing.")
    of = _count(help_text="How many there are.")


class ParentsAnswer(serializers.Serializer):
    """What became of the parents that the rows name."""

    created = _count()
    updated = _count()


class Nothing(Shape):
    """An empty object: the call says it all."""


class ImportAnswer(Answer):
    """A file that was sent to be imported, or that a command imports, and what came of it so far."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(HOLDS)
    status = serializers.ChoiceField(Status.choices)
    file_name = serializers.CharField(max_length=255)
    dry_run = serializers.BooleanField()
    options = serializers.JSONField(help_text="The options that differ from what is usual.")
    progress = ProgressAnswer()
    cancelling = serializers.BooleanField(help_text="Whether it ends before its next chunk.")
    read = _count(help_text="Rows.")
    created = _count()
    updated = _count()
    unchanged = _count()
    rejected = _count(help_text="Rows that were refused.")
    customers = ParentsAnswer()
    accounts = ParentsAnswer()
    totals = serializers.JSONField(help_text="By currency, what the amounts of all accepted rows come to.")
    warnings = serializers.ListField(child=serializers.CharField())
    errors_url = serializers.CharField(
        allow_null=True, help_text="Where the refused rows are, as CSV; null where there are none, or none any more."
    )
    failure = serializers.CharField(allow_null=True, help_text="Why the file could not be read at all.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    columns = (
        *("id", "kind", "phase", "file_name", "dry_run", "options", "failure", "totals", "warnings"),
        *("read", "created", "updated", "unchanged", "rejected"),
        *("customers_created", "customers_updated", "accounts_created", "accounts_updated"),
        *("created_at", "started_at", "finished_at", "errors_until"),
        *("jobs__doing", "jobs__done", "jobs__there_is", "jobs__cancel_asked_at"),
    )

    @classmethod
    def told(cls, row: Row, biller: Biller, today: date) -> Row:
        written = row["created"] + row["updated"] + row["unchanged"]
        job = {"phase": row["jobs__doing"], "done": row["jobs__done"], "of": row["jobs__there_is"]}
        over = {"phase": "Over", "done": written, "of": row["read"] - row["rejected"]}
        by_command = {"phase": row["phase"].capitalize(), "done": written, "of": row["read"] - row["rejected"]}
        return {
            **{name: row[name] for name in ("id", "kind")},
            "status": Status.of(row["phase"], row["finished_at"]),
            **{name: row[name] for name in ("file_name", "dry_run")},
            "options": row["options"],
            "progress": over if row["finished_at"] else by_command if job["phase"] is None else job,
            "cancelling": row["jobs__cancel_asked_at"] is not None,
            **{name: row[name] for name in ("read", "created", "updated", "unchanged", "rejected")},
            **{
                name: {what: row[f"{name}_{what}"] for what in ("created", "updated")}
                for name in ("customers", "accounts")
            },
            "totals": row["totals"],
            "warnings": row["warnings"],
            "errors_url": f"/billing/imports/{row['id']}/errors" if row["errors_until"] else None,
            "failure": as_field(row["failure"]) if row["failure"] else None,
            **{name: row[name] for name in ("created_at", "started_at", "finished_at")},
        }

    @classmethod
    def row(cls, imported: Import) -> Row:
        """Return what is told of an import, as it is now."""
        return next(iter(Import.objects.values_of(imported.biller_id, imported.pk, cls.columns)))
