"""Forget old idempotency keys."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from api.models import IdempotencyKey


class Command(BaseCommand):
    help = "Remove idempotency keys past their time. Run it daily; repeating a request after that does it again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than-hours",
            type=int,
            default=settings.IDEMPOTENCY_KEEP_HOURS,
            metavar="N",
            help="at least 24 (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["older_than_hours"]
        if hours < 24:  # noqa: PLR2004 what the contract promises
            raise CommandError("--older-than-hours: callers may rely on 24 hours.")
        removed, _ = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - timedelta(hours=hours)).delete()
        self.stdout.write(f"{removed} idempotency keys removed.")
