"""What a partner took in a day: each payment, each reversal as a negative line of its own day, and what they come to.

The day is each biller's own. Payments and reversals are written once, beside their ledger entries, and COMMIT holds
the two together; so the lines of a day add up to its entries, and what was there at a moment is what was written by it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from billers.models import Biller, Partner
from core.days import INSTANT, begins, ends
from core.ids import encode, uuid_of
from core.refusals import Missing
from core.statements import Row
from payments.reports import counted

_CHUNK = 5_000
NOTHING = UUID(int=0)

# The lines of each biller are read in the order of its two indexes, no more of them than are asked for.
_LINES = """
    SELECT day.place, line.id, line.payment_id, line.kind, line.external_reference, line.amount, line.currency,
        line.method, line.created_at
    FROM unnest(%(billers)s::uuid[], %(after)s::timestamptz[], %(after_ids)s::uuid[], %(until)s::timestamptz[])
        WITH ORDINALITY AS day (biller_id, after, after_id, until, place)
    CROSS JOIN LATERAL (
        (
            SELECT id, id AS payment_id, 'payment' AS kind, external_reference, amount, currency, method, created_at
            FROM payments_payment
            WHERE biller_id = day.biller_id AND partner_id = %(partner)s AND created_at < day.until
                AND (created_at, id) > (day.after, day.after_id)
            ORDER BY created_at, id LIMIT %(count)s
        )
        UNION ALL
        SELECT reversal.id, payment.id, 'reversal', payment.external_reference, -payment.amount, payment.currency,
            payment.method, reversal.created_at
        FROM (
            SELECT id, payment_id, created_at FROM payments_reversal
            WHERE biller_id = day.biller_id AND partner_id = %(partner)s AND created_at < day.until
                AND (created_at, id) > (day.after, day.after_id)
            ORDER BY created_at, id LIMIT %(count)s
        ) AS reversal
        CROSS JOIN LATERAL (
            SELECT * FROM payments_payment WHERE biller_id = day.biller_id AND id = reversal.payment_id OFFSET 0
        ) AS payment
    ) AS line
    ORDER BY day.place, line.created_at, line.id LIMIT %(count)s
"""
_TOTALS = """
    SELECT day.place, total.currency, sum(payments)::bigint, sum(paid)::bigint, sum(reversals)::bigint,
        sum(reversed)::bigint
    FROM unnest(%(billers)s::uuid[], %(since)s::timestamptz[], %(until)s::timestamptz[])
        WITH ORDINALITY AS day (biller_id, since, until, place)
    CROSS JOIN LATERAL (
        SELECT currency, count(*) AS payments, sum(amount) AS paid, 0 AS reversals, 0 AS reversed
        FROM payments_payment
        WHERE biller_id = day.biller_id AND partner_id = %(partner)s
            AND created_at >= day.since AND created_at < day.until
        GROUP BY currency
        UNION ALL
        SELECT payment.currency, 0, 0, count(*), sum(payment.amount)
        FROM payments_reversal AS reversal
        CROSS JOIN LATERAL (
            SELECT currency, amount FROM payments_payment
            WHERE biller_id = day.biller_id AND id = reversal.payment_id OFFSET 0
        ) AS payment
        WHERE reversal.biller_id = day.biller_id AND reversal.partner_id = %(partner)s
            AND reversal.created_at >= day.since AND reversal.created_at < day.until
        GROUP BY payment.currency
    ) AS total
    GROUP BY day.place, total.currency ORDER BY day.place, total.currency
"""


@dataclass(frozen=True)
class Position:
    """The line that a page starts after: its biller's reference, its moment and its own id."""

    biller: str
    moment: datetime
    key: UUID


@dataclass(frozen=True)
class Window:
    """A day, or several, of one biller: from a moment on, up to another."""

    biller: Biller
    since: datetime
    until: datetime


class Settlement:
    """A day of one partner, or several days, as far as they were there at a moment."""

    def __init__(self, partner: Partner, windows: Sequence[Window]) -> None:
        self.partner = partner
        self.windows = windows

    @classmethod
    def of(
        cls,
        partner: Partner,
        first: date,
        last: date,
        *,
        biller: str | None = None,
        as_of: datetime | None = None,
    ) -> "Settlement":
        """Return the settlement of days, of all billers or of one.

        Raises:
            Missing: the partner never collected for such a biller (`biller_not_found`).
        """
        billers = Biller.objects.ever_collected_by(partner)
        if biller is not None:
            billers = billers.filter(reference=biller)
            if not billers:
                raise Missing.because("biller_not_found", f"There is no biller “{biller}”.")
        # In the order of Python's text, by which a position is told too.
        named = sorted(billers, key=lambda one: one.reference)
        windows = [Window(one, begins(first, one.timezone), ends(last, one.timezone)) for one in named]
        if as_of is not None:
            windows = [Window(one.biller, one.since, min(one.until, _after(as_of))) for one in windows]
        return cls(partner, windows)

    def lines(self, count: int, after: Position | None = None) -> list[Row]:
        """Return so many lines, by biller and time, from the first or from a position on; in one statement."""
        ahead = [one for one in self.windows if after is None or one.biller.reference >= after.biller]
        from_line = [
            (after.moment, after.key) if after and one.biller.reference == after.biller else (one.since, NOTHING)
            for one in ahead
        ]
        found = self._asked(
            _LINES,
            billers=[uuid_of(one.biller.pk) for one in ahead],
            after=[max(moment, one.since) for (moment, _), one in zip(from_line, ahead, strict=True)],
            after_ids=[key for _, key in from_line],
            until=[one.until for one in ahead],
            count=count,
        )
        return [
            {
                "place": Position(ahead[place - 1].biller.reference, created_at, key),
                "payment_id": encode("pay", payment_id),
                "external_reference": external_reference,
                "biller": ahead[place - 1].biller.reference,
                "kind": kind,
                "amount": amount,
                "currency": currency,
                "method": method,
                "created_at": created_at,
            }
            for place, key, payment_id, kind, external_reference, amount, currency, method, created_at in found
        ]

    def all_lines(self) -> Iterator[Row]:
        """Yield every line, a few thousand to a statement."""
        after = None
        while found := self.lines(_CHUNK, after):
            yield from found
            if len(found) < _CHUNK:
                return
            after = found[-1]["place"]

    def totals(self) -> list[Row]:
        """Return what the whole comes to, by biller and currency; in one statement."""
        found = self._asked(
            _TOTALS,
            billers=[uuid_of(one.biller.pk) for one in self.windows],
            since=[one.since for one in self.windows],
            until=[one.until for one in self.windows],
        )
        return [
            {"biller": self.windows[place - 1].biller.reference, "currency": currency, **counted(*sums)}
            for place, currency, *sums in found
        ]

    def _asked(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"partner": uuid_of(self.partner.pk), **parameters})
            return list(cursor.fetchall())


def summed(lines: Iterator[Row], totals: dict[tuple[str, str], list[int]]) -> Iterator[Row]:
    """Yield lines as they pass, and count them: payments and their amount, reversals and theirs."""
    for line in lines:
        sums = totals.setdefault((line["biller"], line["currency"]), [0, 0, 0, 0])
        place = 0 if line["kind"] == "payment" else 2
        sums[place] += 1
        sums[place + 1] += abs(line["amount"])
        yield line


def _after(moment: datetime) -> datetime:
    try:
        return moment + INSTANT
    except OverflowError:
        return moment
