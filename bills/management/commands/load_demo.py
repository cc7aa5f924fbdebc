"""Fill an installation with invented data to look at."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from rich.console import Console
from rich.progress import Progress

from billers.models import ApiKey, Biller, Partner
from bills.demo import PARTNER, TRADES, fill, found_billers, found_partner

DEMO_KEY = "sk_demo_for-development-only-known-to-everybody"
DEMO_TEST_KEY = "sk_test_demo_for-development-only-known-to-everybody"
DEMO_PARTNER_KEY = "sk_partner_for-development-only-known-to-everybody"
DEMO_PARTNER_TEST_KEY = "sk_test_partner_for-development-only-known-to-everybody"
DEMO_LOGIN = "demo"
DEMO_PASSWORD = "demo"  # noqa: S105 known to everybody, and made in DEBUG only


class Command(BaseCommand):
    help = (
        "Create demo billers with realistic customers, accounts and bills, and a partner that collects for them. With "
        "DEBUG on also keys and a staff login that are the same everywhere. What is loaded already stays as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--bills", type=int, default=2000, metavar="N", help="how many bills (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["bills"] < 1:
            raise CommandError("--bills: give at least 1.")
        if Biller.objects.filter(reference=TRADES[0].reference).exists():
            self._found_partner()
            self.stdout.write("The demo is loaded already.")
            return
        with transaction.atomic():
            live = found_billers()
            if settings.DEBUG:
                self._open_to_everybody()
            self._found_partner()
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Demo bills", total=options["bills"])
            left = options["bills"]
            for biller, trade in zip(live, TRADES, strict=True):
                share = left if trade is TRADES[-1] else min(left, round(options["bills"] * trade.share))
                left -= share
                fill(biller, share, lambda batch: progress.advance(task, batch))
        self.stdout.write(f"{options['bills']} bills of {len(live)} billers loaded.")

    def _found_partner(self) -> None:
        if Partner.objects.filter(reference=PARTNER).exists():
            return
        with transaction.atomic():
            pair = found_partner()
            if settings.DEBUG:
                for mode, text in (("live", DEMO_PARTNER_KEY), ("test", DEMO_PARTNER_TEST_KEY)):
                    ApiKey.objects.keep(pair[mode], text, label="demo")

    def _open_to_everybody(self) -> None:
        for mode, text in (("live", DEMO_KEY), ("test", DEMO_TEST_KEY)):
            ApiKey.objects.keep(Biller.objects.get(reference=TRADES[0].reference, mode=mode), text, label="demo")
        users = get_user_model().objects
        if not users.filter(username=DEMO_LOGIN).exists():
            users.create_superuser(DEMO_LOGIN, password=DEMO_PASSWORD)
