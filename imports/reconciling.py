"""A partner's own file of a settlement beside ours: both are staged, joined once, and told line by line.

Nothing is written that outlives the transaction, and neither side is ever held in memory.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection, transaction

from billers.models import Partner
from core.ids import encode, uuid_of
from core.money import MAX_AMOUNT
from imports import cells
from imports.cells import NULL, Fault, escaped
from imports.columns import BadOption
from imports.reading import Record, Sheet
from imports.staging import batches, rows, run
from payments.settlements import Settlement

MATCHED = "matched"
DIFFERENCES = (
    "missing_here",
    "missing_there",
    "amount_differs",
    "currency_differs",
    "duplicate",
    "unreadable",
)
"""What a line can be but matched: not ours, not theirs, another amount or currency, told twice, no line at all."""

Progress = Callable[[str, int, int], None]

# How a header is written does not matter, only which of these it spells.
_SPELLED: dict[str, tuple[str, ...]] = {
    "external_reference": ("externalreference", "reference", "ref", "paymentreference", "transactionreference"),
    "amount": ("amount", "amountminor", "value"),
    "currency": ("currency", "currencycode", "ccy"),
    "kind": ("kind", "type", "transactiontype"),
    "date": ("date", "day", "createdat", "transactiondate", "settlementdate"),
}
_REVERSALS = {"reversal", "reversed", "reverse", "refund", "chargeback", "void"}
_PAYMENTS = {"", "payment", "paid", "sale"}
_OWN_TOTALS = "total_"
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LONGEST_REFERENCE = 255

_STAGE = """
CREATE TEMPORARY TABLE theirs (
    line bigint, reference text, kind text, amount bigint, currency text, day date, fault text
);
CREATE TEMPORARY TABLE ours (
    biller bigint, payment_id uuid, reference text, kind text, amount bigint, currency text
)
"""
_OURS = """
    INSERT INTO ours
    SELECT day.place, line.*
    FROM unnest(%(billers)s::uuid[], %(since)s::timestamptz[], %(until)s::timestamptz[])
        WITH ORDINALITY AS day (biller_id, since, until, place)
    CROSS JOIN LATERAL (
        SELECT id, external_reference, 'payment', amount, currency FROM payments_payment
        WHERE biller_id = day.biller_id AND partner_id = %(partner)s
            AND created_at >= day.since AND created_at < day.until
        UNION ALL
        SELECT payment.id, payment.external_reference, 'reversal', -payment.amount, payment.currency
        FROM payments_reversal AS reversal
        CROSS JOIN LATERAL (
            SELECT * FROM payments_payment WHERE biller_id = day.biller_id AND id = reversal.payment_id OFFSET 0
        ) AS payment
        WHERE reversal.biller_id = day.biller_id AND reversal.partner_id = %(partner)s
            AND reversal.created_at >= day.since AND reversal.created_at < day.until
    ) AS line
"""
# A line without a key meets none of ours: what cannot be read, and what an earlier line has told.
_COMPARED = """
    CREATE TEMPORARY TABLE compared AS
    SELECT theirs.line, theirs.first_line, COALESCE(theirs.reference, ours.reference) AS reference,
        COALESCE(theirs.kind, ours.kind) AS kind, theirs.amount AS their_amount, theirs.currency AS their_currency,
        ours.amount AS our_amount, ours.currency AS our_currency, ours.biller, ours.payment_id, theirs.fault,
        CASE
            WHEN theirs.fault IS NOT NULL THEN 'unreadable'
            WHEN theirs.line > theirs.first_line THEN 'duplicate'
            WHEN theirs.line IS NULL THEN 'missing_there'
            WHEN ours.reference IS NULL THEN 'missing_here'
            WHEN theirs.currency <> ours.currency THEN 'currency_differs'
            WHEN theirs.amount <> ours.amount THEN 'amount_differs'
            ELSE 'matched'
        END AS finding
    FROM (
        SELECT *, CASE WHEN fault IS NULL AND line = first_line THEN reference END AS key FROM (
            SELECT *, min(line) FILTER (WHERE fault IS NULL) OVER (PARTITION BY reference, kind) AS first_line
            FROM theirs
        ) AS told
    ) AS theirs
    FULL JOIN ours ON ours.reference = theirs.key AND ours.kind = theirs.kind
"""
_COUNTED = """
    SELECT finding, COALESCE(our_currency, their_currency), count(*),
        sum(our_amount)::bigint, sum(their_amount)::bigint
    FROM compared GROUP BY 1, 2 ORDER BY 1, 2
"""
_DIFFERENCES = """
    COPY (
        SELECT finding, line, reference, kind, our_amount, our_currency, their_amount, their_currency, biller,
            payment_id, CASE WHEN finding = 'duplicate' THEN 'Line ' || first_line || ' tells of it already.'
                ELSE fault END
        FROM compared WHERE finding <> 'matched' ORDER BY line NULLS LAST, biller, reference, kind LIMIT {}
    ) TO STDOUT
"""
_KINDS_OF_COLUMN = ["text", "int8", "text", "text", "int8", "text", "int8", "text", "int8", "uuid", "text"]
COLUMNS = (
    *("finding", "line", "external_reference", "kind", "our_amount", "our_currency", "their_amount", "their_currency"),
    *("biller", "payment_id", "detail"),
)


@dataclass(frozen=True)
class Columns:
    """Where in the header of a partner's file each of our fields stands."""

    places: dict[str, int]
    currency: str | None
    in_major: bool

    @classmethod
    def of(cls, header: Sequence[str], currency: str | None, *, in_major: bool) -> "Columns":
        """Find the fields in a header, however they are spelled.

        Raises:
            BadOption: one that is needed is not there, or stands there twice.
        """
        spelled = [re.sub(r"[\W_]", "", name).lower() for name in header]
        places: dict[str, int] = {}
        for field, spellings in _SPELLED.items():
            found = [(spellings.index(name), place) for place, name in enumerate(spelled) if name in spellings]
            best = sorted(found)[:2]
            if len(best) > 1 and best[0][0] == best[1][0]:
                raise BadOption(f"Two columns of the file tell the {field}.")
            if best:
                places[field] = best[0][1]
        for field in ("external_reference", "amount"):
            if field not in places:
                raise BadOption(f"No column of the file is called {field}.")
        if ("currency" in places) == (currency is not None):
            told = "has a column currency" if currency else "has no column currency: name it with --currency"
            raise BadOption(f"The file {told}{', so --currency is not for it' if currency else ''}.")
        return cls(places, currency, in_major)

    def lines(self, records: Sequence[Record]) -> str:
        """Return records as COPY text for the stage; the totals of our own files are no lines."""
        told = (self._line(record) for record in records)
        return "".join("\t".join(line) + "\n" for line in told if line)

    def _line(self, record: Record) -> list[str] | None:
        if record.fault is not None:
            return [str(record.line), NULL, NULL, NULL, NULL, NULL, escaped(record.fault.detail)]
        cell = {field: record.cells[place].strip() for field, place in self.places.items()}
        kind = cells.plain(cell.get("kind", "")).replace("\0", "").lower()
        if kind.startswith(_OWN_TOTALS):
            return None
        currency = self.currency or cell["currency"].upper()
        amount = self._amount(cell["amount"], currency)
        reference = cell["external_reference"]
        # Our tables put a quote before what a spreadsheet would run.
        reference = reference[1:] if re.match(r"'[=+\-@]", reference) else reference
        read = (_reference(reference), cells.currency(currency), amount)
        faults = [one.detail for one in read if isinstance(one, Fault)]
        if kind not in _PAYMENTS | _REVERSALS:
            faults.append(f"The kind “{kind[:40]}” is neither payment nor reversal.")
        if faults:
            return [str(record.line), NULL, NULL, NULL, NULL, NULL, escaped(" ".join(faults))]
        number = int(str(amount))
        is_reversal = kind in _REVERSALS or (not kind and number < 0)
        number = -abs(number) if is_reversal else number
        day = _ISO_DATE.match(cell.get("date", ""))
        what = "reversal" if is_reversal else "payment"
        return [str(record.line), escaped(reference), what, str(number), currency, _day(day and day[0]), NULL]

    def _amount(self, cell: str, currency: str) -> str | Fault:
        if not cell:
            return Fault("required", "There is no amount.")
        if self.in_major:
            return cells.major(-MAX_AMOUNT)((cell, currency))
        return cells.minor(-MAX_AMOUNT)(cell)


def _reference(text: str) -> str | Fault:
    if not text:
        return Fault("required", "There is no reference.")
    return cells.text(_LONGEST_REFERENCE)(text)


def _day(text: str | None) -> str:
    try:
        return date.fromisoformat(text or "").isoformat()
    except ValueError:
        return NULL


@dataclass
class Comparison:
    """What came of laying the two beside each other, as long as its transaction lasts."""

    period: tuple[date, date] | None
    counts: dict[str, int]
    totals: dict[str, dict[str, dict[str, int]]]
    """By finding and currency: how many, and what ours and theirs come to in minor units."""
    billers: list[str]

    @property
    def differing(self) -> int:
        """How many lines are not matched."""
        return sum(self.counts[finding] for finding in DIFFERENCES)

    def differences(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the lines that are not matched, all or so many, in the order of the file, those missing in it last."""
        statement = _DIFFERENCES.format("ALL" if most is None else most)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(_KINDS_OF_COLUMN)
            for row in copy.rows():
                told = dict(zip(COLUMNS, row, strict=True))
                if told["biller"] is not None:
                    told["biller"] = self.billers[told["biller"] - 1]
                    told["payment_id"] = encode("pay", told["payment_id"])
                yield told


def reconcile(
    partner: Partner,
    sheet: Sheet,
    columns: Columns,
    period: tuple[date, date] | None,
    report: Callable[[Comparison], None],
    *,
    biller: str | None = None,
    progress: Progress = lambda *_: None,
) -> None:
    """Compare a partner's file with what it took in a period, and have it reported while the comparison lasts.

    Without a period it is that of the dates in the file, or all time where the file tells none.

    Raises:
        Unreadable: the file breaks off.
        Missing: the partner never collected for such a biller.
    """
    with transaction.atomic():
        run("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
        for statement in _STAGE.split(";\n"):
            run(statement)
        _stage(sheet, columns, progress)
        period = period or _period_of_file()
        settlement = Settlement.of(partner, *(period or (date.min, date.max)), biller=biller)
        progress("Comparing", 0, 3)
        run(
            _OURS,
            {
                "partner": uuid_of(partner.pk),
                "billers": [uuid_of(window.biller.pk) for window in settlement.windows],
                "since": [window.since for window in settlement.windows],
                "until": [window.until for window in settlement.windows],
            },
        )
        progress("Comparing", 1, 3)
        for table in ("theirs", "ours"):
            run(f"ANALYZE {table}")
        run(_COMPARED)
        progress("Comparing", 2, 3)
        comparison = Comparison(
            period, dict.fromkeys((MATCHED, *DIFFERENCES), 0), {}, [w.biller.reference for w in settlement.windows]
        )
        for finding, currency, count, ours, theirs in rows(_COUNTED):
            comparison.counts[finding] += count
            if currency is not None:
                told = {"count": count, "ours": ours or 0, "theirs": theirs or 0}
                comparison.totals.setdefault(finding, {})[currency] = told
        progress("Comparing", 3, 3)
        report(comparison)
        run("DROP TABLE compared, ours, theirs")


def _stage(sheet: Sheet, columns: Columns, progress: Progress) -> None:
    size = sheet.size
    records = sheet.records(lambda done: progress("Reading", done, size))
    with connection.cursor() as cursor, cursor.copy("COPY theirs FROM STDIN") as copy:
        for batch in batches(records):
            copy.write(columns.lines(batch))
    progress("Reading", size, size)


def _period_of_file() -> tuple[date, date] | None:
    [(first, last)] = rows("SELECT min(day), max(day) FROM theirs")
    return None if first is None else (first, last)
