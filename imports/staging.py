"""The stage: a schema of its own for each import, where a file's lines wait until they are written.

Its tables are unlogged: they outlive a killed client, and after a crash of the server the import reads its file again.
`SET LOCAL search_path` names the schema, so that every statement can be a constant.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.db import connection

from core.ids import decode
from imports.columns import Layout
from imports.models import Import
from imports.reading import Record

BATCH = 5_000
_GROWTH = 4
_WORK_MEMORY = "64MB"

_TABLES = """
CREATE UNLOGGED TABLE staged_line (
    line bigint NOT NULL,
    readable boolean NOT NULL,
    faults jsonb,
    external_reference text,
    currency text,
    amount_due bigint,
    amount_paid bigint,
    bill_date date,
    due_date date,
    description text,
    metadata jsonb,
    customer_external_reference text,
    customer_name text,
    customer_email text,
    customer_phone text,
    customer_currency text,
    customer_balance bigint,
    customer_metadata jsonb,
    account_external_reference text,
    account_name text,
    account_currency text,
    account_balance bigint,
    account_metadata jsonb,
    amount bigint,
    method text,
    paid_at timestamptz,
    partner text,
    allocations text,
    obligation text,
    bill_external_reference text
);
CREATE UNLOGGED TABLE staged_fault (
    line bigint, field text, code text, detail text NOT NULL, PRIMARY KEY (line, field, code)
);
CREATE UNLOGGED TABLE staged_customer (
    position bigint PRIMARY KEY,
    external_reference text NOT NULL,
    id uuid NOT NULL,
    name text,
    email text,
    phone text,
    currency text,
    balance bigint,
    metadata jsonb,
    differing text[] NOT NULL
);
CREATE UNLOGGED TABLE staged_account (
    position bigint PRIMARY KEY,
    external_reference text NOT NULL,
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    name text,
    currency text,
    balance bigint,
    metadata jsonb,
    differing text[] NOT NULL
);
CREATE VIEW accepted_line AS
    SELECT * FROM staged_line AS line WHERE NOT EXISTS (SELECT FROM staged_fault AS fault WHERE fault.line = line.line);
"""

_INDEXED = """
ALTER TABLE staged_line ADD PRIMARY KEY (line);
ANALYZE staged_line;
ANALYZE staged_fault;
"""


def run(statement: str, parameters: dict[str, Any] | None = None) -> int:
    """Run one statement and return how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def rows(statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Run one query and return what it found."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def uuid7(prefix: str, number: str) -> str:
    """Return SQL for a UUIDv7 that rises with `number`, 4,096 to each millisecond from `%(stamp)s` on."""
    return (
        f"(lpad(to_hex(%({prefix}stamp)s::bigint + ({number} >> 12)), 12, '0') || '7' || "
        f"lpad(to_hex({number} & 4095), 3, '0') || right(gen_random_uuid()::text, 17))::uuid"
    )


def acquaint(tables: Iterable[str]) -> None:
    """Let the planner know tables that have outgrown what it knows of them.

    It takes a table it never looked at for a small one, where any index that begins with the biller will do; and then
    every lookup, every check at COMMIT too, reads all rows of the biller.
    """
    outgrown = """
        SELECT FROM pg_class WHERE oid = %(table)s::regclass AND pg_relation_size(oid) > 0
            AND (reltuples <= 0
                OR pg_relation_size(oid) > %(growth)s * relpages * current_setting('block_size')::bigint)
    """
    for table in tables:
        if rows(outgrown, {"table": table, "growth": _GROWTH}):
            run(f"ANALYZE {table} (biller_id)")


def stored(table: str, alias: str, key: str) -> str:
    """Return SQL that looks the biller's row of a table up by an index, once for each row beside it.

    The planner is not left to choose: it knows nothing of the rows that were just written, and takes a new biller for
    one without any. So the lookup is fenced by OFFSET, and the biller's id comes from a subquery, which is estimated as
    any biller's and not as this one's.
    """
    return f"""
        LATERAL (SELECT * FROM {table} WHERE biller_id = (SELECT %(biller)s::uuid) AND {key} OFFSET 0) AS {alias}
    """


class Stage:
    """The stage of one import, entered in each transaction anew."""

    def __init__(self, imported: Import) -> None:
        self.name = imported.stage
        self.biller = decode("blr", imported.biller_id)

    def enter(self) -> None:
        """Let statements of this transaction find the stage's tables by their plain names."""
        run(
            "SELECT set_config('search_path', %(stage)s || ',' || current_setting('search_path'), true),"
            " set_config('work_mem', %(memory)s, true), set_config('jit', 'off', true)",
            {"stage": self.name, "memory": _WORK_MEMORY},
        )

    def set_up(self) -> None:
        """Make the stage anew, without what a crash may have left of it."""
        self.clear()
        run(f"CREATE SCHEMA {self.name}")
        self.enter()
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                run(statement)

    def clear(self) -> None:
        """Drop the stage."""
        run(f"DROP SCHEMA IF EXISTS {self.name} CASCADE")

    @property
    def lines(self) -> int:
        """How many lines it holds; fewer than were read after a crash of the server, or none at all."""
        if not rows("SELECT FROM pg_namespace WHERE nspname = %(stage)s", {"stage": self.name}):
            return 0
        self.enter()
        return int(rows("SELECT count(*) FROM staged_line")[0][0])

    def load(self, layout: Layout, records: Iterable[Record], most_faulty: int | None = None) -> int:
        """Copy a file's records in, batch by batch, until too many are faulty; return how many there were."""
        count = 0
        records = iter(records)
        copying = f"COPY staged_line ({', '.join(layout.columns)}) FROM STDIN"
        with connection.cursor() as cursor:
            while batch := [*islice(records, BATCH)]:
                text = layout.lines(batch)
                with cursor.copy(copying) as copy:
                    copy.write(text)
                count += len(batch)
                if most_faulty is not None and layout.faulty > most_faulty:
                    break
        run("""
            INSERT INTO staged_fault SELECT line, said.* FROM staged_line,
                jsonb_to_recordset(faults) AS said (field text, code text, detail text) WHERE faults IS NOT NULL
            ON CONFLICT DO NOTHING
        """)
        for statement in _INDEXED.split(";\n"):
            if statement.strip():
                run(statement)
        return count
