"""What the commands that import a file share: their options, their report and their exit code."""

import sys
from argparse import BooleanOptionalAction
from json import dumps
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billers.acts import perform
from billers.models import Biller, Mode
from core.money import display
from imports import profiles
from imports.amounts import MARKS
from imports.columns import AS_NUMBERS, BadOption
from imports.importing import FileImport
from imports.kinds import BILLS, Kind
from imports.models import PROFILE_NAMES, Profile, is_profile_name
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
        add("file", metavar="FILE", help="CSV with a header line, or .xlsx; plain, .gz or .zip; - for standard input")
        add("--biller", required=True, metavar="REF", help="the biller's reference")
        add("--mode", choices=Mode.values, default=Mode.LIVE, help="live (default) or test")
        add("--map", action="append", default=[], metavar="FIELD=SOURCE", dest="mapping",
            help="SOURCE is a column, or a template such as {CustomerID}-{Country}; may be repeated")  # fmt: skip
        add(
            "--ignore-unknown",
            action=BooleanOptionalAction,
            help="ignore every column that is no field (else an error)",
        )
        add("--amounts", choices=["minor", "major"],
            help="minor (default): 24000; major: 240.00, with no more decimals than the currency has")  # fmt: skip
        add("--currency", metavar="C", help=f"the currency of all {self.kind}, for a file without that column")
        if self.kind is BILLS:
            add("--due-days", type=int, metavar="N",
                help="due so many days after bill_date, for a file without due_date")  # fmt: skip
        add("--date-format", metavar="F",
            help="strptime (default %%Y-%%m-%%d); a time part is dropped, not converted")  # fmt: skip
        add("--encoding", metavar="E", help="the file's encoding, unless UTF-8 or, with its mark, UTF-16")
        add("--dry-run", action="store_true", help="everything but the writing")
        add("--on-error", choices=["skip", "abort"], default="skip",
            help="skip (default) writes the good rows; abort writes nothing if any row is bad")  # fmt: skip
        add("--max-errors", type=int, metavar="N",
            help="write nothing once more than N rows are refused, and read no further")  # fmt: skip
        add(
            "--errors",
            metavar="FILE",
            help="where refused rows go (default FILE.errors.csv); mended, they import again",
        )
        add("--events", action="store_true", help="emit an event per row too, not import.completed alone")
        add("--delimiter", metavar="D", help="what divides the columns, or tab; for a header that two would divide")
        add("--sheet", metavar="NAME", help="the sheet of a workbook to read, where several have data")
        add("--decimal", choices=[".", ","], metavar="MARK", help="the decimal mark of major units, . (default) or ,")
        add("--thousands", choices=[*MARKS], metavar="MARK",
            help="what divides their thousands: , or . or ' or the word blank (default: nothing)")  # fmt: skip
        add("--currency-signs", action=BooleanOptionalAction,
            help="take a sign or code beside them, if it is that of their currency")  # fmt: skip
        add("--excel-numbers", choices=AS_NUMBERS,
            help="references that a spreadsheet rewrote (1930571429.0): refuse (default), whole, text")  # fmt: skip
        add("--pad", action="append", default=[], metavar="FIELD=WIDTH",
            help="give a reference of digits its lost zeros back, up to a width; may be repeated")  # fmt: skip
        add(
            "--profile",
            metavar="NAME",
            help="understand the file as this profile of the biller says, else as said here",
        )
        add("--save-profile", metavar="NAME", help="remember how the file is understood, under this name")
        add("--json", action="store_true", help="print the report as JSON on standard output, and nothing else there")

    def handle(self, *, file: str, biller: str, mode: str, errors: str | None, json: bool, **options: Any) -> None:
        """Import, report, and say by the exit code what became of the rows."""
        try:
            refused = self._refused_rows(file, errors)
            owner = _biller(biller, mode)
            told = self._told(owner, options)
            understood = profiles.understood(
                told,
                abort=options["on_error"] == "abort",
                max_errors=options["max_errors"],
                events=options["events"],
            )
            with Sheet.opened(
                file,
                sys.stdin.buffer,
                told["encoding"],
                delimiter=understood.delimiter,
                sheet=understood.sheet,
                spelling=profiles.spelling_of(told),
            ) as sheet:
                run = FileImport(owner, self.kind, sheet, understood, refused, dry=options["dry_run"])
                if run.layout.matched:
                    self.stderr.write(run.layout.matched)
                with Shown(self.stderr) as shown:
                    run.progress = shown.progress
                    imported = run.run()
            if options["save_profile"] and not run.dry:
                kept = profiles.unusual(told)
                perform(owner, run.actor, lambda act: Profile.objects.keep(act, options["save_profile"], kept))
        except (BadOption, Unreadable) as refusal:
            raise CommandError(str(refusal), returncode=_NOTHING_WRITTEN) from refusal
        if json:
            self.stdout.write(dumps(imported.report, ensure_ascii=False))
        else:
            self._report(run, None if run.errors_lost else refused)
        if imported.rejected:
            sys.exit(_NOTHING_WRITTEN if run.wrote_nothing else _SOME_REFUSED)

    def _told(self, owner: Biller, options: dict[str, Any]) -> dict[str, Any]:
        """Return what is said of the file: here, else by the biller's profile, else as is usual."""
        told = profiles.given(options)
        for option in ("profile", "save_profile"):
            if options[option] is not None and not is_profile_name(options[option]):
                raise BadOption(f"--{option.replace('_', '-')} {options[option]}: {PROFILE_NAMES}")
        if options["profile"] is not None:
            profile = Profile.objects.named(owner, options["profile"])
            if profile is None:
                raise BadOption(f"--profile {options['profile']}: {owner} has none of this name.")
            told = profiles.combined(profile.options, told)
        return profiles.USUAL | told

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


def _biller(reference: str, mode: str) -> Biller:
    found = Biller.objects.filter(reference=reference, mode=mode).first()
    if found is None:
        raise BadOption(f"There is no biller “{reference}” in {mode} mode.")
    return found


def _counted(counts: dict[str, int], names: tuple[str, ...]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in names)
