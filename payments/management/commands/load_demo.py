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
from payments.demo import TRADES, fill, found_billers, found_partner, is_loaded, take_turn

DEMO_KEY = "sk_demo_for-development-only-known-to-everybody"
DEMO_TEST_KEY = "sk_test_demo_for-development-only-known-to-everybody"
DEMO_PARTNER_KEY = "sk_partner_for-development-only-known-to-everybody"
DEMO_PARTNER_TEST_KEY = "sk_test_partner_for-development-only-known-to-everybody"
DEMO_LOGIN = "demo"
DEMO_PASSWORD = "demo"  # noqa: S105 known to everybody, and made in DEBUG only


class Command(BaseCommand):
    help = (
        "Create demo billers with realistic customers, accounts, bills and payments, and a partner that collects for "
        "them. With DEBUG on also keys and a staff login that are the same everywhere. What is loaded already stays as "
        "it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--bills", type=int, default=2000, metavar="N", help="how many bills (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["bills"] < 1:
            raise CommandError("--bills: give at least 1.")
        # One transaction for all of it: a demo that was interrupted is not there, and the next run loads it.
        with transaction.atomic():
            take_turn()
            if is_loaded():
                self.stdout.write("The demo is loaded already; nothing changed.")
                return
            self._load(options["bills"])
        self.stdout.write(f"{options['bills']} bills of {len(TRADES)} billers loaded.")

    def _load(self, bills: int) -> None:
        live, partners = found_billers(), found_partner()
        if settings.DEBUG:
            self._open_to_everybody(partners)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Demo bills", total=bills)
            left = bills
            for biller, trade in zip(live, TRADES, strict=True):
                share = left if trade is TRADES[-1] else min(left, round(bills * trade.share))
                left -= share
                fill(biller, partners["live"], share, lambda batch: progress.advance(task, batch))

    def _open_to_everybody(self, partners: dict[str, Partner]) -> None:
        for mode, text in (("live", DEMO_PARTNER_KEY), ("test", DEMO_PARTNER_TEST_KEY)):
            ApiKey.objects.keep(partners[mode], text, label="demo")
        for mode, text in (("live", DEMO_KEY), ("test", DEMO_TEST_KEY)):
            ApiKey.objects.keep(Biller.objects.get(reference=TRADES[0].reference, mode=mode), text, label="demo")
        users = get_user_model().objects
        if not users.filter(username=DEMO_LOGIN).exists():
            users.create_superuser(DEMO_LOGIN, password=DEMO_PASSWORD)
