"""What the commands that export have in common: their options, their report and their exit codes."""

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from api.exporting import Export
from api.tables import BROKEN_OFF
from api.views import ListViewSet
from billers.models import Biller, Mode
from imports import exporting
from imports.columns import BadOption
from imports.showing import Shown

_NOT_DONE = 2

EPILOG = """
The columns are {columns}. A text that a spreadsheet would run gets a quote in front, which imports take off again.

Exit code 0: all of them are written; 2: the export could not be made, and no file is left.
"""


class ExportCommand(BaseCommand):
    """Write what one list of the API tells to a CSV file, or to standard output."""

    listing: ClassVar[type[ListViewSet]]
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Show the columns and the exit codes under the options."""
        columns = ", ".join(self._table.names)
        return super().create_parser(prog_name, subcommand, epilog=EPILOG.format(columns=columns), **options)

    @property
    def _table(self) -> Any:
        return self.listing.table

    @property
    def _usual(self) -> str:
        return "those that an import reads" if any(column.ours for column in self._table.columns) else "all"

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the biller, where to write, and what."""
        add = parser.add_argument
        add("--biller", required=True, metavar="REF", help="the biller's reference")
        add("--mode", choices=Mode.values, default=Mode.LIVE, help="live (default) or test")
        add("-o", "--output", metavar="FILE", default="-",
            help="where to write, compressed when it ends in .gz; - for standard output (default)")  # fmt: skip
        add("--filter", action="append", default=[], metavar="NAME=VALUE", dest="filters",
            help=f"as in the API, may be repeated: {', '.join(self.listing.filters.known())}")  # fmt: skip
        add("--sort", metavar="FIELD", help=f"{', '.join(self.listing.sorts)}, descending with --sort=-FIELD; "
            "without it in no order, which is quicker")  # fmt: skip
        add("--columns", metavar="NAMES",
            help=f"names with commas between, or all; without it {self._usual}")  # fmt: skip
        add("--json", action="store_true", help="print the report as JSON on standard output, and nothing else there")

    def handle(self, *, biller: str, mode: str, output: str, json: bool, **options: Any) -> None:
        """Export, report, and say by the exit code what came of it."""
        try:
            self._refuse_two_on_one_stream(output, as_json=json)
            export = exporting.asked_for(self.listing, _biller(biller, mode), _asked(options))
            self._write(export, output)
        except BadOption as refusal:
            raise CommandError(str(refusal), returncode=_NOT_DONE) from refusal
        except OSError as error:
            _spare_standard_output(error)
            raise CommandError(f"{output}: {error.strerror or error}.", returncode=_NOT_DONE) from error
        except DatabaseError as error:
            raise CommandError(f"The database broke off: {error}".strip(), returncode=_NOT_DONE) from error
        self._report(export, output, as_json=json)

    def _refuse_two_on_one_stream(self, output: str, *, as_json: bool) -> None:
        if as_json and output == "-":
            raise BadOption("--json needs -o FILE: standard output is the table's.")

    def _write(self, export: Export, output: str) -> None:
        with Shown(self.stderr) as shown:
            if output == "-":
                self._pass_on(export, shown.progress)
                return
            with exporting.written(Path(output)) as file:
                exporting.write(export, file, shown.progress)

    @staticmethod
    def _pass_on(export: Export, progress: exporting.Progress) -> None:
        out = sys.stdout.buffer
        try:
            exporting.write(export, out, progress)
        except DatabaseError:
            if export.header:
                out.write(BROKEN_OFF.encode())
            raise
        finally:
            out.flush()

    def _report(self, export: Export, output: str, *, as_json: bool) -> None:
        if as_json:
            told = {"exported": export.written, "columns": export.header, "file": output}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
            return
        out = self.stderr if output == "-" else self.stdout
        where = "" if output == "-" else f" to {output}"
        out.write(f"{self._table.name.capitalize()}: {export.written:,} exported{where}.")


def _biller(reference: str, mode: str) -> Biller:
    found = Biller.objects.filter(reference=reference, mode=mode).first()
    if found is None:
        raise BadOption(f"There is no biller “{reference}” in {mode} mode.")
    return found


def _asked(options: dict[str, Any]) -> dict[str, str]:
    """Return what is asked for, by the names that the API gives it."""
    asked: dict[str, str] = {}
    for told in options["filters"]:
        name, equals, value = told.partition("=")
        if not equals:
            raise BadOption(f"--filter {told}: give NAME=VALUE.")
        if name in asked:
            raise BadOption(f"--filter {name} stands twice.")
        if name in {"sort", "columns"}:
            raise BadOption(f"--filter {name}: that is the option --{name}.")
        if "\0" in told:
            raise BadOption("--filter cannot hold a NUL.")
        asked[name] = value
    return asked | {name: options[name] for name in ("sort", "columns") if options[name] is not None}


def _spare_standard_output(error: OSError) -> None:
    """Let the interpreter end in peace, where whoever read our standard output has gone away."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
