"""What is wrong with lines that are well formed each: between themselves, and beside what is stored.

Every statement marks all lines it finds at once, with a code and a sentence; a marked line is not accepted.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from collections.abc import Iterable, Iterator
from typing import Any

from accounts.models import Account
from bills.models import BELOW_PAYMENTS, FIXED, VOID
from customers.models import Customer
from imports.cells import OLDEST_FIRST
from imports.kinds import BILLS, PAYMENTS, Kind
from imports.staging import run, stored
from ledger.rules import OF_PAYMENTS

TABLES = {"customer": Customer._meta.db_table, "account": Account._meta.db_table}
ALL = {"first": 0, "last": 1 << 62}
"""Every line of a file."""

DUE = "COALESCE(line.due_date, COALESCE(line.bill_date, bill.bill_date, %(today)s::date) + %(due_days)s::integer)"
"""When a line's bill is due: as it says, or so many days after its date; NULL when nothing is said."""

CHANGED = f"""
    (COALESCE(line.amount_due, bill.amount_due), COALESCE(line.amount_paid, bill.amount_paid),
        COALESCE({DUE}, bill.due_date), COALESCE(line.description, bill.description))
    IS DISTINCT FROM (bill.amount_due, bill.amount_paid, bill.due_date, bill.description)
"""
"""Whether a line changes its stored bill in anything but metadata."""

BILL = stored("bills_bill", "bill", "external_reference = line.external_reference")
"""The stored bill of a line."""

_SAID = "EXISTS (SELECT FROM staged_fault AS said WHERE said.line = line.line AND said.field = {field} OFFSET 0)"
"""Whether something is wrong with a field of a line already."""

_MARK = "INSERT INTO staged_fault (line, field, code, detail)"

_OWNER_FIXED, _CURRENCY_FIXED, _DATE_FIXED, _VOID, _PAID_MORE = (
    "'" + sentence.replace("'", "''") + "'"
    for sentence in (*(FIXED[name][1] for name in ("owner", "currency", "bill_date")), VOID, BELOW_PAYMENTS)
)

_TOO_LATE = "'The due date lies after the year 9999.'"

_WHAT_IS_PAID = f"""
    {_MARK}
    SELECT line.line, 'obligation', CASE told WHEN 0 THEN 'required' ELSE 'ambiguous_payment' END,
        CASE told WHEN 0 THEN 'Name a bill, an account or a customer.' ELSE 'Name one thing that is paid.' END
    FROM staged_line AS line CROSS JOIN LATERAL num_nonnulls(
        obligation, bill_external_reference, account_external_reference, customer_external_reference,
        CASE WHEN allocations <> '{OLDEST_FIRST}' AND obligation IS NULL THEN true END
    ) AS told
    WHERE line.readable AND line.partner IS NULL AND told <> 1 AND NOT {_SAID.format(field="'allocations'")}
    ON CONFLICT DO NOTHING
"""

_BESIDE_STORED_BILLS = f"""
    {_MARK}
    SELECT line.line, fault.field, fault.code, fault.detail
    FROM staged_line AS line CROSS JOIN {BILL}
    CROSS JOIN {stored("customers_customer", "customer", "id = bill.customer_id")}
    LEFT JOIN {stored("accounts_account", "account", "id = bill.account_id")} ON true
    CROSS JOIN LATERAL (VALUES
        ('customer_external_reference', 'bill_owner_fixed', {_OWNER_FIXED},
            line.customer_external_reference <> customer.external_reference),
        ('account_external_reference', 'bill_owner_fixed', {_OWNER_FIXED},
            line.account_external_reference IS NOT NULL
            AND line.account_external_reference IS DISTINCT FROM account.external_reference),
        ('currency', 'bill_currency_fixed', {_CURRENCY_FIXED},
            COALESCE(line.currency, %(currency)s::text) <> bill.currency),
        ('bill_date', 'bill_date_fixed', {_DATE_FIXED}, line.bill_date <> bill.bill_date),
        ('', 'bill_voided', {_VOID}, bill.voided_at IS NOT NULL AND {CHANGED}),
        ('amount_paid', 'amount_paid_below_payments', {_PAID_MORE},
            CASE WHEN line.amount_paid < bill.amount_paid THEN line.amount_paid < (
                SELECT COALESCE(sum(amount), 0) FROM ledger_entry
                WHERE biller_id = (SELECT %(biller)s::uuid) AND obligation_id = bill.id AND payment_id IS NOT NULL
            ) END),
        ('metadata', 'bill_metadata_at_most_10_keys', 'Metadata holds at most 10 keys.',
            (SELECT count(*) FROM jsonb_object_keys(bill.metadata || line.metadata)) > 10),
        ('due_date', 'out_of_range', {_TOO_LATE}, {DUE} > '9999-12-31')
    ) AS fault (field, code, detail, broken)
    WHERE line.line BETWEEN %(first)s AND %(last)s AND fault.broken
    ON CONFLICT DO NOTHING
"""

_INCOMPLETE = f"""
    {_MARK}
    SELECT line.line, fault.field, fault.code, fault.detail
    FROM staged_line AS line
    CROSS JOIN LATERAL (VALUES
        ('customer_external_reference', 'required', 'Name a customer or an account.',
            line.customer_external_reference IS NULL AND line.account_external_reference IS NULL),
        ('currency', 'required', 'This field is required.', line.currency IS NULL AND %(currency)s::text IS NULL),
        ('amount_due', 'required', 'This field is required.', line.amount_due IS NULL),
        ('metadata', 'bill_metadata_at_most_10_keys', 'Metadata holds at most 10 keys.',
            (SELECT count(*) FROM jsonb_object_keys(line.metadata)) > 10),
        ('due_date', 'out_of_range', {_TOO_LATE},
            COALESCE(line.due_date, COALESCE(line.bill_date, %(today)s::date) + %(due_days)s::integer) > '9999-12-31')
    ) AS fault (field, code, detail, broken)
    LEFT JOIN {BILL} ON true
    WHERE line.readable AND fault.broken AND bill.id IS NULL
        AND NOT {_SAID.format(field="fault.field")}
    ON CONFLICT DO NOTHING
"""

_ACCOUNT_OF_ANOTHER = f"""
    {_MARK}
    SELECT line.line, 'customer_external_reference', 'account_of_another_customer',
        'The account belongs to another customer.'
    FROM staged_line AS line
    CROSS JOIN {stored("accounts_account", "account", "external_reference = line.account_external_reference")}
    CROSS JOIN {stored("customers_customer", "customer", "id = account.customer_id")}
    WHERE customer.external_reference <> line.customer_external_reference
"""

_NO_OWNER = f"""
    WITH unsettled AS (
        SELECT account_external_reference, min(line) FILTER (WHERE customer_external_reference IS NOT NULL) AS line
        FROM accepted_line WHERE account_external_reference IS NOT NULL
        GROUP BY account_external_reference
        HAVING count(customer_external_reference) = 0
            OR min(customer_external_reference) <> max(customer_external_reference)
    )
    {_MARK}
    SELECT line.line, 'customer_external_reference',
        CASE WHEN owner.line IS NULL THEN 'required' ELSE 'account_of_another_customer' END,
        CASE WHEN owner.line IS NULL THEN 'The account is new: name its customer.'
            ELSE 'Line ' || owner.line || ' gives the account to another customer.' END
    FROM unsettled JOIN accepted_line AS line USING (account_external_reference)
    LEFT JOIN staged_line AS owner ON owner.line = unsettled.line
    LEFT JOIN {stored("accounts_account", "account", "external_reference = line.account_external_reference")} ON true
    WHERE account.id IS NULL
        AND (owner.line IS NULL OR line.customer_external_reference <> owner.customer_external_reference)
"""


def _duplicates(kind: Kind) -> str:
    # A reference of a payment is its taker's own.
    key, taker = kind.key, ", partner" if kind is PAYMENTS else ""
    return f"""
        WITH named AS (
            SELECT {key} {taker}, min(line) AS first FROM staged_line
            WHERE {key} IS NOT NULL GROUP BY {key} {taker} HAVING count(*) > 1
        )
        {_MARK}
        SELECT line.line, '{key}', 'duplicate_in_file', 'Line ' || named.first || ' has this reference already.'
        FROM staged_line AS line JOIN named USING ({key})
        WHERE line.line > named.first {"AND line.partner IS NOT DISTINCT FROM named.partner" if taker else ""}
    """


def _required(names: Iterable[str]) -> str:
    told = ", ".join(f"('{name}', line.{name} IS NULL)" for name in names)
    return f"""
        {_MARK}
        SELECT line.line, fault.field, 'required', 'This field is required.'
        FROM staged_line AS line CROSS JOIN LATERAL (VALUES {told}) AS fault (field, broken)
        WHERE line.readable AND fault.broken AND NOT {_SAID.format(field="fault.field")}
        ON CONFLICT DO NOTHING
    """


def _currency_fixed(parent: str) -> str:
    return f"""
        {_MARK}
        SELECT line.line, '{parent}_currency', '{parent}_currency_fixed_by_' || fixed.by, fixed.sentence
        FROM staged_line AS line
        CROSS JOIN {stored(TABLES[parent], "stored", f"external_reference = line.{parent}_external_reference")}
        CROSS JOIN LATERAL (
            SELECT 'balance' AS by, 'The currency can change only while the balance is 0 or not tracked.' AS sentence
            WHERE stored.balance <> 0
            UNION ALL SELECT 'payments', '{OF_PAYMENTS}' FROM ledger_entry AS entry
            WHERE entry.biller_id = stored.biller_id AND entry.obligation_id = stored.id AND payment_id IS NOT NULL
            HAVING sum(amount) <> 0
            LIMIT 1
        ) AS fixed
        WHERE line.{parent}_currency <> stored.currency
    """


def _balance_without_currency(parent: str) -> str:
    return f"""
        {_MARK}
        SELECT line.line, '{parent}_balance', '{parent}_balance_needs_currency', 'A balance needs a currency.'
        FROM accepted_line AS line
        LEFT JOIN {stored(TABLES[parent], "stored", f"external_reference = line.{parent}_external_reference")} ON true
        WHERE line.{parent}_balance IS NOT NULL AND stored.currency IS NULL AND NOT EXISTS (
            SELECT FROM accepted_line AS other WHERE other.{parent}_currency IS NOT NULL
                AND other.{parent}_external_reference = line.{parent}_external_reference
        )
    """


def _too_much_metadata(parent: str) -> str:
    return f"""
        WITH told AS (
            SELECT {parent}_external_reference AS reference, {parent}_metadata AS metadata FROM accepted_line
            WHERE {parent}_metadata IS NOT NULL
        ), keys AS (
            SELECT reference, jsonb_object_keys(metadata) AS key FROM told
            UNION
            SELECT reference, jsonb_object_keys(stored.metadata) FROM told
            CROSS JOIN {stored(TABLES[parent], "stored", "external_reference = told.reference")}
        )
        {_MARK}
        SELECT line.line, '{parent}_metadata', '{parent}_metadata_at_most_10_keys', 'Metadata holds at most 10 keys.'
        FROM accepted_line AS line
        WHERE line.{parent}_metadata IS NOT NULL AND line.{parent}_external_reference IN (
            SELECT reference FROM keys GROUP BY reference HAVING count(*) > 10
        )
    """


_OF_KIND = {
    BILLS: (_BESIDE_STORED_BILLS, _INCOMPLETE),
    PAYMENTS: (_required(("amount", "currency", "method")), _WHAT_IS_PAID),
}
"""What lines of a kind are looked at for, beside what holds for their parents."""


def check(kind: Kind, columns: set[str], parameters: dict[str, Any]) -> None:
    """Mark every line that cannot be accepted."""
    parameters = parameters | ALL
    for statement in (_duplicates(kind), *_OF_KIND.get(kind, ()), *_beside_stored_parents(kind, columns)):
        _mark(statement, parameters)
    # What a parent becomes depends on the lines that are still accepted, so each mark may call for another.
    while sum(_mark(statement, parameters) for statement in _of_settled_parents(kind, columns)):
        pass


def recheck(chunk: dict[str, Any]) -> None:
    """Mark the lines of a chunk that their stored bills refuse by now."""
    run(_BESIDE_STORED_BILLS, chunk)


def _mark(statement: str, parameters: dict[str, Any]) -> int:
    marked = run(statement, parameters)
    if marked:
        run("ANALYZE staged_fault")
    return marked


def _beside_stored_parents(kind: Kind, columns: set[str]) -> Iterator[str]:
    if "account" in kind.parents and {"customer_external_reference", "account_external_reference"} <= columns:
        yield _ACCOUNT_OF_ANOTHER
    for parent in kind.parents:
        if f"{parent}_currency" in columns:
            yield _currency_fixed(parent)


def _of_settled_parents(kind: Kind, columns: set[str]) -> Iterator[str]:
    for parent in kind.parents:
        if f"{parent}_balance" in columns:
            yield _balance_without_currency(parent)
        if f"{parent}_metadata" in columns:
            yield _too_much_metadata(parent)
    if "account" in kind.parents and "account_external_reference" in columns:
        yield _NO_OWNER
