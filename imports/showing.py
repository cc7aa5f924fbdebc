"""How far a command has come, for whoever waits for it."""

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

_PLAIN_EVERY = 10
IN_BYTES = "Reading"
"""What is counted in bytes; all else is counted in rows."""


class Rate(ProgressColumn):
    """How fast it goes."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{speed / 1_000_000:,.1f} MB/s" if task.description == IN_BYTES else f"{speed:,.0f}/s")


class Shown:
    """A progress bar on a terminal, plain lines elsewhere; on standard error, where no report goes."""

    def __init__(self, stderr: Any) -> None:
        self.stderr = stderr
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self.tasks: dict[str, TaskID] = {}
        self.told: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self.stderr.isatty():
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def progress(self, what: str, done: int, there_is: int) -> None:
        """Show how much of what is done."""
        if not self.stderr.isatty():
            tenth = _PLAIN_EVERY * done // max(there_is, 1)
            if self.told.get(what) != tenth:
                self.told[what] = tenth
                self.stderr.write(f"{what}: {tenth * 100 // _PLAIN_EVERY} %")
            return
        if what not in self.tasks:
            self.tasks[what] = self.bar.add_task(what, total=there_is or 1)
        self.bar.update(self.tasks[what], completed=done)
