"""Export generated records, and COPY the same rows and columns bare, over and over in one run.

`.venv/bin/python -m bench.export_bench [--rows N]` prints, for each kind, the best time of both, their ratio, and the
peak memory of all. A bare COPY is of the columns as they lie in the tables: ids are UUIDs, text has no marks, moments
are as PostgreSQL prints them, and parents are joined where the table tells them. Both go through this process into a
file. The database that DATABASE_URL names is not touched: the work is done in one beside it.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")

import django

django.setup()

from django.db import connection

from accounts.views import AccountViewSet
from bench.loading import load, load_payments, new_biller, scratch_database, settle
from billers.models import Biller, Partner
from bills.views import BillViewSet
from core.ids import as_uuid
from customers.views import CustomerViewSet
from ledger.views import EntryViewSet
from payments.views import PaymentViewSet

ROUNDS = 3
DATABASE = "bench_export"
LISTINGS = {
    "customers": CustomerViewSet,
    "accounts": AccountViewSet,
    "bills": BillViewSet,
    "payments": PaymentViewSet,
    "entries": EntryViewSet,
}
_JOINED = "JOIN customers_customer c ON c.biller_id = {0}.biller_id AND c.id = {0}.customer_id"
BARE = {
    "customers": "external_reference, name, email, phone, currency, balance FROM customers_customer r",
    "accounts": "r.external_reference, c.external_reference, r.name, r.currency, r.balance FROM accounts_account r "
    + _JOINED.format("r"),
    "bills": "r.external_reference, c.external_reference, a.external_reference, r.currency, amount_due, amount_paid, "
    "bill_date, due_date, description, r.metadata ->> 'route' FROM bills_bill r "
    + _JOINED.format("r")
    + " LEFT JOIN accounts_account a ON a.biller_id = r.biller_id AND a.id = r.account_id",
    "payments": "r.id, r.external_reference, amount, currency, method, NULL, allocations, amount_remaining, paid_at, "
    "payer_name, u.id, p.reference, r.actor, r.created_at, u.created_at, u.reason FROM payments_payment r "
    "LEFT JOIN payments_reversal u ON u.biller_id = r.biller_id AND u.payment_id = r.id "
    "LEFT JOIN billers_partner p ON p.id = r.partner_id",
    "entries": "id, obligation_id, payment_id, kind, amount, total, actor, reason, created_at FROM ledger_entry r",
}
# Every row of the ledger that one payment would write, without the checks.
_ENTRIES = """
    INSERT INTO ledger_entry (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind, payment_id,
        actor, created_at)
    SELECT id, biller_id, 'bill', id, 1, amount, amount, 'payment', id, actor, created_at
    FROM payments_payment
"""
_ROUTES = "UPDATE bills_bill SET metadata = jsonb_build_object('route', external_reference) WHERE amount_due % 3 = 0"


def generate(count: int) -> Biller:
    """Give a biller bills, a fifth as many customers and accounts, payments and their entries; a biller beside too."""
    biller, _ = new_biller("bench")
    other, _ = new_biller("beside")
    partner = Partner.objects.found(name="Corner", reference="corner")["live"]
    load(other, 10**9, count // 10)
    load(biller, 0, count)
    load_payments(biller, [partner], count)
    with connection.cursor() as cursor:
        for table, statement in (("ledger_entry", _ENTRIES), ("bills_bill", _ROUTES)):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(statement)
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    settle()
    return biller


def bare(kind: str, biller: Biller) -> Iterator[Any]:
    """Yield what PostgreSQL writes of the rows as they are."""
    with connection.cursor() as cursor:
        cursor: Any
        cursor.execute("SET jit = off")
        statement = f"COPY (SELECT {BARE[kind]} WHERE r.biller_id = '{as_uuid(biller.pk)}') TO STDOUT (FORMAT csv)"
        with cursor.copy(statement) as copying:
            yield from copying


def timed(chunks: Iterator[Any]) -> float:
    """Return how long it takes to write what comes into a file."""
    with tempfile.TemporaryFile() as file:
        start = time.perf_counter()
        for chunk in chunks:
            file.write(chunk)
        return time.perf_counter() - start


def main() -> None:
    """Measure both, in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000, help="how many bills and payments (default 500,000)")
    parser.add_argument("--kinds", nargs="*", default=[*LISTINGS], choices=[*LISTINGS], help="which of them")
    asked = parser.parse_args()
    with scratch_database(DATABASE):
        biller = generate(asked.rows)
        for kind in asked.kinds:
            times: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                export = LISTINGS[kind].exported(biller, {})
                times.append((timed(export.chunks()), timed(bare(kind, biller))))
            ours, theirs = map(min, zip(*times, strict=True))
            told = f"export {ours:6.2f} s  bare COPY {theirs:6.2f} s  {theirs / ours:4.0%}"
            print(f"{kind:10} {export.written:9,} rows  {told}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.0f} MB at its peak")


if __name__ == "__main__":
    main()
