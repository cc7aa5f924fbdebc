"""Let a channel partner collect for billers, or no longer."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from billers.management.commands.create_partner import known_billers
from billers.models import Biller, Enablement, Partner


class Command(BaseCommand):
    help = (
        "Let a partner collect for these billers, in live and test mode, and print, as JSON, its reference, ids and "
        "the billers it may collect for now. With --disable it may no longer; what it has collected stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("reference", metavar="REF", help="the partner's reference")
        parser.add_argument(
            "--biller", required=True, nargs="+", action="extend", metavar="REF", help="the billers' references"
        )
        parser.add_argument("--disable", action="store_true", help="let it collect for these billers no longer")

    def handle(self, *args: Any, **options: Any) -> None:
        pair = {partner.mode: partner for partner in Partner.objects.filter(reference=options["reference"])}
        if not pair:
            raise CommandError(f"There is no partner “{options['reference']}”.")
        with transaction.atomic():
            for mode, partner in pair.items():
                billers = known_billers(options["biller"], mode)
                if options["disable"]:
                    Enablement.objects.disable(partner, billers, timezone.now())
                else:
                    Enablement.objects.enable(partner, billers)
        told = {"reference": options["reference"], **{f"{mode}_id": partner.pk for mode, partner in pair.items()}}
        now = {mode: Biller.objects.collected_by(partner) for mode, partner in pair.items()}
        enabled = {f"{mode}_billers": [biller.reference for biller in billers] for mode, billers in now.items()}
        self.stdout.write(json.dumps(told | enabled))
