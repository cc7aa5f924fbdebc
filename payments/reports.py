"""What a biller's money comes to: what is owed by how late it is, and what was collected by day, partner and method."""
# ruff: noqa: S608 the statements are made of our own names alone; every value is a parameter

from collections.abc import Collection
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from django.db import connection, transaction

from billers.models import Biller
from core.days import INSTANT, LATEST, begins, ends
from core.ids import uuid_of
from core.statements import Row

NO_DUE_DATE, CURRENT = "no_due_date", "current"
OVERDUE = {"1_30": 30, "31_60": 60, "61_90": 90}
"""The most days by which a bill of each bucket is overdue."""
OVER_90 = "over_90"
BUCKETS = (NO_DUE_DATE, CURRENT, *OVERDUE, OVER_90)

# One pass over an index made for it, in its order: no bill is read, nothing is sorted or hashed. The few hundred due
# dates that come back are put into buckets here, for less than PostgreSQL would need for each bill.
_AGEING = """
    SELECT currency, due_date, count(*), sum(amount_due - amount_paid)::bigint
    FROM bills_bill WHERE biller_id = %(biller)s AND status = 'UNPAID' GROUP BY currency, due_date
"""


def ageing(biller: Biller, today: date) -> list[Row]:
    """Return what is unpaid in each currency, by how long it has been overdue on a day."""
    by_currency: dict[str, dict[str, list[int]]] = {}
    for currency, due_date, bills, amount in _counted(_AGEING, biller=uuid_of(biller.pk)):
        buckets = by_currency.setdefault(currency, {bucket: [0, 0] for bucket in BUCKETS})
        sums = buckets[_bucket(due_date, today)]
        sums[0] += bills
        sums[1] += amount
    return [
        {
            "currency": currency,
            "buckets": [{"bucket": name, "bills": bills, "amount": amount} for name, (bills, amount) in told.items()],
            "bills": sum(bills for bills, _ in told.values()),
            "amount": sum(amount for _, amount in told.values()),
        }
        for currency, told in sorted(by_currency.items())
    ]


def _bucket(due_date: date | None, today: date) -> str:
    if due_date is None:
        return NO_DUE_DATE
    days = (today - due_date).days
    if days <= 0:
        return CURRENT
    return next((bucket for bucket, most in OVERDUE.items() if days <= most), OVER_90)


GROUPS = ("day", "partner", "method")
"""What collections are told apart by, beside their currency."""

_FIRST = "SELECT min(created_at) FROM payments_payment WHERE biller_id = %(biller)s"
_COLUMNS = {
    "day": "width_bucket(taken.created_at, %(days)s::timestamptz[]) AS day",
    "partner": "taken.partner_id AS partner",
    "method": "payment.method AS method",
}
_TOLD = {"partner": "(SELECT reference FROM billers_partner WHERE id = counted.partner)"}


@cache
def _collections(groups: tuple[str, ...]) -> str:
    """Return the statement that counts what was collected, told apart by these."""
    columns = "".join(f"{_COLUMNS[group]}, " for group in groups)
    named = "".join(f"{group}, " for group in groups)
    told = "".join(f"{_TOLD.get(group, group)}, " for group in groups)
    order = ", ".join(f"{place} NULLS FIRST" for place in range(1, len(groups) + 2))
    of_biller = "taken.biller_id = %(biller)s AND taken.created_at >= %(since)s AND taken.created_at < %(until)s"
    return f"""
        SELECT {told}currency, sum(payments)::bigint, sum(paid)::bigint, sum(reversals)::bigint, sum(undone)::bigint
        FROM (
            SELECT {columns.replace("payment.", "taken.")}currency, count(*) AS payments, sum(amount) AS paid,
                0 AS reversals, 0 AS undone
            FROM payments_payment AS taken WHERE {of_biller} GROUP BY {named}currency
            UNION ALL
            SELECT {columns}currency, 0, 0, count(*), sum(amount)
            FROM payments_reversal AS taken CROSS JOIN LATERAL (
                SELECT method, currency, amount FROM payments_payment
                WHERE biller_id = %(biller)s AND id = taken.payment_id OFFSET 0
            ) AS payment
            WHERE {of_biller} GROUP BY {named}currency
        ) AS counted GROUP BY {named}currency ORDER BY {order}
    """


def collections(
    biller: Biller,
    first: date,
    last: date,
    groups: Collection[str] = GROUPS,
    as_of: datetime | None = None,
) -> list[Row]:
    """Return what was collected in a period, by day, partner and method as wanted, and always by currency.

    A reversal counts on its own day. With `as_of`, as it was known at that moment.
    """
    zone = biller.timezone
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, {"biller": uuid_of(biller.pk)})
        [(earliest,)] = cursor.fetchall()
    if earliest is None:
        return []
    # No day before the first payment has anything to tell, and none after tomorrow.
    first, last = max(first, biller.today(earliest)), min(last, biller.today() + timedelta(days=1))
    if last < first:
        return []
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    until = ends(last, zone)
    if as_of is not None:
        until = min(until, as_of + INSTANT) if as_of < LATEST else until
    starts = [begins(day, zone) for day in days]
    wanted = tuple(group for group in GROUPS if group in groups)
    found = _counted(_collections(wanted), biller=uuid_of(biller.pk), since=starts[0], until=until, days=starts)
    return [_collected(dict(zip(wanted, row, strict=False)), days, *row[len(wanted) :]) for row in found]


def _collected(
    told: Row, days: list[date], currency: str, payments: int, paid: int, reversals: int, undone: int
) -> Row:
    if "day" in told:
        told["day"] = days[told["day"] - 1]
    return {**dict.fromkeys(GROUPS), **told, "currency": currency, **counted(payments, paid, reversals, undone)}


def counted(payments: int, paid: int, reversals: int, undone: int) -> Row:
    """Return what payments and reversals come to; what was undone is negative."""
    return {
        "payments": {"count": payments, "amount": paid},
        "reversals": {"count": reversals, "amount": -undone},
        "net": paid - undone,
    }


# The planner takes every biller for an average one, not worth a second process: here it is.
_WITH_ALL_HANDS = "SELECT set_config('parallel_setup_cost', '0', true), set_config('parallel_tuple_cost', '0', true)"


def _counted(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement that reads many rows and returns few."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_WITH_ALL_HANDS)
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
