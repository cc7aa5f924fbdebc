"""Register a biller, with a write key for each mode."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billers.models import ApiKey, Biller, BillingModel


class Command(BaseCommand):
    help = (
        "Create a biller in live and test mode and print, as JSON, its reference, ids and keys. "
        "The keys are shown this once; the database keeps only their hashes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what people call the biller")
        parser.add_argument("--reference", required=True, help="its short name: letters, digits, hyphens, underscores")
        parser.add_argument(
            "--billing-model",
            choices=BillingModel.values,
            default=BillingModel.BILL,
            help="what its payers are asked to pay (default: %(default)s)",
        )
        parser.add_argument("--currency", default=None, metavar="C", help="ISO 4217 code its billing usually uses")
        parser.add_argument("--country", default=None, metavar="CC", help="ISO 3166 code of two letters, such as ZA")
        parser.add_argument(
            "--timezone", default="UTC", metavar="TZ", help="IANA name; decides what today is (default: UTC)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                pair = Biller.objects.found(
                    name=options["name"],
                    reference=options["reference"],
                    billing_model=options["billing_model"],
                    country=options["country"],
                    default_currency=options["currency"],
                    timezone=options["timezone"],
                )
                keys = {mode: ApiKey.objects.issue(biller, label="first key")[1] for mode, biller in pair.items()}
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        told = {"reference": options["reference"], **{f"{mode}_id": biller.pk for mode, biller in pair.items()}}
        self.stdout.write(json.dumps(told | {f"{mode}_key": key for mode, key in keys.items()}))
