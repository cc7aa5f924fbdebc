"""Deliver events to webhook endpoints."""

import json
import os
import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from events.delivering import Courier


class Command(BaseCommand):
    help = (
        "Number events and deliver them to the webhook endpoints that want them, until stopped. Any number of workers "
        "may run; one that is killed loses nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="send everything that can be sent now, and exit")
        parser.add_argument("--json", action="store_true", help="print the counts as JSON at the end")
        parser.add_argument(
            "--threads",
            type=int,
            default=settings.WEBHOOK_THREADS,
            help="how many endpoints are served at once (default: $WEBHOOK_THREADS, %(default)s)",
        )
        parser.add_argument(
            "--with-parent", type=int, metavar="PID", help="stop when this process, which started this one, is gone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        courier = Courier(once=options["once"], threads=max(1, options["threads"]))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: courier.stop())
        if options["with_parent"] is not None:
            threading.Thread(target=_watch, args=(options["with_parent"], courier), daemon=True).start()
        counts = courier.run().counts
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write(", ".join(f"{name.replace('_', ' ')}: {number:,}" for name, number in counts.items()))


def _watch(parent: int, courier: Courier) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    courier.stop()
