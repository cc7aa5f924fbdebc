"""A scratch database with billers and bills, loaded by set-based statements with every trigger on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection

from billers.models import ApiKey, Biller, Enablement, Partner
from core.ids import as_uuid

BATCH = 50_000
BILLS_A_CUSTOMER = 5

# Ids rise with the serial, as the time in real ones does.
_ID = "(lpad(to_hex({kind}), 4, '0') || lpad(to_hex(({serial})::bigint), 28, '0'))::uuid"
BILL = _ID.format(kind=3, serial="{serial}")
"""What makes the id of the bill with a serial, in SQL."""
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
# Evenly over a year, of partners and methods in turn; a hundredth is reversed a day later.
_PAYMENTS = f"""
    INSERT INTO payments_payment (id, biller_id, partner_id, external_reference, amount, currency, method, metadata,
        allocations, amount_remaining, actor, created_at)
    SELECT {_ID.format(kind=4, serial="s")}, %(biller)s, (%(partners)s::uuid[])[s %% (%(count)s + 1) + 1], 'P-' || s,
        100 + s %% 100000, 'ZAR',
        (ARRAY['cash', 'card', 'eft', 'wallet', 'push', 'other'])[s %% 6 + 1], '{{}}', '[]', 0,
        'bench', timestamptz '2026-01-01' + s * %(apart)s * interval '1 second'
    FROM generate_series(%(first)s::bigint, %(last)s - 1) AS s
"""
_REVERSALS = f"""
    INSERT INTO payments_reversal (id, biller_id, payment_id, partner_id, reason, actor, created_at)
    SELECT {_ID.format(kind=5, serial="s")}, biller_id, id, partner_id, 'bench', 'bench', created_at + interval '1 day'
    FROM generate_series(%(first)s::bigint, %(last)s - 1, 100) AS s
    JOIN payments_payment ON biller_id = %(biller)s AND id = {_ID.format(kind=4, serial="s")}
"""
YEAR = 365 * 24 * 60 * 60


def bill_number(serial: int) -> int:
    """Return the id of the bill with a serial, as a number."""
    return (3 << 112) + serial


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


def load_payments(biller: Biller, partners: Sequence[Partner], payments: int) -> None:
    """Give a biller payments over a year, of these partners and its own in turn.

    Their entries are left out, and with them the checks: for what reads payments and reversals alone.
    """
    Enablement.objects.bulk_create(Enablement(biller=biller, partner=one, mode=one.mode) for one in partners)
    tables = ("payments_payment", "payments_reversal")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for start in range(0, payments, BATCH):
            scope = {
                "biller": as_uuid(biller.pk),
                "partners": [as_uuid(one.pk) for one in partners],
                "count": len(partners),
                "apart": YEAR / payments,
                "first": start,
                "last": min(start + BATCH, payments),
            }
            cursor.execute(_PAYMENTS, scope)
            cursor.execute(_REVERSALS, scope)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def settle() -> None:
    """Bring statistics and the cache up to the data."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        cursor.execute(
            "SELECT count(pg_prewarm(oid::regclass)) FROM pg_class WHERE relkind IN ('r', 'i') AND relname ~ %s",
            ["^(bill|payment|reversal|customer|account|event|entry|ledger|api|idem)"],
        )
