"""Answers as tables: CSV for spreadsheets, for callers who accept text/csv."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from core.spreadsheets import line_writer, marked

logger = logging.getLogger(__name__)

CSV = "text/csv; charset=utf-8"
BROKEN_OFF = '"This table broke off here and is not complete: ask for it again.'
"""What ends a table that cannot be told to its end, for servers differ in whether they end such an answer like any
other. The quote is never closed: people see the sentence, and strict readers, our imports too, refuse the whole."""
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
    return marked(str(value))


def lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the text of a table, a few hundred lines at a time."""
    writer = line_writer(lineterminator="\r\n")
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
    return streamed(name, lines(header, rows))


def streamed(name: str, chunks: Iterator[Any]) -> StreamingHttpResponse:
    """Return chunks of a table as they come, to be saved under a name; what is wrong before the first is a problem."""
    first = next(chunks)

    def told() -> Iterator[Any]:
        try:
            yield first
            yield from chunks
        except Exception as error:
            logger.exception("table_broke_off", exc_info=error)
            yield BROKEN_OFF
            raise
        finally:
            chunks.close()  # type: ignore[attr-defined] # a caller who goes away leaves nothing open

    response = StreamingHttpResponse(told(), content_type=CSV)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def either(response: HttpResponse | StreamingHttpResponse) -> HttpResponse | StreamingHttpResponse:
    """Tell caches that the form depends on what the caller accepts."""
    response.headers["Vary"] = "Accept"
    return response
