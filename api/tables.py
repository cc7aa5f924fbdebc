"""Answers as tables: CSV for spreadsheets, for callers who accept text/csv."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

CSV = "text/csv; charset=utf-8"
_ACTIVE = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a cell that begins with it for more than text."""
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?\Z", re.ASCII)
_CHUNK = 500


class CsvRenderer(BaseRenderer):
    """Tells that an address also answers text/csv; its view writes the table."""

    media_type = "text/csv"
    format = "csv"


JSON_OR_CSV = (JSONRenderer, CsvRenderer)


def wants_table(request: Request) -> bool:
    """Tell whether the caller takes CSV before JSON."""
    return isinstance(request.accepted_renderer, CsvRenderer)


def cell(value: Any) -> str:
    """Return a value as a cell: text that a spreadsheet would run gets a quote in front, numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = str(value)
    return "'" + text if text.startswith(_ACTIVE) and not _NUMBER.match(text) else text


class _Lines:
    """What a csv.writer writes to: it keeps nothing."""

    def write(self, line: str) -> str:
        return line


def lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the text of a table, a few hundred lines at a time."""
    writer: Any = csv.writer(_Lines(), lineterminator="\r\n")
    ready = [writer.writerow(header)]
    for row in rows:
        ready.append(writer.writerow([cell(value) for value in row]))
        if len(ready) >= _CHUNK:
            yield "".join(ready)
            ready.clear()
    yield "".join(ready)


def table_response(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """Return a table as it is being read, to be saved under a name.

    What is wrong before the first lines are there is still answered as a problem.
    """
    text = lines(header, rows)
    first = next(text)

    def streamed() -> Iterator[str]:
        yield first
        yield from text

    response = StreamingHttpResponse(streamed(), content_type=CSV)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def either(response: HttpResponse | StreamingHttpResponse) -> HttpResponse | StreamingHttpResponse:
    """Tell caches that the form depends on what the caller accepts."""
    response.headers["Vary"] = "Accept"
    return response
