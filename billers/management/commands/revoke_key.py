"""Revoke an API key."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from billers.models import ApiKey
from core.ids import decode


class Command(BaseCommand):
    help = "Revoke an API key, named by its id (key_…), its public part (sk_…) or its whole text."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="key_…, or the key's text or the start of it that the console shows")

    def handle(self, *args: Any, **options: Any) -> None:
        named = options["key"].rstrip("…")
        wanted = Q(pk=named) if decode("key", named) else Q(public_part=ApiKey.public(named))
        keys = ApiKey.objects.filter(wanted)
        key = keys.first()
        if key is None:
            raise CommandError("There is no such key.")
        if not keys.revoke(timezone.now()):
            self.stdout.write(f"{key} was revoked before, at {key.revoked_at:%Y-%m-%d %H:%M} UTC.")
            return
        self.stdout.write(f"{key} is revoked, everywhere within {settings.API_KEY_CACHE_SECONDS} seconds.")
