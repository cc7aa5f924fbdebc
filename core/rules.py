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
    func = """
        IF EXISTS (
            SELECT FROM new_values AS entry LEFT JOIN ledger_entry AS previous
                ON previous.biller_id = entry.biller_id AND previous.obligation_id = entry.obligation_id
                AND previous.sequence = entry.sequence - 1
            WHERE entry.total <> entry.amount + COALESCE(previous.total, 0)
                OR (previous.id IS NULL) <> (entry.sequence = 1)
        ) THEN
            RAISE EXCEPTION 'An entry does not continue its obligation''s ledger.'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_continues_ledger';
        END IF;
        RETURN NULL;
    """
