"""The statements that write a chunk of staged customers, accounts or bills, with their ledger entries.

Each chunk takes its locks first, in the order of ids, and only then looks at what is stored. Rows that do not change
are not touched: their versions stay.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

import json
from dataclasses import dataclass, field
from typing import Any

from imports.checking import BILL, CHANGED, DUE, TABLES
from imports.staging import rows, run, stored, uuid7

IF_STORED = f"LEFT JOIN {BILL} ON true"
NEVER_STORED = "LEFT JOIN bills_bill AS bill ON false"
_MERGED = "bill.metadata || COALESCE(line.metadata, '{}')"
_IN_CHUNK = "line.line BETWEEN %(first)s AND %(last)s"


@dataclass
class Written:
    """What a chunk did; `told` is filled where events were asked for: an id, a type and a body for each."""

    created: int = 0
    updated: int = 0
    told: list[tuple[Any, str, dict[str, Any]]] = field(default_factory=list)

    def __add__(self, other: "Written") -> "Written":
        return Written(self.created + other.created, self.updated + other.updated, self.told + other.told)


def adopt(parent: str, chunk: dict[str, Any]) -> None:
    """Take the ids of parents that somebody else has created since the file was read."""
    owner = ", customer_id = found.customer_id" if parent == "account" else ""
    run(
        f"""
        UPDATE staged_{parent} AS staged SET id = found.id {owner}
        FROM (
            SELECT stored.*, here.position FROM staged_{parent} AS here
            CROSS JOIN {stored(TABLES[parent], "stored", "external_reference = here.external_reference")}
            WHERE here.position BETWEEN %(first)s AND %(last)s AND stored.id <> here.id
        ) AS found WHERE staged.position = found.position
        """,
        chunk,
    )


def lock(table: str, found: str, chunk: dict[str, Any]) -> int:
    """Lock the stored rows of a chunk, in the order of their ids; return how many there are."""
    ids = [key for (key,) in rows(found, chunk)]
    if ids:
        run(
            f"""
            SELECT id FROM {table} WHERE biller_id = (SELECT %(biller)s::uuid) AND id = ANY(%(ids)s::uuid[])
            ORDER BY id FOR NO KEY UPDATE
            """,
            chunk | {"ids": ids},
        )
    return len(ids)


def lock_parents(parent: str, chunk: dict[str, Any]) -> int:
    """Lock the stored parents of a chunk."""
    found = f"""
        SELECT stored.id FROM staged_{parent} AS staged
        CROSS JOIN {stored(TABLES[parent], "stored", "id = staged.id")}
        WHERE staged.position BETWEEN %(first)s AND %(last)s
    """
    return lock(TABLES[parent], found, chunk)


def lock_bills(chunk: dict[str, Any]) -> int:
    """Lock the stored bills of a chunk of lines."""
    return lock("bills_bill", f"SELECT bill.id FROM staged_line AS line CROSS JOIN {BILL} WHERE {_IN_CHUNK}", chunk)


def change_parents(
    parent: str, columns: list[str], chunk: dict[str, Any], *, events: bool, dry: bool = False
) -> Written:
    """Update the stored parents of a chunk that the file changes in these columns; `dry` only counts them."""
    if not columns:
        return Written()
    new = {name: f"COALESCE(staged.{name}, stored.{name})" for name in columns}
    if "metadata" in new:
        new["metadata"] = "stored.metadata || COALESCE(staged.metadata, '{}')"
    change = f"""
        SELECT stored.id, stored.external_reference, stored.entry_count AS entries, COALESCE(stored.balance, 0) AS was,
            {", ".join(f"{value} AS {name}" for name, value in new.items())},
            {_told({name: (value, f"stored.{name}") for name, value in new.items()}) if events else "NULL"} AS told,
            stored.biller_id
        FROM staged_{parent} AS staged CROSS JOIN {stored(TABLES[parent], "stored", "id = staged.id")}
        WHERE staged.position BETWEEN %(first)s AND %(last)s
            AND ({_row(new.values())}) IS DISTINCT FROM ({_row(f"stored.{name}" for name in columns)})
    """
    if dry:
        return Written(updated=run(f"SELECT FROM ({change}) AS change", chunk))
    moved = "COALESCE(change.balance <> change.was, false)::integer" if "balance" in new else "0"
    posted = f", posted AS ({_entries(parent, 'balance', 'change')})" if "balance" in new else ""
    counted = ", entry_count = stored.entry_count + " + moved if posted else ""
    found = rows(
        f"""
        WITH change AS ({change}) {posted}
        UPDATE {TABLES[parent]} AS stored SET {", ".join(f"{name} = change.{name}" for name in new)} {counted}
        FROM change WHERE stored.biller_id = change.biller_id AND stored.id = change.id
        RETURNING stored.id, change.external_reference, change.told
        """,
        chunk,
    )
    return Written(updated=len(found), told=_events(parent, "updated", found) if events else [])


def create_parents(parent: str, columns: list[str], chunk: dict[str, Any], *, events: bool) -> Written:
    """Insert the parents of a chunk that are not stored yet."""
    values = {
        "id": "staged.id",
        "biller_id": "%(biller)s",
        "external_reference": "staged.external_reference",
        "payment_rules": "'{}'",
        "version": "1",
        "entry_count": "(COALESCE(staged.balance, 0) <> 0)::integer",
        **{name: f"staged.{name}" for name in columns},
        "metadata": "COALESCE(staged.metadata, '{}')",
        **({"customer_id": "staged.customer_id"} if parent == "account" else {}),
    }
    told = _told({name: (f"new.{name}", "NULL") for name in columns}) if events else "NULL"
    entries = _entries(parent, "balance", "(SELECT *, 0 AS was, 0 AS entries FROM new) AS change")
    posted = f", posted AS ({entries})" if "balance" in columns else ""
    found = rows(
        f"""
        WITH new AS (
            INSERT INTO {TABLES[parent]} ({", ".join(values)})
            SELECT {", ".join(values.values())} FROM staged_{parent} AS staged
            LEFT JOIN {stored(TABLES[parent], "stored", "id = staged.id")} ON true
            WHERE staged.position BETWEEN %(first)s AND %(last)s AND stored.id IS NULL
            ORDER BY staged.position
            RETURNING {"*" if events else "id, external_reference" + (", balance" if posted else "")}
        ) {posted}
        SELECT id, external_reference, {told} FROM new
        """,
        chunk,
    )
    return Written(created=len(found), told=_events(parent, "created", found) if events else [])


def tally(chunk: dict[str, Any], beside: str = IF_STORED) -> list[tuple[str, int, int, int, int, int]]:
    """Return the currency of a chunk's accepted lines, with how many, new, changed, and the amounts they come to."""
    return rows(
        f"""
        SELECT COALESCE(bill.currency, line.currency, %(currency)s::text), count(*),
            count(*) FILTER (WHERE bill.id IS NULL),
            count(*) FILTER (WHERE bill.id IS NOT NULL AND ({CHANGED} OR {_MERGED} <> bill.metadata)),
            sum(COALESCE(line.amount_due, bill.amount_due))::bigint,
            sum(COALESCE(line.amount_paid, bill.amount_paid, 0))::bigint
        FROM accepted_line AS line {beside} WHERE {_IN_CHUNK} GROUP BY 1
        """,
        chunk,
    )


def tally_parents(parent: str, columns: list[str], chunk: dict[str, Any]) -> list[tuple[str | None, int, int | None]]:
    """Return the currency of a chunk's staged parents, with how many and what the balances that are tracked come to."""
    told = {name: f"staged.{name}" if name in columns else "NULL" for name in ("currency", "balance")}
    return rows(
        f"""
        SELECT COALESCE({told["currency"]}, stored.currency), count(*),
            sum(COALESCE({told["balance"]}, stored.balance))::bigint
        FROM staged_{parent} AS staged
        LEFT JOIN {stored(TABLES[parent], "stored", "external_reference = staged.external_reference")} ON true
        WHERE staged.position BETWEEN %(first)s AND %(last)s GROUP BY 1
        """,
        chunk,
    )


def change_bills(chunk: dict[str, Any], *, events: bool) -> Written:
    """Update the stored bills that a chunk of lines changes."""
    new = {
        "amount_due": "COALESCE(line.amount_due, bill.amount_due)",
        "amount_paid": "COALESCE(line.amount_paid, bill.amount_paid)",
        "due_date": f"COALESCE({DUE}, bill.due_date)",
        "description": "COALESCE(line.description, bill.description)",
        "metadata": _MERGED,
    }
    found = rows(
        f"""
        WITH change AS (
            SELECT bill.biller_id, bill.id, bill.external_reference, bill.status,
                bill.entry_count AS entries, bill.amount_paid AS was,
                {", ".join(f"{value} AS {name}" for name, value in new.items())},
                {_told({name: (value, f"bill.{name}") for name, value in new.items()}) if events else "NULL"} AS told
            FROM accepted_line AS line CROSS JOIN {BILL}
            WHERE {_IN_CHUNK} AND ({CHANGED} OR {_MERGED} <> bill.metadata)
        ), posted AS ({_entries("bill", "amount_paid", "change")})
        UPDATE bills_bill AS bill SET {", ".join(f"{name} = change.{name}" for name in new)},
            entry_count = bill.entry_count + (change.amount_paid <> change.was)::integer
        FROM change WHERE bill.biller_id = change.biller_id AND bill.id = change.id
        RETURNING bill.id, change.external_reference, change.told, {_paid("bill", "change.status")}
        """,
        chunk,
    )
    return Written(updated=len(found), told=_events("bill", "updated", found) if events else [])


def create_bills(chunk: dict[str, Any], beside: str, *, events: bool) -> Written:
    """Insert the bills of a chunk of lines that are not stored yet, in the order of the file."""
    told = ("currency", "amount_due", "amount_paid", "bill_date", "due_date", "description", "metadata")
    insert = f"""
        INSERT INTO bills_bill (
            id, biller_id, external_reference, payment_rules, metadata, version, entry_count, customer_id, account_id,
            currency, amount_due, amount_paid, bill_date, due_date, description
        )
        SELECT {uuid7("", "(line.line - %(first)s)")}, %(biller)s, line.external_reference, '{{}}',
            COALESCE(line.metadata, '{{}}'), 1, (COALESCE(line.amount_paid, 0) <> 0)::integer,
            COALESCE(account.customer_id, customer.id), account.id, COALESCE(line.currency, %(currency)s::text),
            line.amount_due, COALESCE(line.amount_paid, 0), COALESCE(line.bill_date, %(today)s::date), {DUE},
            line.description
        FROM accepted_line AS line
        LEFT JOIN staged_account AS account ON account.external_reference = line.account_external_reference
        LEFT JOIN staged_customer AS customer ON line.account_external_reference IS NULL
            AND customer.external_reference = line.customer_external_reference
        {beside}
        WHERE {_IN_CHUNK} AND bill.id IS NULL ORDER BY line.line
        RETURNING {"*" if events else "id, amount_paid"}
    """
    posted = _entries("bill", "amount_paid", "(SELECT *, 0 AS was, 0 AS entries FROM new) AS change")
    if not events:
        counted = rows(f"WITH new AS ({insert}), posted AS ({posted}) SELECT count(*) FROM new", chunk)
        return Written(created=counted[0][0])
    body = _told({name: (f"new.{name}", "NULL") for name in told})
    found = rows(
        f"""
        WITH new AS ({insert}), posted AS ({posted})
        SELECT id, external_reference, {body}, {_paid("new", "NULL")} FROM new
        """,
        chunk,
    )
    return Written(created=len(found), told=_events("bill", "created", found))


def _entries(kind: str, amount: str, source: str) -> str:
    """Return the INSERT of the entries of changed amounts; `was` and `entries` are those before it."""
    return f"""
        INSERT INTO ledger_entry (
            id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind, actor, reason
        )
        SELECT {uuid7("", "row_number() OVER ()")}, %(biller)s, '{kind}', id, entries + 1, {amount} - was, {amount},
            'import', %(actor)s, %(reason)s
        FROM {source} WHERE {amount} <> was
    """


def _told(fields: dict[str, tuple[str, str]]) -> str:
    """Return SQL for a JSON object of the fields whose value differs from what it was."""
    pairs = (f"'{name}', CASE WHEN {new} IS DISTINCT FROM {old} THEN {new} END" for name, (new, old) in fields.items())
    return f"jsonb_strip_nulls(jsonb_build_object({', '.join(pairs)}))"


def _paid(bill: str, was: str) -> str:
    """Return SQL for the amounts of a bill that has become paid, else NULL."""
    return (
        f"CASE WHEN {bill}.status = 'PAID' AND {was} IS DISTINCT FROM 'PAID' THEN "
        f"jsonb_build_object('amount_due', {bill}.amount_due, 'amount_paid', {bill}.amount_paid) END"
    )


def _row(values: Any) -> str:
    return "ROW(" + ", ".join(values) + ")"


def _events(kind: str, what: str, found: list[tuple[Any, ...]]) -> list[tuple[Any, str, dict[str, Any]]]:
    told = []
    for key, reference, changes, *paid in found:
        told.append((key, f"{kind}.{what}", {"external_reference": reference, **json.loads(changes)}))
        if paid and paid[0]:
            told.append((key, f"{kind}.paid", {"external_reference": reference, **json.loads(paid[0])}))
    return told
