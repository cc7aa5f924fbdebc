"""Triggers that hold what a constraint cannot say: how a row may change."""

from typing import Any

import pgtrigger
from django.db import models


class Rule(pgtrigger.Trigger):
    """A change that is refused, with the sentence people read; its name is the public code, like a constraint's.

    `conflict` says that the record has become what forbids the change (409), not that a business rule does (422).
    """

    when = pgtrigger.Before

    def __init__(self, *, name: str, sentence: str, conflict: bool = False, **options: Any) -> None:
        self.sentence = sentence
        self.conflict = conflict
        super().__init__(name=name, **options)

    def get_func(self, model: models.Model) -> str:
        sentence = self.sentence.replace("'", "''").replace("%", "%%")
        return f"RAISE EXCEPTION '{sentence}' USING ERRCODE = 'check_violation', CONSTRAINT = '{self.name}';"


class Versioned(pgtrigger.Trigger):
    """Counts every change of a row, whichever path made it: the version is the row's ETag.

    What a row keeps for ourselves alone, in the columns of `beside`, changes without being counted.
    """

    name = "versioned"
    when = pgtrigger.Before
    operation = pgtrigger.Update
    func = "NEW.version = OLD.version + 1; NEW.updated_at = clock_timestamp(); RETURN NEW;"

    def __init__(self, *, beside: tuple[str, ...] = ()) -> None:
        super().__init__(condition=pgtrigger.AnyChange(exclude=list(beside)) if beside else None)


class AppendOnly(pgtrigger.Protect):
    """Rows are written once: an UPDATE or DELETE is refused, whoever tries."""

    name = "append_only"

    def __init__(self) -> None:
        super().__init__(name=self.name, operation=pgtrigger.Update | pgtrigger.Delete)


class Chained(pgtrigger.Trigger):
    """Each entry's total is the one before it plus its amount; checked once for a statement, however many rows."""

    name = "chained"
    when = pgtrigger.After
    level = pgtrigger.Statement
    operation = pgtrigger.Insert
    referencing = pgtrigger.Referencing(new="new_values")
    # The plan is kept as long as the session, and while the ledger is small both the statistics and the planner are for
    # reading all of it. So the entry before is asked for in the order of its own index alone, and no table may be read.
    func = """
        SET LOCAL enable_seqscan = off;
        IF EXISTS (
            SELECT FROM new_values AS entry LEFT JOIN LATERAL (
                SELECT sequence, total FROM ledger_entry
                WHERE biller_id = entry.biller_id AND obligation_id = entry.obligation_id
                    AND sequence < entry.sequence
                ORDER BY sequence DESC LIMIT 1
            ) AS previous ON true
            WHERE entry.total <> entry.amount + COALESCE(previous.total, 0)
                OR entry.sequence <> COALESCE(previous.sequence, 0) + 1
        ) THEN
            RAISE EXCEPTION 'An entry does not continue its obligation''s ledger.'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_continues_ledger';
        END IF;
        SET LOCAL enable_seqscan TO DEFAULT;
        RETURN NULL;
    """
