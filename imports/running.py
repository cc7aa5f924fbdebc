"""The worker: takes the imports that wait, one at a time, and runs each with the engine that the commands run.

A job is held by a lease that a thread renews while the engine works, so that what a killed worker had is free again
within seconds; the engine goes on from what was committed last. A worker that lost its job, because it stood still for
longer than the lease, stops before its next chunk; and until then the two take turns by the import's row.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from billers.acts import Act, perform
from billers.models import Biller
from core.ids import uuid_of
from imports.columns import BadOption
from imports.fetching import fetched
from imports.importing import FileImport
from imports.kinds import KINDS
from imports.models import PIECE_BYTES, Import, Job, Phase, Piece, What
from imports.options import understood
from imports.reading import Unreadable
from imports.staging import Stage

logger = logging.getLogger(__name__)

ACTOR = "worker:imports"
POLL_SECONDS = 1.0
SWEEP_SECONDS = 3600.0
DRAFTS_KEPT = timedelta(days=1)
MOST_ATTEMPTS = 5
"""How often a job is tried again that breaks off by a defect of ours."""

_BROKEN = "Something broke on our side, again and again. The log tells what; import {} names it there."
_COUNTED = (
    *("read", "created", "updated", "unchanged", "rejected", "totals", "warnings"),
    *("customers_created", "customers_updated", "accounts_created", "accounts_updated"),
)


class Stopped(Exception):  # noqa: N818 an order, not an error
    """The worker is to end."""


class Lost(Exception):  # noqa: N818 a fact, not an error
    """The job is another's by now."""


class Cancelled(Exception):  # noqa: N818 an order, not an error
    """The import is to end where it stands."""


class Hold:
    """A worker's hold on its job: renewed by a thread of its own while the engine works, and told how far that is."""

    def __init__(self, job: Job, worker: str) -> None:
        self.job, self.worker = job, worker
        self.told = ("Waiting", 0, 0)
        self.lost = self.cancelled = False
        self._renewed_at = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def look(self) -> None:
        """Raise what forbids to go on.

        Raises:
            Lost: the lease has run out.
            Cancelled: somebody asked for it.
        """
        if self.lost:
            raise Lost
        if self.cancelled:
            raise Cancelled

    def renew(self) -> None:
        """Renew the lease, tell how far the import is, and learn whether it is cancelled."""
        doing, done, there_is = self.told
        parameters: dict[str, Any] = {
            "biller": uuid_of(self.job.biller_id),
            "job": uuid_of(self.job.pk),
            "worker": self.worker,
            "seconds": settings.IMPORT_LEASE_SECONDS,
            "doing": doing,
            "done": done,
            "there_is": there_is,
        }
        with connection.cursor() as cursor:
            cursor.execute(_RENEW, parameters)
            found = cursor.fetchone()
        if found is None:
            self.lost = True
        else:
            self._renewed_at, self.cancelled = time.monotonic(), found[0]

    def _keep(self) -> None:
        try:
            while not self._over.wait(min(1.0, settings.IMPORT_LEASE_SECONDS / 4)):
                try:
                    self.renew()
                except (DatabaseError, InterfaceError):
                    connection.close()
                    self.lost = self.lost or time.monotonic() > self._renewed_at + settings.IMPORT_LEASE_SECONDS
        finally:
            connections.close_all()


_RENEW = """
    UPDATE imports_job SET held_until = clock_timestamp() + make_interval(secs => %(seconds)s),
        doing = %(doing)s, done = %(done)s, there_is = %(there_is)s
    WHERE biller_id = %(biller)s AND id = %(job)s AND worker = %(worker)s
    RETURNING cancel_asked_at IS NOT NULL
"""


class JobImport(FileImport):
    """A run of an import that a worker took: its refused rows are kept in the database, with the commit of its end."""

    def _leave_errors(self) -> None:
        super()._leave_errors()
        if not self.dry:
            keep_refused(self.imported, self.errors)


def keep_refused(imported: Import, path: Path) -> None:
    """Keep the file of an import's refused rows, if there is one."""
    if not path.exists():
        return
    Piece.objects.of(imported, What.REFUSED).delete()
    with path.open("rb") as file:
        Piece.objects.keep(imported, What.REFUSED, iter(lambda: file.read(PIECE_BYTES), b""))
    imported.errors_until = timezone.now() + timedelta(days=settings.IMPORT_KEEP_DAYS)


class Runner:
    """Runs imports until it is stopped, or with `once` until there is none that can be run now."""

    def __init__(self, *, once: bool = False) -> None:
        self.once = once
        self.name = f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        self.counts = dict.fromkeys(("completed", "refused", "cancelled", "failed"), 0)
        self._stopping = False
        self._swept_at = -SWEEP_SECONDS

    def stop(self) -> None:
        """Ask for an end, from a signal's handler too: the chunk under way is finished."""
        self._stopping = True

    def work(self) -> dict[str, int]:
        """Run imports; return how each ended."""
        while not self._stopping:
            if not self._look() and not self._stopping:
                if self.once:
                    break
                time.sleep(POLL_SECONDS)
        return self.counts

    def _look(self) -> bool:
        """Take a job and run it; return whether there was one."""
        try:
            connection.close_if_unusable_or_obsolete()
            self._sweep()
            job = Job.objects.take(self.name, settings.IMPORT_LEASE_SECONDS)
            if job is not None:
                self._attend(job)
        except (OperationalError, InterfaceError):
            if self.once:
                raise
            logger.warning("imports_without_database", exc_info=True)
            return False
        return job is not None

    def _attend(self, job: Job) -> None:
        """Run a job, and see to it that it has ended, or is free for whoever takes it next."""
        hold = Hold(job, self.name)
        with hold.kept():
            try:
                self._begin(job)
                self._run(job, hold)
                ended = Import.objects.of(job).get()
                self.counts[ended.phase] += ended.finished_at is not None
            except Stopped:
                self._let_go(job)
            except Lost:
                logger.warning("import_lost", extra={"import": job.pk})
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                logger.exception("import_broken %s", job.pk)
                self._try_again(job)

    def _begin(self, job: Job) -> None:
        waiting = Import.objects.of(job).filter(phase=Phase.QUEUED)
        waiting.update(phase=Phase.READING, started_at=Now())

    def _run(self, job: Job, hold: Hold) -> None:
        def pause() -> None:
            hold.renew()
            hold.look()
            if self._stopping:
                raise Stopped

        def progress(what: str, done: int, there_is: int) -> None:
            hold.told = (what, done, there_is)
            if what == "Reading":
                hold.look()
                if self._stopping:
                    raise Stopped

        biller = Biller.objects.get(pk=job.biller_id)
        imported = Import.objects.of(job).get()
        kind, asked = KINDS[imported.kind], imported.options
        try:
            with fetched(imported, asked) as (sheet, folder):
                run = JobImport(
                    biller,
                    kind,
                    sheet,
                    understood(kind, asked),
                    folder / "refused",
                    dry=imported.dry_run,
                    progress=progress,
                    taken=imported,
                    pause=pause,
                )
                try:
                    run.run()
                    if imported.dry_run:
                        pause()
                        self._tell(biller, imported, run)
                except Cancelled:
                    run.cancel()
        except (Unreadable, BadOption) as refusal:
            hold.renew()
            if hold.lost:
                raise Lost from refusal
            self._fail(biller, imported, str(refusal))

    def _tell(self, biller: Biller, imported: Import, run: FileImport) -> None:
        """Write down what a dry run found."""

        def tell(_act: Act) -> None:
            mine: Import = Import.objects.of(imported).get()
            for name in _COUNTED:
                setattr(mine, name, getattr(run.imported, name))
            keep_refused(mine, run.errors)
            mine.end(Phase.REFUSED if run.wrote_nothing else Phase.COMPLETED)
            mine.save()

        perform(biller, ACTOR, tell)

    def _fail(self, biller: Biller, imported: Import, sentence: str) -> None:
        """End an import whose file cannot be read."""

        def fail(_act: Act) -> None:
            mine: Import = Import.objects.of(imported).get()
            if mine.finished_at is None:
                mine.failure = sentence[:1000].replace("\0", "\N{REPLACEMENT CHARACTER}")
                Stage(mine).clear()
                mine.end(Phase.FAILED)
                mine.save()

        perform(biller, ACTOR, fail)

    def _mine(self, job: Job) -> Any:
        return Job.objects.of(job).filter(worker=self.name)

    def _let_go(self, job: Job) -> None:
        """Leave a job to whoever takes it next."""
        self._mine(job).update(worker=None, held_until=Now())

    def _try_again(self, job: Job) -> None:
        """Have a job tried again a little later, or give it up."""
        if job.attempts + 1 < MOST_ATTEMPTS:
            later = timedelta(seconds=2**job.attempts)
            self._mine(job).update(worker=None, attempts=F("attempts") + 1, held_until=Now() + later)
            return
        biller = Biller.objects.get(pk=job.biller_id)
        self._fail(biller, Import.objects.of(job).get(), _BROKEN.format(job.pk))

    def _sweep(self) -> None:
        """Forget refused rows that were kept long enough, and drafts that nobody started."""
        if time.monotonic() < self._swept_at + SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(_FORGET_REFUSED)
            cursor.execute(_FORGET_DRAFTS, {"kept": DRAFTS_KEPT.total_seconds()})


_FORGET_REFUSED = """
    WITH over AS (
        UPDATE imports_import SET errors_until = NULL WHERE errors_until <= statement_timestamp()
        RETURNING biller_id, id
    )
    DELETE FROM imports_piece AS piece USING over
    WHERE piece.biller_id = over.biller_id AND piece.import_id = over.id AND piece.what = 'refused'
"""
_FORGET_DRAFTS = """
    WITH over AS (
        UPDATE imports_import SET phase = 'cancelled', finished_at = statement_timestamp()
        WHERE phase = 'draft' AND created_at <= statement_timestamp() - make_interval(secs => %(kept)s)
        RETURNING biller_id, id
    )
    DELETE FROM imports_piece AS piece USING over WHERE piece.biller_id = over.biller_id AND piece.import_id = over.id
"""
