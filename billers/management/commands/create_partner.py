"""Register a channel partner, with a write key for each mode, and let it collect for billers."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billers.models import ApiKey, Biller, Enablement, Partner


class Command(BaseCommand):
    help = (
        "Create a channel partner in live and test mode, enabled for these billers in both, and print, as JSON, its "
        "reference, ids and keys. The keys are shown this once; the database keeps only their hashes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what people call the partner")
        parser.add_argument("--reference", required=True, help="its short name: letters, digits, hyphens, underscores")
        parser.add_argument(
            "--biller",
            required=True,
            nargs="+",
            action="extend",
            metavar="REF",
            help="the references of the billers it may collect for",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                pair = Partner.objects.found(name=options["name"], reference=options["reference"])
                for mode, partner in pair.items():
                    Enablement.objects.enable(partner, known_billers(options["biller"], mode))
                keys = {mode: ApiKey.objects.issue(partner, label="first key")[1] for mode, partner in pair.items()}
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        told = {"reference": options["reference"], **{f"{mode}_id": partner.pk for mode, partner in pair.items()}}
        self.stdout.write(json.dumps(told | {f"{mode}_key": key for mode, key in keys.items()}))


def known_billers(references: list[str], mode: str) -> list[Biller]:
    """Return the billers with these references in a mode.

    Raises:
        CommandError: naming those that do not exist.
    """
    billers = list(Biller.objects.filter(reference__in=references, mode=mode))
    unknown = sorted(set(references) - {biller.reference for biller in billers})
    if unknown:
        raise CommandError(f"There is no biller {', '.join(f'“{reference}”' for reference in unknown)}.")
    return billers
