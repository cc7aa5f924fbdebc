"""Files out: a biller's records as the API's lists tell them, written whole or not at all."""

import gzip
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from api.exporting import Export
from api.problems import Problem, invalid_parameter
from api.views import ListViewSet
from billers.models import Biller
from imports.columns import BadOption

PACKED = ".gz"
_EFFORT = 3
"""How hard an archive is pressed: harder takes longer than PostgreSQL takes to write it."""

Progress = Callable[[str, int, int], None]


def asked_for(listing: type[ListViewSet], biller: Biller, asked: dict[str, str]) -> Export:
    """Return what to export of a biller, asked for as the API's list is.

    Raises:
        BadOption: the list knows no such filter, order or column, or cannot read it.
    """
    try:
        for name in asked:
            if name not in {*listing.known_of_table(), *listing.of_pages} and not listing.filters.knows(name):
                known = ", ".join(name for name in listing.known_of_table() if name not in {"sort", "columns"})
                raise invalid_parameter(name, f"“{name}” is no filter of this list. Known: {known}.")
        return listing.exported(biller, asked, counting=True)
    except Problem as problem:
        raise BadOption(f"{problem.detail}") from problem


def write(export: Export, file: IO[bytes], progress: Progress = lambda *_: None) -> None:
    """Write an export to a file."""
    try:
        for chunk in export.chunks():
            file.write(chunk)
            progress("Writing", export.written, export.total or 0)
    except Problem as problem:
        raise BadOption(f"{problem.detail}") from problem


@contextmanager
def written(path: Path) -> Generator[IO[bytes]]:
    """Open a new file that appears under its name once it is whole; compressed where the name ends so."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            if path.suffix == PACKED:
                # Without a name and a time in it, the same rows are the same bytes.
                with gzip.GzipFile("", "wb", _EFFORT, file, mtime=0) as packed:
                    yield cast("Any", packed)
            else:
                yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
