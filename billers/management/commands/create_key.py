"""Issue an API key."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billers.models import ApiKey, Biller, Mode, Owner, Partner, Scope


class Command(BaseCommand):
    help = "Issue an API key of a biller or a partner and print it, as JSON. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--biller", metavar="REF", help="the reference of the biller whose key it is")
        whose.add_argument("--partner", metavar="REF", help="or of the partner")
        parser.add_argument("--mode", choices=Mode.values, default=Mode.LIVE, help="(default: %(default)s)")
        parser.add_argument("--scope", choices=Scope.values, default=Scope.WRITE, help="(default: %(default)s)")
        parser.add_argument("--label", default="", help="what the key is for")
        parser.add_argument("--expires-in-days", type=int, metavar="N", help="after which the key opens nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        kind = "biller" if options["partner"] is None else "partner"
        owner = _owner(kind, options[kind], options["mode"])
        key, text = ApiKey.objects.issue(
            owner, scope=options["scope"], label=options["label"], expires_at=_expiry(options["expires_in_days"])
        )
        told = {"id": key.pk, "key": text, kind: owner.reference, "mode": owner.mode, "scope": key.scope}
        expires = key.expires_at.isoformat() if key.expires_at else None
        self.stdout.write(json.dumps({**told, "expires_at": expires}))


def _owner(kind: str, reference: str, mode: str) -> Owner:
    owners: dict[str, type[Owner]] = {"biller": Biller, "partner": Partner}
    owner = owners[kind]._default_manager.filter(reference=reference, mode=mode).first()
    if owner is None:
        raise CommandError(f"There is no {kind} “{reference}”.")
    return owner


def _expiry(days: int | None) -> datetime | None:
    if days is None:
        return None
    if days < 1:
        raise CommandError("--expires-in-days: give at least 1.")
    try:
        return timezone.now() + timedelta(days=days)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
