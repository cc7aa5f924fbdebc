"""One writing act: who does it, for which biller, in one transaction, and everything it leaves behind.

Every door writes through `perform`: the API, the admin and the commands get the same audit trail, the same words of
refusal and the same retries.
"""

import json
import random
import time
from collections.abc import Callable, Collection
from datetime import date
from itertools import groupby
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, models, transaction

from billers.models import Biller
from core.refusals import ParentMissing, Reason, ReferenceTaken, RuleBroken, explain
from core.statements import copy_in, insert, insert_family

T = TypeVar("T")

_RETRIES = 3
_MOST_ROWS = 1000  # PostgreSQL takes 65,535 parameters in one statement
_TRANSIENT = {"40001", "40P01"}  # serialization_failure, deadlock_detected


MOMENT = "SELECT set_config('pghistory.context_metadata', %s, true), set_config('lock_timeout', %s, true)"
"""What every writing transaction says first; it holds until COMMIT, so that pooled sessions share nothing."""


class Act:
    """What a verb needs to know of the moment, and where it leaves the rows that are written together at the end."""

    def __init__(
        self, biller: Biller | None, actor: str, *, reason: str | None = None, request_id: str | None = None
    ) -> None:
        self._biller = biller
        self.actor = actor
        self.reason = reason
        self.request_id = request_id
        self.drafts: dict[str, models.Model] = {}
        self.missing: list[Reason] = []
        self.broken: list[Reason] = []
        self.upserting = False
        self._left: dict[type[models.Model], list[models.Model]] = {}

    @property
    def biller(self) -> Biller:
        """The one biller whose rows this act writes."""
        if self._biller is None:
            raise RuntimeError("Nobody has said yet for which biller this is.")
        return self._biller

    def serve(self, biller: Biller) -> None:
        """Act for this biller from now on, where the request named it by one of its records only."""
        if self._biller is not None and self._biller != biller:
            raise RuntimeError("One act writes one biller's rows.")
        self._biller = biller

    @property
    def today(self) -> date:
        """The date in the biller's time zone."""
        return self.biller.today()

    @property
    def audit_context(self) -> str:
        """What the audit trail keeps beside every change of this act, as JSON."""
        facts = {"actor": self.actor, "request_id": self.request_id, "reason": self.reason}
        return json.dumps({name: fact for name, fact in facts.items() if fact})

    def plan(self, row: models.Model, pointer: str = "") -> None:
        """Keep a new row until `insert`, so that a refusal can speak of all of them at once."""
        self.drafts[pointer] = row

    def insert(self) -> None:
        """Insert the planned rows and what has been left beside them, in one statement.

        Raises:
            ParentMissing: a parent that was named does not exist.
            RuleBroken: a rule that no single row can hold is broken; said last, after the taken references.
        """
        if self.missing:
            raise ParentMissing(*self.missing)
        if new := [row for row in self.drafts.values() if row._state.adding]:
            insert_family(new, *self._left.values())
            self._left.clear()
        if self.broken:
            raise RuleBroken(*self.broken)

    def insert_many(self) -> None:
        """Insert what is planned and left, each kind in one go: for batches, where a refusal is a defect."""
        planned = (list(rows) for _, rows in groupby(self.drafts.values(), lambda row: row._meta.model))
        for rows in (*planned, *self._left.values()):
            copy_in(rows)
        self.drafts.clear()
        self._left.clear()

    def update(self, row: models.Model, fields: Collection[str], pointer: str = "") -> None:
        """Write these fields of a locked row, so that a refusal can point at the part of the request they came from."""
        self.drafts[pointer] = row
        row.save(update_fields=fields)

    def leave(self, *rows: models.Model) -> None:
        """Leave rows to be inserted at the end of the act, one statement for each kind."""
        for row in rows:
            self._left.setdefault(type(row), []).append(row)

    def forgo(self, kind: type[models.Model]) -> None:
        """Do not insert what was left of a kind."""
        self._left.pop(kind, None)

    @property
    def moment(self) -> list[str]:
        """The parameters of `MOMENT`."""
        return [self.audit_context, f"{settings.LOCK_WAIT_SECONDS}s"]

    def announce(self) -> None:
        """Tell the audit trail who acts, and bound every wait, for this transaction only."""
        with connection.cursor() as cursor:
            cursor.execute(MOMENT, self.moment)

    def finish(self) -> None:
        """Insert what was left."""
        for rows in self._left.values():
            for start in range(0, len(rows), _MOST_ROWS):
                insert(rows[start : start + _MOST_ROWS])


def perform(
    biller: Biller | None,
    actor: str,
    verb: Callable[[Act], T],
    *,
    begin: Callable[[Act], None] = Act.announce,
    **context: Any,
) -> T:
    """Run a verb in one transaction and return what it returns.

    A deadlock or serialization failure is tried again three times, and so is an upsert that met another one creating
    the same record.

    Raises:
        Refusal: a rule says no; nothing was written.
    """
    attempt = 0
    while True:
        act = Act(biller, actor, **context)
        attempt += 1
        try:
            with transaction.atomic():
                begin(act)
                result = verb(act)
                act.finish()
                # COMMIT, with all that it checks, is what leaving this block does.
                return result
        except IntegrityError as error:
            refusal = explain(error, act.drafts)
            if refusal is None:
                raise
            if isinstance(refusal, RuleBroken):
                refusal = RuleBroken(*refusal.reasons, *act.broken)
            if not (act.upserting and isinstance(refusal, ReferenceTaken) and attempt <= _RETRIES):
                raise refusal from error
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _TRANSIENT or attempt > _RETRIES:
                raise
        time.sleep(random.uniform(0.001, 0.02) * attempt)  # noqa: S311 jitter, not a secret
