"""A command that works until it is stopped: what the workers beside the server have in common."""

import json
import os
import signal
import threading
import time
from argparse import ArgumentParser
from typing import Any, Protocol

from django.core.management.base import BaseCommand


class Worker(Protocol):
    """What does the work."""

    def stop(self) -> None:
        """Ask for an end, from a signal's handler too."""

    def work(self) -> dict[str, int]:
        """Work until that; return what was done, by name."""


class WorkerCommand(BaseCommand):
    """A command that runs a worker."""

    once_help = "do everything that can be done now, and exit"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how long to work, and how to tell of it."""
        parser.add_argument("--once", action="store_true", help=self.once_help)
        parser.add_argument("--json", action="store_true", help="print the counts as JSON at the end")
        parser.add_argument(
            "--with-parent", type=int, metavar="PID", help="stop when this process, which started this one, is gone"
        )

    def worker(self, options: dict[str, Any]) -> Worker:
        """Return the worker that the options ask for."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        """Work, and print what was done."""
        worker = self.worker(options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if options["with_parent"] is not None:
            threading.Thread(target=_watch, args=(options["with_parent"], worker), daemon=True).start()
        counts = worker.work()
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write(", ".join(f"{name.replace('_', ' ')}: {number:,}" for name, number in counts.items()))


def _watch(parent: int, worker: Worker) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    worker.stop()
