"""What a payer can pay now: found by whatever the payer has at hand, told with nothing else that is personal.

One statement finds the biller, one what is owed; both do the same work whether the payer is known or not.
"""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from functools import cache
from typing import Any

from django.db import connection

from billers import payment_rules
from billers.models import Biller, BillingModel, Partner
from core.documents import DocumentField
from core.ids import encode, new_id, uuid_of
from core.refusals import Missing, RuleBroken
from core.statements import Prepared, Row
from ledger.models import PREFIXES
from payments.collecting import masked
from payments.payer_references import is_payer_reference

BY = ("reference", "payer_reference", "phone")
"""What a payer may have at hand."""

MOST = 100
"""How many obligations are told of one payer, the most urgent first."""

_NAMED = {
    "reference": """
        SELECT 'customer' AS kind, id FROM customers_customer
        WHERE biller_id = %(biller)s AND external_reference = %(value)s
        UNION ALL SELECT 'account', id FROM accounts_account
        WHERE biller_id = %(biller)s AND external_reference = %(value)s
        UNION ALL SELECT 'bill', id FROM bills_bill WHERE biller_id = %(biller)s AND external_reference = %(value)s
    """,
    "payer_reference": """
        SELECT CASE WHEN customer_id IS NOT NULL THEN 'customer' WHEN account_id IS NOT NULL THEN 'account'
            ELSE 'bill' END AS kind, COALESCE(customer_id, account_id, bill_id) AS id
        FROM payments_payerreference WHERE biller_id = %(biller)s AND digits = %(value)s
    """,
    "phone": "SELECT 'customer' AS kind, id FROM customers_customer WHERE biller_id = %(biller)s AND phone = %(value)s",
}


def _of(kind: str, table: str, on: str) -> str:
    return f"""
        SELECT found.id FROM named CROSS JOIN LATERAL (
            SELECT id FROM {table} WHERE biller_id = %(biller)s AND {on} OFFSET 0
        ) AS found WHERE named.kind = '{kind}'
    """


def _through(kind: str, table: str, column: str) -> str:
    """Return the parents of what is named, each found by its key."""
    return f"""
        SELECT found.id FROM named CROSS JOIN LATERAL (
            SELECT {column} AS id FROM {table} WHERE biller_id = %(biller)s AND id = named.id OFFSET 0
        ) AS found WHERE named.kind = '{kind}'
    """


_ITSELF = "SELECT id FROM named WHERE kind = '{}'"
_ASKED = {
    BillingModel.BILL: (
        _of("customer", "bills_bill", "customer_id = named.id AND status = 'UNPAID'"),
        _of("account", "bills_bill", "account_id = named.id AND status = 'UNPAID'"),
        _ITSELF.format("bill"),
    ),
    BillingModel.ACCOUNT: (
        _of("customer", "accounts_account", "customer_id = named.id"),
        _ITSELF.format("account"),
        _through("bill", "bills_bill", "account_id"),
    ),
    BillingModel.CUSTOMER: (
        _ITSELF.format("customer"),
        _through("account", "accounts_account", "customer_id"),
        _through("bill", "bills_bill", "customer_id"),
    ),
}
_OWED = {
    BillingModel.BILL: """
        SELECT bill.id, customer.name, bill.amount_due - bill.amount_paid AS owed, bill.currency, bill.due_date,
            bill.description, ARRAY[bill.payment_rules, account.payment_rules, customer.payment_rules] AS rules,
            ARRAY[bill.currency, account.currency, customer.currency] AS currencies
        FROM bills_bill AS bill
        JOIN customers_customer AS customer
            ON customer.biller_id = bill.biller_id AND customer.id = bill.customer_id
        LEFT JOIN accounts_account AS account
            ON account.biller_id = bill.biller_id AND account.id = bill.account_id
        WHERE bill.biller_id = %(biller)s AND bill.id = asked.id AND bill.status = 'UNPAID'
    """,
    BillingModel.ACCOUNT: """
        SELECT account.id, customer.name, account.balance AS owed, account.currency, NULL::date AS due_date,
            account.name AS description, ARRAY[account.payment_rules, customer.payment_rules] AS rules,
            ARRAY[account.currency, customer.currency] AS currencies
        FROM accounts_account AS account
        JOIN customers_customer AS customer
            ON customer.biller_id = account.biller_id AND customer.id = account.customer_id
        WHERE account.biller_id = %(biller)s AND account.id = asked.id AND account.balance > 0
    """,
    BillingModel.CUSTOMER: """
        SELECT id, name, balance AS owed, currency, NULL::date AS due_date, NULL AS description,
            ARRAY[payment_rules] AS rules, ARRAY[currency] AS currencies
        FROM customers_customer AS customer
        WHERE biller_id = %(biller)s AND id = asked.id AND balance > 0
    """,
}


def _statement(by: str, billing_model: str) -> str:
    asked = " UNION ".join(_ASKED[BillingModel(billing_model)])
    return f"""
        WITH named AS MATERIALIZED ({_NAMED[by]}), asked AS ({asked}), owed AS (
            SELECT owed.* FROM asked CROSS JOIN LATERAL ({_OWED[BillingModel(billing_model)]} OFFSET 0) AS owed
            ORDER BY due_date, owed.id LIMIT {MOST}
        )
        SELECT EXISTS (SELECT FROM named), owed.* FROM (VALUES (1)) AS always LEFT JOIN owed ON true
        ORDER BY due_date, owed.id
    """


_STATEMENTS = {(by, model): _statement(by, model) for by in BY for model in BillingModel.values}


def owed(partner: Partner, biller_reference: str, by: str, value: str) -> list[Row]:
    """Return what can be paid now, soonest due first.

    Raises:
        Missing: the partner does not collect for such a biller (`biller_not_found`), or nobody is known by this value
            (`payer_not_found`).
        RuleBroken: a payer reference was mistyped (`reference_check_digit`).
    """
    if by == "payer_reference" and not is_payer_reference(value):
        detail = "This payer reference is mistyped: its last digit does not fit the others."
        raise RuleBroken.because("reference_check_digit", detail)
    biller = next(iter(_collected_biller().objects(partner.pk, biller_reference)), None)
    if biller is None:
        raise Missing.because("biller_not_found", f"There is no biller “{biller_reference}”.")
    kind = biller.billing_model
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENTS[by, kind], {"biller": uuid_of(biller.pk), "value": value})
        rows = cursor.fetchall()
    if not rows[0][0]:
        raise Missing.because("payer_not_found", "Nobody is known by this.")
    return [_told(biller, kind, *row) for _, *row in rows if row[0] is not None]


@cache
def _collected_biller() -> Prepared:
    return Prepared(
        lambda partner, reference: Biller.objects.collected_by(partner).filter(reference=reference),
        new_id("prt"),
        new_id("blr"),
    )


_rules = DocumentField().reader


def _told(
    biller: Biller,
    kind: str,
    key: Any,
    name: str | None,
    amount: int,
    currency: str,
    due_date: Any,
    description: str | None,
    rules: list[Any],
    currencies: list[str | None],
) -> Row:
    layers = zip(map(_rules, rules), currencies, strict=True)
    return {
        "obligation": encode(PREFIXES[kind], key),
        "kind": kind,
        "payer_name": masked(name),
        "amount_owed": amount,
        "currency": currency,
        "due_date": due_date,
        "description": description,
        "payment_rules": payment_rules.in_force(biller, currency, *layers),
    }
