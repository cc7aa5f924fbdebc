"""Deliver events to webhook endpoints."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from core.working import Worker, WorkerCommand
from events.delivering import Courier


class Command(WorkerCommand):
    help = (
        "Number events and deliver them to the webhook endpoints that want them, until stopped. Any number of workers "
        "may run; one that is killed loses nothing."
    )
    once_help = "send everything that can be sent now, and exit"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--threads",
            type=int,
            default=settings.WEBHOOK_THREADS,
            help="how many endpoints are served at once (default: $WEBHOOK_THREADS, %(default)s)",
        )

    def worker(self, options: dict[str, Any]) -> Worker:
        return Courier(once=options["once"], threads=max(1, options["threads"]))
