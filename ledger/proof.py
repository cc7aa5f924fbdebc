"""The proof that every amount is the sum of its ledger entries, read from the tables and not from what keeps them."""

# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection

from core.ids import encode
from ledger.models import PREFIXES, Entry, Obligation

_ENTRIES = Entry._meta.db_table
OF_BILLERS = "(%(billers)s::uuid[] IS NULL OR biller_id = ANY(%(billers)s::uuid[]))"


@dataclass
class Finding:
    """What the ledger of one kind of obligation came to."""

    kind: str
    counted: int = 0
    entries: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)
    """The ids of what is wrong, by what is wrong with them."""
    noun: str = "obligations"


Check = Callable[[dict[str, Any]], Finding]
"""What an app above proves of its own rows beside the ledger; `billers` are the values to narrow by, None for all."""

checks: list[Check] = []


def kinds() -> dict[str, type[Obligation]]:
    """Return every model of obligations there is, by its kind."""
    return {model.kind: model for model in apps.get_models() if issubclass(model, Obligation)}


def prove(billers: Collection[Any] | None = None) -> Iterator[Finding]:
    """Yield what the ledger of each kind of obligation comes to, of these billers (their UUIDs) or of all."""
    known = kinds()
    values: dict[str, Any] = {"billers": None if billers is None else [*billers], "kinds": [*known]}
    for kind, model in known.items():
        values["kind"] = kind
        finding = Finding(kind)
        finding.counted = rows(f"SELECT count(*) FROM {model._meta.db_table} WHERE {OF_BILLERS}", values)[0][0]
        counted = f"SELECT count(*) FROM {_ENTRIES} WHERE obligation_kind = %(kind)s AND {OF_BILLERS}"
        finding.entries = rows(counted, values)[0][0]
        for what, statement in _doubts(model).items():
            if found := [encode(PREFIXES.get(kind, kind), key) for (key,) in rows(statement, values)]:
                finding.wrong[what] = found
        yield finding
    strange = f"SELECT id FROM {_ENTRIES} WHERE obligation_kind <> ALL(%(kinds)s) AND {OF_BILLERS} ORDER BY id"
    if found := [encode("ent", key) for (key,) in rows(strange, values)]:
        yield Finding("unknown", entries=len(found), wrong={"no such kind of obligation": found})
    for check in checks:
        yield check(values)


def _doubts(model: type[Obligation]) -> dict[str, str]:
    """Return the statements that find the ids of what is wrong with obligations of this kind."""
    table, amount = model._meta.db_table, model.amount_field
    entries = f"SELECT * FROM {_ENTRIES} WHERE obligation_kind = %(kind)s AND {OF_BILLERS}"
    return {
        "differs from the sum of its entries": f"""
            SELECT held.id FROM {table} AS held LEFT JOIN (
                SELECT biller_id, obligation_id, sum(amount) AS total, count(*) AS entries
                FROM ({entries}) AS entry GROUP BY biller_id, obligation_id
            ) AS posted ON posted.biller_id = held.biller_id AND posted.obligation_id = held.id
            WHERE {OF_BILLERS.replace("biller_id", "held.biller_id")} AND (
                COALESCE(held.{amount}, 0) <> COALESCE(posted.total, 0)
                OR held.entry_count <> COALESCE(posted.entries, 0)
            )
            ORDER BY held.id
        """,
        "its running total is broken": f"""
            SELECT DISTINCT obligation_id FROM (
                SELECT obligation_id, sequence <> row_number() OVER history
                    OR total <> amount + COALESCE(lag(total) OVER history, 0) AS broken
                FROM ({entries}) AS entry
                WINDOW history AS (PARTITION BY biller_id, obligation_id ORDER BY sequence)
            ) AS entry WHERE broken ORDER BY obligation_id
        """,
        "has entries but does not exist": f"""
            SELECT DISTINCT entry.obligation_id FROM ({entries}) AS entry LEFT JOIN {table} AS held
                ON held.biller_id = entry.biller_id AND held.id = entry.obligation_id
            WHERE held.id IS NULL ORDER BY entry.obligation_id
        """,
    }


def rows(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a statement of a proof finds."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
