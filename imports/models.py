"""What has been imported, how far an import that is under way has come, and which wait for a worker."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Self

from django.db import connection, models
from django.utils import timezone

from billers.acts import Act
from billers.models import Biller
from billers.tenancy import NamedQuerySet, Tenanted, TenantForeignKey, TenantQuerySet
from core.ids import PrefixedIdField, decode
from core.refusals import Conflict, Missing
from core.statements import copy_in

HOLDS = ("customers", "accounts", "bills", "payments")
"""What a file may hold a row each of."""

PROFILE_NAME = r"^[A-Za-z0-9._-]{1,64}$"
PROFILE_NAMES = "Name a profile by 1 to 64 letters, digits, dots, underscores and hyphens."

PIECE_BYTES = 1 << 20
"""How long a piece of a kept file is, the last one excepted."""


class Phase(models.TextChoices):
    """Where an import is. A run that was cut off goes on from its phase and cursor."""

    DRAFT = "draft"
    QUEUED = "queued"
    READING = "reading"
    CUSTOMERS = "customers"
    ACCOUNTS = "accounts"
    BILLS = "bills"
    PAYMENTS = "payments"
    COMPLETED = "completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDS = (Phase.COMPLETED, Phase.REFUSED, Phase.CANCELLED, Phase.FAILED)


class Status(models.TextChoices):
    """How an import stands, for whoever asks from outside."""

    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @classmethod
    def of(cls, phase: str, finished_at: datetime | None) -> "Status":
        """Return the status of an import."""
        return cls(phase) if finished_at or phase in _WAITING else cls.RUNNING


_WAITING = (Phase.DRAFT, Phase.QUEUED)


class ImportQuerySet(NamedQuerySet):
    """Words: under way, of, at. Verbs: take up, upload, start, cancel."""

    def under_way(self) -> Self:
        """Return the imports that have not ended, one way or another."""
        return self.filter(finished_at=None)

    def of(self, job: "Job | Import") -> Self:
        """Return the import that a job is for."""
        return self.for_biller(job.biller_id).filter(pk=job.pk)

    def at(self, status: str) -> Self:
        """Return the imports that have this status."""
        if status == Status.RUNNING:
            return self.under_way().exclude(phase__in=_WAITING)
        return self.filter(phase=status) if status in _WAITING else self.filter(phase=status).exclude(finished_at=None)

    def take_up(self, biller: Biller, fingerprint: str, **facts: Any) -> "Import":
        """Return the unfinished import of this file with these options, or a new one.

        Two at once get the same: the unique index lets one of them insert.
        """
        return self._one_of(self.model(biller=biller, fingerprint=fingerprint, **facts))

    def _one_of(self, mine: "Import") -> "Import":
        while True:
            self.bulk_create([mine], ignore_conflicts=True)
            same = self.for_biller(mine.biller_id).under_way().filter(fingerprint=mine.fingerprint)
            found: Import | None = same.first()
            if found is not None:  # else it was finished by another run just now
                return found

    def upload(
        self, act: Act, file: BinaryIO, *, kind: str, file_name: str, asked: Mapping[str, Any], draft: bool = False
    ) -> "Import":
        """Keep a file to be imported and put it in the queue; what is there already, and has not ended, is that.

        `asked` are the options as they were sent. A draft waits until it is started.
        """
        phase = Phase.DRAFT if draft else Phase.QUEUED
        mine = self.model(
            biller=act.biller,
            fingerprint=_fingerprint(file, f"{kind} {sorted(asked.items())} {phase}"),
            kind=kind,
            file_name=file_name,
            options=dict(asked),
            dry_run=asked.get("dry_run", False),
            phase=phase,
            asked_by=act.actor,
        )
        imported = self._one_of(mine)
        if imported.pk == mine.pk:
            file.seek(0)
            Piece.objects.keep(imported, What.SOURCE, iter(lambda: file.read(PIECE_BYTES), b""))
            if not draft:
                Job.objects.queue(imported)
        return imported

    def start(self, act: Act, key: str, asked: Mapping[str, Any]) -> "Import":
        """Put a draft in the queue, to be read with these options; return what was put there.

        A dry run is of a copy: the draft stays, to be started in earnest when the result pleases.

        Raises:
            Missing: there is no such draft (any more).
        """
        draft: Import = self.held(act, key)
        if draft.phase != Phase.DRAFT:
            raise Missing.because("import_not_found", f"There is no draft “{key}”.")
        draft.options = {name: value for name, value in asked.items() if name != "dry_run"}
        if asked.get("dry_run"):
            act.update(draft, ["options"])
            return self._copy(act, draft, asked)
        draft.phase = Phase.QUEUED
        act.update(draft, ["options", "phase"])
        Job.objects.queue(draft)
        return draft

    def _copy(self, act: Act, draft: "Import", asked: Mapping[str, Any]) -> "Import":
        mine = self.model(
            biller=act.biller,
            fingerprint=hashlib.blake2b(
                f"{draft.fingerprint} {sorted(asked.items())}".encode(), digest_size=32
            ).hexdigest(),
            kind=draft.kind,
            file_name=draft.file_name,
            options=dict(asked),
            dry_run=True,
            phase=Phase.QUEUED,
            asked_by=act.actor,
        )
        found = self._one_of(mine)
        if found.pk == mine.pk:
            Piece.objects.keep(mine, What.SOURCE, Piece.objects.bytes_of(draft, What.SOURCE))
            Job.objects.queue(mine)
        return found

    def cancel(self, act: Act, key: str) -> "Import":
        """End an import: one that no worker has begun at once, another before its next chunk.

        Raises:
            Conflict: it has ended, or a command runs it.
        """
        imported: Import = self.required(self.for_biller(act.biller).named(key).first(), key)
        # By statements that look again at what a worker wrote meanwhile, and wait for no lock on a running import.
        waiting = self.of(imported).filter(phase__in=_WAITING)
        running = Job.objects.of(imported)
        if waiting.update(phase=Phase.CANCELLED, finished_at=timezone.now()):
            imported.let_go()
        elif not running.update(cancel_asked_at=timezone.now()):
            imported.refresh_from_db(from_queryset=self.of(imported))
            if imported.finished_at is None:
                raise Conflict.because("import_of_command", "A command runs this import: it is stopped where it runs.")
            detail = f"The import is {Phase(imported.phase).label.lower()} already."
            raise Conflict.because("import_finished", detail)
        return imported


class Import(Tenanted):
    """One file being imported, once; its counts are what the report says."""

    id = PrefixedIdField("imp", primary_key=True)
    kind = models.CharField(max_length=9, choices=[(name, name) for name in HOLDS], default="bills")
    file_name = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Of the file's bytes and the options that matter.")
    options = models.JSONField(default=dict)
    dry_run = models.BooleanField(default=False)
    asked_by = models.CharField(max_length=150, null=True, help_text="Who sent the file; none where a command read it.")
    phase = models.CharField(max_length=9, choices=Phase.choices, default=Phase.READING)
    failure = models.CharField(max_length=1000, null=True, help_text="Why the file could not be read.")
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
    started_at = models.DateTimeField(null=True, editable=False, help_text="When a worker took it first.")
    finished_at = models.DateTimeField(null=True, editable=False)
    errors_until = models.DateTimeField(null=True, editable=False, help_text="How long its refused rows are kept.")

    objects = ImportQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["biller", "fingerprint"],
                condition=models.Q(finished_at=None),
                name="import_under_way",
                violation_error_message="This file is being imported already.",
            ),
            # What jobs and pieces point at.
            models.UniqueConstraint(fields=["biller", "id"], name="import_of_biller"),
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
            models.CheckConstraint(
                condition=models.Q(finished_at=None) | models.Q(phase__in=ENDS),
                name="import_ended_at_its_end",
                violation_error_message="What is still to be done of an import has no end yet.",
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

    def end(self, phase: str) -> None:
        """Let it have ended in a phase, without writing it; what a worker would still have needed goes."""
        self.phase, self.finished_at = phase, timezone.now()
        self.let_go()

    def let_go(self) -> None:
        """Forget what a worker would have needed: the job, and the file itself."""
        Job.objects.of(self).delete()
        Piece.objects.of(self, What.SOURCE).delete()

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


def _fingerprint(file: BinaryIO, options: str) -> str:
    """Return what tells a file that is sent, to be imported with these options, from all others."""
    digest = hashlib.blake2b(f"sent {options} ".encode(), digest_size=32)
    file.seek(0)
    while block := file.read(PIECE_BYTES):
        digest.update(block)
    return digest.hexdigest()


class JobQuerySet(TenantQuerySet):
    """Word: of. Verbs: queue, take."""

    def of(self, imported: "Import | Job") -> Self:
        """Return the job of an import, while there is one."""
        return self.for_biller(imported.biller_id).filter(pk=imported.pk)

    def queue(self, imported: Import) -> None:
        """Have an import run by whichever worker is free."""
        self.bulk_create([self.model(pk=imported.pk, biller_id=imported.biller_id)])

    def take(self, worker: str, seconds: float) -> "Job | None":
        """Return a job that waits, or whose worker is gone, held for so many seconds by this worker from now on.

        The files of one biller are taken in the order they came, one after the other: what a file of bills names may
        stand in the file of customers before it.
        """
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, {"worker": worker, "seconds": seconds})
            found = cursor.fetchone()
        return None if found is None else self.get(biller_id=found[0], pk=found[1])


_TAKE = """
    WITH due AS (
        SELECT job.biller_id, job.id FROM imports_job AS job
        WHERE job.held_until <= clock_timestamp() AND NOT EXISTS (
            SELECT FROM imports_job AS earlier WHERE earlier.biller_id = job.biller_id AND earlier.place < job.place
        )
        ORDER BY job.held_until LIMIT 1 FOR NO KEY UPDATE OF job SKIP LOCKED
    )
    UPDATE imports_job AS job SET worker = %(worker)s,
        held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM due WHERE job.biller_id = due.biller_id AND job.id = due.id
    RETURNING job.biller_id, job.id
"""


class Job(Tenanted):
    """An import that waits for a worker or is held by one; it is gone when the import has ended.

    It is apart from the import, whose row a worker locks for as long as a chunk takes: who looks after the job, how far
    it has come and whether it is to be cancelled must be written meanwhile.
    """

    id = PrefixedIdField("imp", primary_key=True)
    imported = TenantForeignKey(Import, "id", related_name="jobs")
    place = models.BigIntegerField(
        db_default=models.Func(models.Value("imports_place"), function="nextval"), editable=False
    )
    worker = models.CharField(max_length=64, null=True)
    held_until = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    attempts = models.IntegerField(default=0, help_text="How often it broke off by a defect of ours.")
    doing = models.CharField(max_length=20, default="Waiting")
    done = models.BigIntegerField(default=0)
    there_is = models.BigIntegerField(default=0)
    cancel_asked_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        indexes = [models.Index(fields=["biller", "place"], name="job_in_turn")]

    def __str__(self) -> str:
        return self.pk

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        unit = "bytes" if self.doing == "Reading" else "rows"
        return f"{self.doing}: {self.done:,} of {self.there_is:,} {unit}"


class What(models.TextChoices):
    """What a kept file is to its import."""

    SOURCE = "source"
    REFUSED = "refused"


class PieceQuerySet(TenantQuerySet):
    """Words: of. Verbs: keep; bytes of."""

    def of(self, imported: Import, what: What) -> Self:
        """Return the pieces of one file of an import."""
        return self.for_biller(imported.biller_id).filter(import_id=imported.pk, what=what)

    def keep(self, imported: Import, what: What, blocks: Iterable[bytes]) -> None:
        """Keep a file, block by block."""
        for number, block in enumerate(blocks):
            place = {"biller_id": imported.biller_id, "import_id": imported.pk, "what": what, "number": number}
            copy_in([self.model(**place, content=block)])

    def bytes_of(self, imported: Import, what: What) -> Iterator[bytes]:
        """Yield the bytes of a kept file, a piece at a time."""
        number = 0
        while found := self.of(imported, what).filter(number=number).values_list("content", flat=True)[:1]:
            yield bytes(found[0])
            number += 1


class Piece(Tenanted):
    """A piece of a file that is kept for an import: of the file itself until it ends, or of its refused rows."""

    id = PrefixedIdField("pce", primary_key=True)
    import_id = PrefixedIdField("imp")
    imported = TenantForeignKey(Import, "import_id", related_name="pieces")
    what = models.CharField(max_length=7, choices=What.choices)
    number = models.IntegerField()
    content = models.BinaryField()

    objects = PieceQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["biller", "import_id", "what", "number"], name="piece_once"),
            models.CheckConstraint(
                condition=models.Q(what__in=What.values),
                name="piece_of_known_file",
                violation_error_message="A piece is of the file itself or of its refused rows.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.number}"


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
