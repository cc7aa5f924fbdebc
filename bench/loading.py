"""A scratch database with billers and bills, loaded by set-based statements with every trigger on."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection

from billers.models import ApiKey, Biller
from core.ids import as_uuid

BATCH = 50_000
BILLS_A_CUSTOMER = 5

# Ids rise with the serial, as the time in real ones does.
_ID = "(lpad(to_hex({kind}), 4, '0') || lpad(to_hex({serial}::bigint), 28, '0'))::uuid"
_CUSTOMERS = f"""
    INSERT INTO customers_customer (id, biller_id, external_reference, name, email, phone, payment_rules,
        metadata, version, entry_count)
    SELECT {_ID.format(kind=1, serial="s")}, %(biller)s, 'C-' || s, 'Customer ' || s, 'c' || s || '@example.com',
        '+27' || (820000000 + s), '{{}}', '{{}}', 1, 0
    FROM generate_series(%(first)s / {BILLS_A_CUSTOMER}, (%(last)s - 1) / {BILLS_A_CUSTOMER}) AS s
    ON CONFLICT DO NOTHING
"""
_ACCOUNTS = f"""
    INSERT INTO accounts_account (id, biller_id, customer_id, external_reference, name, payment_rules, metadata,
        version, entry_count)
    SELECT {_ID.format(kind=2, serial="s")}, %(biller)s, {_ID.format(kind=1, serial="s")}, 'A-' || s, 'Home', '{{}}',
        '{{}}', 1, 0
    FROM generate_series(%(first)s / {BILLS_A_CUSTOMER}, (%(last)s - 1) / {BILLS_A_CUSTOMER}) AS s
    ON CONFLICT DO NOTHING
"""
# Every other bill hangs on its customer's account.
_BILLS = f"""
    INSERT INTO bills_bill (id, biller_id, customer_id, account_id, external_reference, currency, amount_due,
        amount_paid, bill_date, due_date, description, payment_rules, metadata, version, entry_count, created_at)
    SELECT {_ID.format(kind=3, serial="s")}, %(biller)s, {_ID.format(kind=1, serial=f"(s / {BILLS_A_CUSTOMER})")},
        CASE WHEN s %% 2 = 0 THEN {_ID.format(kind=2, serial=f"(s / {BILLS_A_CUSTOMER})")} END, 'INV-' || s, 'ZAR',
        100 + s %% 100000, 0, date '2026-01-01' + (s %% 300)::int,
        date '2026-02-01' + (s %% 300)::int, 'Water and electricity', '{{}}', '{{}}', 1, 0,
        timestamptz '2026-01-01' + s * interval '1 second'
    FROM generate_series(%(first)s::bigint, %(last)s - 1) AS s
"""


@contextmanager
def scratch_database(name: str) -> Iterator[None]:
    """Work in a new database until the block ends."""
    home = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
        cursor.execute(f'CREATE DATABASE "{name}"')
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = home
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.close()


def new_biller(reference: str) -> tuple[Biller, str]:
    """Create a biller; return it and a write key."""
    biller = Biller.objects.found(name=reference.title(), reference=reference)["live"]
    return biller, ApiKey.objects.issue(biller)[1]


def load(biller: Biller, first: int, bills: int) -> None:
    """Give a biller bills with the serials from `first` on, five to a customer."""
    for start in range(first, first + bills, BATCH):
        scope = {"biller": as_uuid(biller.pk), "first": start, "last": min(start + BATCH, first + bills)}
        with connection.cursor() as cursor:
            cursor.execute(_CUSTOMERS, scope)
            cursor.execute(_ACCOUNTS, scope)
            cursor.execute(_BILLS, scope)


def settle() -> None:
    """Bring statistics and the cache up to the data."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        cursor.execute(
            "SELECT count(pg_prewarm(oid::regclass)) FROM pg_class WHERE relkind IN ('r', 'i') AND relname ~ %s",
            ["^(bill|customer|account|event|entry|ledger|api|idem)"],
        )
