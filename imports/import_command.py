"""What the commands that import a file share: their options, their report and their exit code."""

import sys
from json import dumps
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billers.models import Biller, Mode
from core.money import display
from imports.columns import BadOption
from imports.importing import FileImport
from imports.kinds import Kind
from imports.options import Option, options_of
from imports.options import understood as options_understood
from imports.reading import Sheet, Unreadable
from imports.showing import Shown

_SOME_REFUSED, _NOTHING_WRITTEN = 1, 2
_SPELT = {"amount_due": "due", "amount_paid": "paid", "balance": "on balances", "amount": "received"}

EPILOG = """
The columns are our field names: {fields}.
{known} An empty cell leaves its field untouched; the same file twice changes nothing.

Exit code 0: all rows accepted; 1: some refused; 2: nothing written.
"""
UPDATED = "What exists is updated."


class ImportCommand(BaseCommand):
    """A command that imports files of one kind."""

    kind: ClassVar[Kind]
    known: ClassVar[str] = UPDATED
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Show the columns and the exit codes under the options."""
        metadata = [f"{start}metadata.KEY" for start in ("", *(f"{parent}_" for parent in self.kind.beside))]
        epilog = EPILOG.format(fields=", ".join((*self.kind.fields, *metadata)), known=self.known)
        return super().create_parser(prog_name, subcommand, epilog=epilog, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file, the biller, and how the file is to be understood."""
        add = parser.add_argument
        add("file", metavar="FILE", help="CSV with a header line, plain or .gz; - for standard input")
        add("--biller", required=True, metavar="REF", help="the biller's reference")
        add("--mode", choices=Mode.values, default=Mode.LIVE, help="live (default) or test")
        for option in options_of(self.kind):
            told = option.help.format(kind=self.kind) if "{kind}" in option.help else option.help.replace("%", "%%")
            add(option.spelt, help=told, dest=option.name, **_as_argument(option))
        add(
            "--errors",
            metavar="FILE",
            help="where refused rows go (default FILE.errors.csv); mended, they import again",
        )
        add("--json", action="store_true", help="print the report as JSON on standard output, and nothing else there")

    def handle(self, *, file: str, biller: str, mode: str, errors: str | None, json: bool, **options: Any) -> None:
        """Import, report, and say by the exit code what became of the rows."""
        try:
            understood = options_understood(self.kind, options)
            refused = self._refused_rows(file, errors)
            owner = _biller(biller, mode)
            with Sheet.opened(file, sys.stdin.buffer, options["encoding"]) as sheet, Shown(self.stderr) as shown:
                run = FileImport(
                    owner, self.kind, sheet, understood, refused, dry=options["dry_run"], progress=shown.progress
                )
                imported = run.run()
        except (BadOption, Unreadable) as refusal:
            raise CommandError(str(refusal), returncode=_NOTHING_WRITTEN) from refusal
        if json:
            self.stdout.write(dumps(imported.report, ensure_ascii=False))
        else:
            self._report(run, None if run.errors_lost else refused)
        if imported.rejected:
            sys.exit(_NOTHING_WRITTEN if run.wrote_nothing else _SOME_REFUSED)

    def _refused_rows(self, file: str, errors: str | None) -> Path:
        path = Path(errors or ("stdin.errors.csv" if file == "-" else f"{file}.errors.csv"))
        if errors and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise BadOption(f"--errors {errors}: there is no such folder, or it is one.")
        if file != "-" and path.exists() and path.samefile(file):
            raise BadOption(f"--errors {errors}: that is the file to import.")
        return path

    def _report(self, run: FileImport, refused: Path | None) -> None:
        imported, report = run.imported, run.imported.report
        names = ("read", "created", "updated", "unchanged", "rejected")
        self.stdout.write(
            ("Nothing is written: a dry run. " if run.dry else "")
            + f"{self.kind.name.capitalize()}: {_counted(report, names)}."
        )
        for parent in self.kind.beside:
            self.stdout.write(f"{parent.capitalize()}s: {_counted(report[f'{parent}s'], ('created', 'updated'))}.")
        for currency, total in sorted(imported.totals.items()):
            amounts = (f"{display(amount, currency)} {_SPELT[name]}" for name, amount in total.items())
            self.stdout.write(", ".join(amounts) + ".")
        if 0 < imported.unchanged == imported.read - imported.rejected:
            self.stdout.write("Nothing has changed: all of it is stored already.")
        for warning in imported.warnings:
            self.stderr.write(f"Warning: {warning}")
        for line, told in run.first_refused:
            self.stderr.write(f"Line {line}: {told}")
        if more := imported.rejected - len(run.first_refused):
            self.stderr.write(f"{more:,} more rows are refused.")
        if imported.rejected and refused:
            self.stderr.write(f"The refused rows and why: {refused}")


def _as_argument(option: Option) -> dict[str, Any]:
    if option.is_flag:
        return {"action": "store_true"}
    if option.repeats:
        return {"action": "append", "default": [], "metavar": option.metavar}
    if option.choices:
        return {"choices": option.choices, "default": option.default}
    return {"default": option.default, "metavar": option.metavar, "type": int if option.is_number else str}


def _biller(reference: str, mode: str) -> Biller:
    found = Biller.objects.filter(reference=reference, mode=mode).first()
    if found is None:
        raise BadOption(f"There is no biller “{reference}” in {mode} mode.")
    return found


def _counted(counts: dict[str, int], names: tuple[str, ...]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in names)
