"""Give everything that can be paid, and has none yet, a payer reference."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from billers.models import Biller, Mode
from payments.collecting import KINDS
from payments.giving import give_to_all

_NOTHING_MADE = 2

EPILOG = """
A run that was interrupted is completed by running it again; what has a payer reference keeps it.

exit code: 0 everything has one now; 2 nothing was made (no such biller, bad option)
"""


class Command(BaseCommand):
    """Give customers, accounts and bills that have none a payer reference: 12 digits to type on a keypad."""

    help = __doc__.strip()
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Show the exit codes under the options."""
        return super().create_parser(prog_name, subcommand, epilog=EPILOG, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the biller, and which kinds of its records get one."""
        add = parser.add_argument
        add("--biller", required=True, metavar="REF", help="the biller's reference")
        add("--mode", choices=Mode.values, default=Mode.LIVE, help="live (default) or test")
        add("--kind", nargs="+", choices=[*KINDS], default=[*KINDS], help="what gets one (default: all three)")
        add("--json", action="store_true", help="print the counts as JSON on standard output, and nothing else there")

    def handle(self, *, biller: str, mode: str, kind: list[str], json: bool, **options: Any) -> None:
        """Make them, telling how far it is, and print how many were made."""
        owner = Biller.objects.filter(reference=biller, mode=mode).first()
        if owner is None:
            raise CommandError(f"There is no biller “{biller}” in {mode} mode.", returncode=_NOTHING_MADE)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), disable=not self.stderr.isatty()) as progress:
            tasks = {one: progress.add_task(f"{one}s", total=None) for one in dict.fromkeys(kind)}

            def told(one: str, done: int, wanted: int) -> None:
                progress.update(tasks[one], completed=done, total=wanted)
                if not self.stderr.isatty():
                    self.stderr.write(f"{one}s: {done:,} of {wanted:,}")

            made = give_to_all(owner, tasks, told)
        self._report(made, as_json=json)

    def _report(self, made: dict[str, int], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"made": made}))
            return
        self.stdout.write("Made for " + ", ".join(f"{count:,} {kind}s" for kind, count in made.items()) + ".")
