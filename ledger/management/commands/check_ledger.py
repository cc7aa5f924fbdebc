"""Prove that every amount is the sum of its ledger entries."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billers.models import Biller
from core.ids import decode
from ledger.proof import prove


class Command(BaseCommand):
    """Prove that every amount is the sum of its ledger entries."""

    help = (
        "Prove that every balance and every amount paid is the sum of its ledger entries, that each running total is "
        "unbroken, and that no entry is about nothing. Exit code 1, and the ids, where that is not so."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take one biller, or none for all."""
        parser.add_argument("--biller", metavar="REF", help="only this biller, in live and test mode (default: all)")

    def handle(self, *args: Any, biller: str | None, **options: Any) -> None:
        """Print the counts of each kind of obligation, then the ids of what is wrong."""
        wrong = False
        for finding in prove(None if biller is None else _billers(biller)):
            self.stdout.write(f"{finding.kind}: {finding.counted:,} {finding.noun}, {finding.entries:,} entries")
            for what, ids in finding.wrong.items():
                wrong = True
                self.stdout.write("\n".join([f"{finding.kind}: {len(ids):,} wrong, {what}:", *ids]))
        if wrong:
            sys.exit(1)
        self.stdout.write("The ledger agrees.")


def _billers(reference: str) -> list[Any]:
    found = [decode("blr", key) for key in Biller.objects.filter(reference=reference).values_list("pk", flat=True)]
    if not found:
        raise CommandError(f"There is no biller “{reference}”.")
    return found
