"""The import of a file: read into a stage, checked as a whole, written in chunks.

Each chunk commits together with its cursor, so that an import that is killed anywhere goes on from there when it is run
again: nothing is lost, nothing is written twice. Two runs of one file at once take turns by the import's row.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from billers.acts import Act, perform
from billers.models import Biller
from bills.models import Bill
from core.ids import encode
from core.refusals import Refusal
from customers.models import Customer
from events.models import Event
from imports import checking, paying, refused, settling, writing
from imports.columns import Layout, Options
from imports.kinds import BILLS, PAYMENTS, Kind
from imports.models import ENDS, Import, Phase
from imports.reading import Sheet, Unreadable
from imports.staging import Stage, acquaint, rows, run, stored
from ledger.models import Entry
from payments.models import Payment

CHUNK = 20_000
_PATIENCE_MINUTES = 10
_PREFIXES = {"customer": "bcus", "account": "bacc", "bill": "bill"}
_MODELS: dict[str, Any] = {"customer": Customer, "account": Account, "bill": Bill, "payment": Payment}
_PARENT_PHASES = {Phase.CUSTOMERS: "customer", Phase.ACCOUNTS: "account"}
_COUNTS = (
    *("created", "updated", "unchanged"),
    *("customers_created", "customers_updated", "accounts_created", "accounts_updated"),
)
_TABLES = (*checking.TABLES.values(), Bill._meta.db_table, Entry._meta.db_table)
_AS_CHUNK = """
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
        set_config('synchronous_commit', 'off', true)
"""
"""A chunk walks indexes, whatever the statistics say of tables that grow under it. Nor need each wait for the disk: a
crash loses a chunk together with its cursor, and the commit that ends the import waits for all of them."""
_VALUES = ("name", "email", "phone", "currency", "balance", "metadata")
_NAMED = 5
_FEW = 200
"""How many payments are taken in one act: others wait for what it holds."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass
class FileImport:
    """One run of an import."""

    biller: Biller
    kind: Kind
    sheet: Sheet
    options: Options
    errors: Path
    dry: bool = False
    progress: Progress = lambda *_: None
    taken: Import | None = None
    """The import that this is a run of, where a worker took it; else it is found by the file."""
    pause: Callable[[], None] = lambda: None
    """Called between two steps; what it raises stops the run, and so may `progress`."""
    imported: Import = field(init=False)
    errors_lost: bool = field(init=False, default=False)
    first_refused: list[refused.Refused] = field(init=False, default_factory=list)
    """The first refused lines and why, for whoever does not look into the file of them."""

    def __post_init__(self) -> None:
        self.actor = f"import_{self.kind}"
        self.layout = Layout(self.kind, self.sheet.header, self.options, self._stored_currencies)
        self.columns = {*self.layout.columns}

    def run(self) -> Import:
        """Import the file, or go on with it where an earlier run was cut off; return what was done.

        Raises:
            Unreadable: the file breaks off or is no text; nothing was written.
        """
        acquaint(_TABLES)
        facts = {"kind": self.kind.name, "file_name": self.sheet.name[:255], "options": self.options.asked}
        if self.dry:
            self.imported = Import(biller=self.biller, **facts)
            with transaction.atomic():
                self._rehearse()
                transaction.set_rollback(True)
            return self.imported
        if self.taken is not None:
            self.imported = self.taken
        else:
            fingerprint = self.sheet.fingerprint(f"{self.kind}{self.options}{self.sheet.encoding}")
            self.imported = Import.objects.take_up(self.biller, fingerprint, **facts)
        try:
            self._in_turn(self._read)
        except Unreadable:
            if self.taken is None:
                Import.objects.for_biller(self.biller).filter(pk=self.imported.pk, phase=Phase.READING).delete()
            raise
        self._write()
        self._in_turn(self._finish)
        return self.imported

    def _write(self) -> None:
        """Write chunk after chunk; where the rules say no to one, narrow down what they mean and refuse that alone."""
        most = size = _FEW if self.kind is PAYMENTS else CHUNK
        while self.imported.phase not in self._ends:
            try:
                acquaint(_TABLES)
                self._in_turn(self._chunk(size))
                size = min(size * 2, most)
            except Refusal as refusal:
                if size == 1:
                    self._in_turn(self._refuse(refusal))
                size = max(size // 10, 1)

    _ends = ENDS

    def _in_turn(self, step: Callable[[Act], None]) -> None:
        """Do one step in a transaction of its own, after whoever else is at this import."""

        def stepped(act: Act) -> None:
            mine = Import.objects.for_biller(self.biller).select_for_update(no_key=True)
            self.imported = mine.get(pk=self.imported.pk)
            if self.imported.finished_at is None:
                step(act)

        self.pause()
        perform(self.biller, self.actor, stepped, begin=_patiently, reason=self._reason)

    @property
    def _reason(self) -> str:
        return f"{self.imported.pk} {self.sheet.name}"[:500]

    @property
    def _parameters(self) -> dict[str, Any]:
        return {
            "biller": self.stage.biller,
            "today": self.biller.today(),
            "due_days": self.options.due_days,
            "currency": self.options.currency,
            "stamp": int(timezone.now().timestamp() * 1000),
            "actor": self.actor,
            "reason": self._reason,
        }

    @property
    def stage(self) -> Stage:
        """Where the lines wait."""
        return Stage(self.imported)

    def _read(self, _act: Act) -> None:
        """Read, check and settle the whole file, unless that was done before and the stage is whole."""
        if self.imported.phase != Phase.READING and self.stage.lines == self.imported.read:
            return
        self._stage_file()
        self.imported.phase = self.kind.phases[0]
        if self.kind is PAYMENTS and self.options.most_refused is not None:
            for taken in self._rehearsed_payments():
                paying.mark(taken.faults)
            self.imported.rejected = self._rejected
        if self._too_many_refused:
            self.imported.phase = Phase.REFUSED
        self.imported.cursor = 0
        self.imported.save()

    def _stage_file(self) -> None:
        imported = self.imported
        imported.totals = {}
        for name in _COUNTS:
            setattr(imported, name, 0)
        self.stage.set_up()
        size = self.sheet.size
        records = self.sheet.records(lambda position: self.progress("Reading", position, size))
        imported.read = self.stage.load(self.layout, records, self.options.max_errors)
        most = self.options.max_errors
        cut_short = most is not None and self.layout.faulty > most
        self.progress("Checking", 0, imported.read)
        checking.check(self.kind, self.columns, self._parameters)
        imported.warnings = settling.settle(self.kind.parents, self.columns, self.layout.metadata, self._parameters)
        if cut_short:
            imported.warnings.append(f"More than {most:,} rows are wrong: no more than {imported.read:,} were read.")
        imported.rejected = self._rejected

    @property
    def wrote_nothing(self) -> bool:
        """Whether rows were refused and no other was written, nor would be."""
        whole = 0 < self.imported.rejected == self.imported.read
        return whole or self.imported.phase == Phase.REFUSED or (self.dry and self._too_many_refused)

    @property
    def _too_many_refused(self) -> bool:
        refused, most = self.imported.rejected, self.options.most_refused
        return refused > 0 and (refused == self.imported.read or (most is not None and refused > most))

    @property
    def _rejected(self) -> int:
        return int(rows("SELECT count(DISTINCT line) FROM staged_fault")[0][0])

    def _chunk(self, size: int) -> Callable[[Act], None]:
        """Return the step that writes the next chunk of the phase that the import is in."""

        def write(act: Act) -> None:
            self.stage.enter()
            phase = Phase(self.imported.phase)
            if phase in self._ends:
                return
            parent = _PARENT_PHASES.get(phase)
            table, key = (f"staged_{parent}", "position") if parent else ("staged_line", "line")
            last = rows(
                f"""
                SELECT max({key}) FROM (
                    SELECT {key} FROM {table} WHERE {key} > %(cursor)s ORDER BY {key} LIMIT %(size)s
                ) AS next
                """,
                {"cursor": self.imported.cursor, "size": size},
            )[0][0]
            if last is None:
                self.imported.phase, self.imported.cursor = self._after(phase), 0
            else:
                run(_AS_CHUNK)
                chunk = self._parameters | {"first": self.imported.cursor + 1, "last": last}
                if parent:
                    self._write_parents(act, parent, chunk)
                elif phase == Phase.BILLS:
                    self._write_bills(act, chunk)
                else:
                    self._take_payments(act, chunk)
                self.imported.cursor = last
            self.imported.save()
            done = self.imported.created + self.imported.updated + self.imported.unchanged
            self.progress("Writing", done, self.imported.read - self.imported.rejected)

        return write

    def _take_payments(self, act: Act, chunk: dict[str, Any]) -> None:
        self._receive(paying.take(act, chunk))
        if not self.options.events:
            act.forgo(Event)

    def _receive(self, taken: paying.Taken) -> None:
        """Count what became of payments, and mark the lines that were refused."""
        self.imported.created += taken.created
        self.imported.unchanged += taken.unchanged
        for currency, amount in taken.totals.items():
            self._total(currency, amount=amount)
        paying.mark(taken.faults)

    def _after(self, phase: Phase) -> Phase:
        """Return the phase that follows."""
        return dict(pairwise((*self.kind.phases, Phase.COMPLETED)))[phase]

    def _parent_columns(self, parent: str) -> list[str]:
        return [name for name in _VALUES if f"{parent}_{name}" in self.columns]

    def _write_parents(self, act: Act, parent: str, chunk: dict[str, Any]) -> None:
        events, columns = self.options.events, self._parent_columns(parent)
        writing.adopt(parent, chunk)
        written = writing.Written()
        if writing.lock_parents(parent, chunk):
            written = writing.change_parents(parent, columns, chunk, events=events)
        written += writing.create_parents(parent, columns, chunk, events=events)
        self._tell(act, written)
        self._count(parent, written, chunk)

    def _write_bills(self, act: Act, chunk: dict[str, Any]) -> None:
        events = self.options.events
        known = writing.lock_bills(chunk)
        beside = writing.IF_STORED if known else writing.NEVER_STORED
        if known:
            checking.recheck(chunk)
        to_create, to_change = self._tally(chunk, beside)
        if to_change:
            self._tell(act, writing.change_bills(chunk, events=events))
        if to_create:
            self._tell(act, writing.create_bills(chunk, beside, events=events))

    def _tally(self, chunk: dict[str, Any], beside: str = writing.IF_STORED) -> tuple[int, int]:
        """Count the lines of a chunk; return how many bills are to be created and to be changed."""
        to_create = to_change = 0
        for currency, count, created, updated, due, paid in writing.tally(chunk, beside):
            to_create += created
            to_change += updated
            self.imported.created += created
            self.imported.updated += updated
            self.imported.unchanged += count - created - updated
            self._total(currency, amount_due=due, amount_paid=paid)
        return to_create, to_change

    def _count(self, parent: str, written: writing.Written, chunk: dict[str, Any]) -> None:
        """Count what became of a chunk of parents; where they are the rows themselves, their balances too."""
        for what in ("created", "updated"):
            name = f"{parent}s_{what}"
            setattr(self.imported, name, getattr(self.imported, name) + getattr(written, what))
        if parent != self.kind.itself:
            return
        self.imported.created += written.created
        self.imported.updated += written.updated
        self.imported.unchanged -= written.created + written.updated
        for currency, count, balance in writing.tally_parents(parent, self._parent_columns(parent), chunk):
            self.imported.unchanged += count
            if currency is not None and balance is not None:
                self._total(currency, balance=balance)

    def _total(self, currency: str, **amounts: int) -> None:
        total = self.imported.totals.setdefault(currency, dict.fromkeys(amounts, 0))
        for name, amount in amounts.items():
            total[name] += amount

    def _tell(self, act: Act, written: writing.Written) -> None:
        for key, kind, body in written.told:
            wire = encode(_PREFIXES[kind.partition(".")[0]], key)
            act.leave(Event(biller_id=self.biller.pk, type=kind, object_id=key, body={"id": wire, **body}))

    def _refuse(self, refusal: Refusal) -> Callable[[Act], None]:
        """Return the step that refuses the one line, or all lines of the one parent, that the rules said no to."""

        def mark(_act: Act) -> None:
            self.stage.enter()
            parent = _PARENT_PHASES.get(Phase(self.imported.phase))
            of_parent = f"""
                IN (SELECT line.line FROM staged_line AS line JOIN staged_{parent} AS staged
                    ON staged.external_reference = line.{parent}_external_reference WHERE staged.position = %(next)s)
            """
            reason = refusal.reasons[0]
            run(
                f"""
                INSERT INTO staged_fault SELECT line, '', %(code)s, %(detail)s FROM accepted_line
                WHERE line {of_parent if parent else "= %(next)s"}
                """,
                {"next": self.imported.cursor + 1, "code": reason.code, "detail": reason.detail},
            )
            if parent:
                self.imported.cursor += 1
                self.imported.save()

        return mark

    def _rehearse(self) -> None:
        """Do everything but the writing."""
        self._stage_file()
        everything = self._parameters | checking.ALL
        for parent in self.kind.parents:
            known = rows(
                f"""
                SELECT count(*) FILTER (WHERE stored.id IS NULL) FROM staged_{parent} AS staged
                LEFT JOIN {stored(checking.TABLES[parent], "stored", "id = staged.id")} ON true
                """,
                everything,
            )
            columns = self._parent_columns(parent)
            changed = writing.change_parents(parent, columns, everything, events=False, dry=True)
            self._count(parent, writing.Written(created=known[0][0], updated=changed.updated), everything)
        if self.kind is BILLS:
            self._tally(everything)
        elif self.kind is PAYMENTS:
            for taken in self._rehearsed_payments():
                self._receive(taken)
        self._leave_errors()

    def _rehearsed_payments(self) -> Iterator[paying.Taken]:
        act = Act(self.biller, self.actor)
        act.announce()
        return paying.rehearse(act, self._parameters | checking.ALL, _FEW)

    def _finish(self, act: Act) -> None:
        """Leave the file of refused rows and the event, and clear the stage."""
        self.stage.enter()
        self._leave_errors()
        self.stage.clear()
        if self.imported.phase == Phase.COMPLETED:
            act.leave(Event.told(act, self.imported, "completed", **self.imported.report))
        self.imported.end(self.imported.phase)
        self.imported.save()

    def cancel(self) -> Import:
        """End the import where it stands: what was written stays, and its counts tell how much that is."""
        self.imported, self.pause = self.taken or self.imported, lambda: None
        self._in_turn(self._give_up)
        return self.imported

    def _give_up(self, act: Act) -> None:
        if self.imported.phase in self._ends:  # all was written before anybody said so
            self._finish(act)
            return
        if self.imported.phase != Phase.READING and self.stage.lines == self.imported.read:
            self._leave_errors()
        self.stage.clear()
        self.imported.end(Phase.CANCELLED)
        self.imported.save()

    def _leave_errors(self) -> None:
        self.imported.rejected = self._rejected
        if not self.imported.rejected:
            return
        self.first_refused = [*islice(refused.refused_lines(self.kind), _NAMED)]
        try:
            refused.write(self.errors, self.sheet, refused.refused_lines(self.kind))
        except OSError as error:
            self.errors_lost = True
            self.imported.warnings.append(f"The refused rows could not be written to {self.errors}: {error.strerror}.")

    def _stored_currencies(self, kind: str, references: Iterable[str]) -> dict[str, str]:
        stored = _MODELS[kind].objects.for_biller(self.biller).filter(external_reference__in=[*references])
        return dict(stored.exclude(currency=None).values_list("external_reference", "currency"))


def _patiently(act: Act) -> None:
    """Begin a step; it may wait for another run of the same file to be through with one of its own."""
    act.announce()
    run("SELECT set_config('lock_timeout', %(wait)s, true)", {"wait": f"{_PATIENCE_MINUTES}min"})
