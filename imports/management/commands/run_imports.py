"""Run the imports that were sent over the API or from the console."""

from typing import Any

from core.working import Worker, WorkerCommand
from imports.running import Runner


class Command(WorkerCommand):
    help = (
        "Run the imports that wait, until stopped. Any number of workers may run; the files of one biller are taken in "
        "the order they came, and what a killed worker left is gone on with by another."
    )
    once_help = "run every import that can be run now, and exit"

    def worker(self, options: dict[str, Any]) -> Worker:
        return Runner(once=options["once"])
