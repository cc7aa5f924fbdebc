"""Compare a partner's own settlement file with what it took here, line by line."""

import csv
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.tables import cell
from billers.models import Mode, Partner
from core.money import display, is_currency
from core.refusals import Refusal
from imports.columns import BadOption
from imports.options import delimiter_of
from imports.reading import Sheet, Unreadable
from imports.reconciling import COLUMNS, DIFFERENCES, MATCHED, Columns, Comparison, reconcile
from imports.showing import Shown

_DIFFERENCES, _NOT_DONE = 1, 2
_MOST_SHOWN = 100
_MOST_TOLD = 1_000
_SAID = {
    "missing_here": "missing here",
    "missing_there": "missing there",
    "amount_differs": "of another amount",
    "currency_differs": "in another currency",
    "duplicate": "told twice",
    "unreadable": "unreadable",
}

EPILOG = """
The columns are external_reference, amount, currency, and if you like kind (payment or reversal; without it a negative
amount is a reversal) and date. How a header is written does not matter, nor do other columns. A settlement as CSV is
such a file. A day is the biller's own; without --date or --from and --to it is the days that the file tells, or all.

Exit code 0: all lines match; 1: there are differences; 2: the comparison could not be made.
"""


class Command(BaseCommand):
    """Compare a partner's own settlement file with what it took here, line by line."""

    help = __doc__.strip()
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Show the columns and the exit codes under the options."""
        return super().create_parser(prog_name, subcommand, epilog=EPILOG, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file, the partner, the days, and how the file is to be understood."""
        add = parser.add_argument
        add("file", metavar="FILE", help="CSV with a header line, or .xlsx; plain, .gz or .zip; - for standard input")
        add("--partner", required=True, metavar="REF", help="the partner's reference")
        add("--mode", choices=Mode.values, default=Mode.LIVE, help="live (default) or test")
        add("--biller", metavar="REF", help="compare with what it took for this biller alone")
        add("--date", metavar="YYYY-MM-DD", help="the one day to compare")
        add("--from", dest="first", metavar="YYYY-MM-DD", help="the first day to compare")
        add("--to", dest="last", metavar="YYYY-MM-DD", help="the last day to compare")
        add("--amounts", choices=["minor", "major"], default="minor",
            help="minor (default): 24000; major: 240.00, with no more decimals than the currency has")  # fmt: skip
        add("--currency", metavar="C", help="the currency of all lines, for a file without that column")
        add("--encoding", metavar="E", help="the file's encoding, unless UTF-8 or, with its mark, UTF-16")
        add("--delimiter", metavar="D", help="what divides the columns, or tab; for a header that two would divide")
        add("--sheet", metavar="NAME", help="the sheet of a workbook to read, where several have data")
        add("--output", metavar="FILE", help="write every difference there as CSV")
        add("--json", action="store_true", help="print the report as JSON on standard output, and nothing else there")

    def handle(self, *, file: str, partner: str, mode: str, biller: str | None, json: bool, **options: Any) -> None:
        """Compare, report, and say by the exit code what came of it."""
        self.as_json, self.output, self.differing, self.told = json, options["output"], 0, ""
        try:
            period, currency = _period(options), _currency(options["currency"])
            taker = _partner(partner, mode)
            delimiter = delimiter_of(options["delimiter"])
            with (
                Sheet.opened(
                    file, sys.stdin.buffer, options["encoding"], delimiter=delimiter, sheet=options["sheet"]
                ) as sheet,
                Shown(self.stderr) as shown,
            ):
                columns = Columns.of(sheet.header, currency, in_major=options["amounts"] == "major")
                reconcile(taker, sheet, columns, period, self.report, biller=biller, progress=shown.progress)
        except (BadOption, Unreadable, Refusal) as refusal:
            raise CommandError(str(refusal), returncode=_NOT_DONE) from refusal
        self.stdout.write(self.told)
        if self.differing:
            sys.exit(_DIFFERENCES)

    def report(self, found: Comparison) -> None:
        """Keep what is to be told of a comparison, and write every difference where --output says."""
        self.differing = found.differing
        if self.output:
            self._write(found)
        self.told = _as_json(found) if self.as_json else "\n".join(_as_text(found))

    def _write(self, found: Comparison) -> None:
        try:
            with Path(self.output).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                writer.writerows([cell(value) for value in one.values()] for one in found.differences())
        except OSError as error:
            raise BadOption(f"--output {self.output}: {error.strerror or error}.") from error


def _as_json(found: Comparison) -> str:
    days = [str(day) for day in found.period] if found.period else None
    first = [*found.differences(_MOST_TOLD)]
    return json.dumps(
        {"period": days, **found.counts, "totals": found.totals, "differences": first}, ensure_ascii=False
    )


def _as_text(found: Comparison) -> Iterator[str]:
    yield "From {} to {}.".format(*found.period) if found.period else "All that there is."
    yield f"Matched: {_told(found, MATCHED)}."
    for finding in DIFFERENCES:
        if found.counts[finding]:
            yield f"{_SAID[finding].capitalize()}: {_told(found, finding)}."
    for one in found.differences(_MOST_SHOWN):
        yield f"  {_sentence(one)}"
    if found.differing > _MOST_SHOWN:
        yield f"  and {found.differing - _MOST_SHOWN:,} more: --output FILE writes them all."


def _currency(code: str | None) -> str | None:
    if code is not None and not is_currency(code):
        raise BadOption(f"--currency {code}: give an ISO 4217 code in upper case, such as ZAR.")
    return code


def _partner(reference: str, mode: str) -> Partner:
    found = Partner.objects.filter(reference=reference, mode=mode).first()
    if found is None:
        raise BadOption(f"There is no partner “{reference}” in {mode} mode.")
    return found


def _period(options: dict[str, Any]) -> tuple[date, date] | None:
    named = {name: options[name] for name in ("date", "first", "last") if options[name] is not None}
    try:
        days = {name: date.fromisoformat(text) for name, text in named.items()}
    except ValueError:
        raise BadOption("--date, --from and --to take a date, YYYY-MM-DD.") from None
    if not days:
        return None
    if "date" in days:
        if len(days) > 1:
            raise BadOption("Give --date, or --from and --to.")
        return days["date"], days["date"]
    if len(days) == 1:
        raise BadOption("Give both --from and --to.")
    if days["last"] < days["first"]:
        raise BadOption("--to lies before --from.")
    return days["first"], days["last"]


def _told(found: Comparison, finding: str) -> str:
    ours_or_theirs = "theirs" if finding in {"missing_here", "duplicate"} else "ours"
    amounts = [display(told[ours_or_theirs], code) for code, told in found.totals.get(finding, {}).items()]
    return ", ".join([f"{found.counts[finding]:,}", *amounts])


def _sentence(one: dict[str, Any]) -> str:
    where = f"line {one['line']}: " if one["line"] is not None else ""
    what = f"{one['kind']} {one['external_reference']}" if one["external_reference"] is not None else ""
    ours = display(one["our_amount"], one["our_currency"]) if one["our_currency"] else ""
    theirs = display(one["their_amount"], one["their_currency"]) if one["their_currency"] else ""
    amounts = {
        "missing_here": f"{theirs} is not here",
        "missing_there": f"{ours} is not in the file",
        "amount_differs": f"{ours} here, {theirs} there",
        "currency_differs": f"{ours} here, {theirs} there",
    }
    return f"{where}{what} {amounts.get(one['finding'], one['detail'])}".replace("  ", " ").strip()
