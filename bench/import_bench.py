"""Import generated bills with `import_bills`, twice, then COPY the very rows it wrote into the same tables, bare.

`.venv/bin/python bench/import_bench.py [--rows N]` prints the times, their ratios and the importer's peak memory. The
database that DATABASE_URL names is not touched: the work is done in one beside it, made and dropped here. Rows go into
the same tables with the same indexes, constraints and triggers both times.
"""

import argparse
import csv
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import DatabaseError, connection

from billers.models import Biller

TABLES = ("customers_customer", "accounts_account", "bills_bill", "ledger_entry")
EVENTS = ("events_event", "imports_import")
BLOCK = 1 << 20
HEADER = (
    *("external_reference", "currency", "amount_due", "amount_paid", "bill_date", "due_date", "description"),
    *("customer_external_reference", "customer_name", "customer_email"),
    *("account_external_reference", "account_name"),
)


def generated(count: int) -> Iterator[tuple[object, ...]]:
    """Yield bills of 15 customers and 20 accounts per 100, a quarter of them part-paid, in no order of their owners."""
    chance = random.Random(7)
    accounts, customers = max(count // 5, 1), max(count * 3 // 20, 1)
    start = date(2024, 1, 1)
    for number in range(count):
        account = chance.randrange(accounts)
        customer = account % customers
        billed = start + timedelta(days=number * 700 // count)
        amount = chance.randrange(500, 500_000)
        yield (
            *(f"INV-{number:08}", "ZAR", amount, amount // 3 if number % 4 == 0 else 0),
            *(billed, billed + timedelta(days=30), f"Electricity {billed:%B %Y}"),
            *(f"C{customer:07}", f"Customer number {customer}", f"customer{customer}@example.com"),
            *(f"METER-{account:07}", f"Meter {account}"),
        )


def statement(sql: str) -> None:
    """Run one statement outside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def settle_down() -> None:
    """Let neither run pay for the other's dirty pages or dead rows."""
    try:
        statement("CHECKPOINT")
    except DatabaseError:
        print("no right to CHECKPOINT: the figures are less even")


@contextmanager
def timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block takes."""
    settle_down()
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start
    print(f"{name:12} {times[name]:8.1f} s")


def imported(file: Path) -> None:
    """Run the command as anybody would."""
    known = connection.get_connection_params()
    user = quote(known.get("user", "")) + (f":{quote(known['password'])}" if known.get("password") else "")
    rest = urlencode({name: known[name] for name in ("host", "port") if known.get(name)})
    url = f"postgresql://{user}@/{known['dbname']}?{rest}"
    command = [sys.executable, "manage.py", "import_bills", str(file), "--biller", "bench"]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"DATABASE_URL": url}, stderr=subprocess.DEVNULL)


def columns(table: str) -> str:
    """Return the columns of a table that are not generated."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s::regclass "
            "AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            [table],
        )
        return str(cursor.fetchone()[0])


def saved(table: str, folder: Path) -> None:
    """Save a table's rows, in the order of their ids, as COPY text."""
    with connection.cursor() as cursor, (folder / table).open("wb") as file:
        cursor: Any
        with cursor.copy(f"COPY (SELECT {columns(table)} FROM {table} ORDER BY id) TO STDOUT") as copy:
            for block in copy:
                file.write(block)


def bare(folder: Path) -> None:
    """COPY the saved rows back, in one transaction, for the ledger must agree at COMMIT."""
    with connection.cursor() as cursor:
        cursor: Any
        cursor.execute("BEGIN")
        for table in TABLES:
            with (
                (folder / table).open("rb") as file,
                cursor.copy(f"COPY {table} ({columns(table)}) FROM STDIN") as copy,
            ):
                while block := file.read(BLOCK):
                    copy.write(block)
        cursor.execute("COMMIT")


def main() -> None:
    """Measure both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many bills (default 1,000,000)")
    count = parser.parse_args().rows
    connection.settings_dict["TEST"]["NAME"] = f"bench_{connection.settings_dict['NAME']}"
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    times: dict[str, float] = {}
    try:
        Biller.objects.found(name="Bench", reference="bench")
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            file = folder / "bills.csv"
            with file.open("w", newline="") as out:
                csv.writer(out).writerows([HEADER, *generated(0)])
                csv.writer(out).writerows(generated(count))
            with timed(times, "import_bills"):
                imported(file)
            with timed(times, "once more"):
                imported(file)
            call_command("check_ledger")
            for table in TABLES:
                saved(table, folder)
            emptied = (*TABLES, *EVENTS, *(f"{table}history" for table in TABLES[:3]))
            statement(f"TRUNCATE {', '.join(emptied)} CASCADE")
            # A vacuum before the COMMIT would find the tables empty, and its checks would be planned for that.
            for table in emptied:
                statement(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            with timed(times, "bare COPY"):
                bare(folder)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    first, again = (times["bare COPY"] / times[name] for name in ("import_bills", "once more"))
    print(
        f"import_bills runs at {first:.0%} of a bare COPY, at {again:.0%} where nothing changes; "
        f"{peak:.0f} MB at its peak"
    )


if __name__ == "__main__":
    main()
