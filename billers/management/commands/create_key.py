"""Issue an API key."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billers.models import ApiKey, Biller, Mode, Scope


class Command(BaseCommand):
    help = "Issue an API key of a biller and print it, as JSON. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--biller", required=True, metavar="REF", help="the biller's reference")
        parser.add_argument("--mode", choices=Mode.values, default=Mode.LIVE, help="(default: %(default)s)")
        parser.add_argument("--scope", choices=Scope.values, default=Scope.WRITE, help="(default: %(default)s)")
        parser.add_argument("--label", default="", help="what the key is for")
        parser.add_argument("--expires-in-days", type=int, metavar="N", help="after which the key opens nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        biller = Biller.objects.filter(reference=options["biller"], mode=options["mode"]).first()
        if biller is None:
            raise CommandError(f"There is no biller “{options['biller']}”.")
        key, text = ApiKey.objects.issue(
            biller, scope=options["scope"], label=options["label"], expires_at=_expiry(options["expires_in_days"])
        )
        told = {"id": key.pk, "key": text, "biller": biller.reference, "mode": biller.mode, "scope": key.scope}
        expires = key.expires_at.isoformat() if key.expires_at else None
        self.stdout.write(json.dumps({**told, "expires_at": expires}))


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if days < 1:
        raise CommandError("--expires-in-days: give at least 1.")
    try:
        return timezone.now() + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
