"""Text in a table that a spreadsheet may open: what it would run is marked, and who reads the table takes the mark off.

The mark is a quote in front. A text that looks as if it were marked gets one more, so that taking one off gives back
exactly what there was; and a text that never needed one keeps every quote of its own.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Func, TextField

DELIMITERS = ",;\t|"
"""What the columns of a file may be told apart by."""

_MARK = "'"
# The same in the dialects of Python and PostgreSQL. A sign before nothing but a number makes a number of it.
_RUN = r"'*(?![+-][0-9]+(\.[0-9]+)?\Z)[=+@\t\r-]"
_RUNS = re.compile(_RUN)
_FIRST = ",".join(str(ord(character)) for character in "'=+@\t\r-")
_MARKED_END = re.compile(r"\s'*\Z")


def marked(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs."""
    return _MARK + text if _RUNS.match(text) else text


def unmarked(cell: str) -> str:
    """Return the text that a cell was made of."""
    return cell[1:] if cell.startswith(_MARK) and _RUNS.match(cell, 1) else cell


def unmarked_column(cells: Sequence[str]) -> Sequence[str]:
    """Return the texts of many cells, which mostly hold no quote at all."""
    return cells if _MARK not in "".join(cells) else [unmarked(cell) for cell in cells]


class Marked(Func):
    """A text of the database as `marked` would return it; most are told by their first character alone."""

    output_field = TextField()

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        text, parameters = compiler.compile(self.source_expressions[0])
        runs = f"ascii({text}) = ANY ('{{{_FIRST}}}') AND {text} ~ '^{_RUN.replace(_MARK, _MARK * 2)}'"
        return f"CASE WHEN {runs} THEN '''' || {text} ELSE {text} END", [*parameters] * 4


def heading(name: str) -> str:
    """Return the name of a column as a header tells it: blanks at its end would be taken for carelessness."""
    return name + _MARK if _MARKED_END.search(name) else name


def name_of(heading: str) -> str:
    """Return the name that a header tells; blanks around it are none of its own, unless they are marked."""
    name = heading.strip()
    return name[:-1] if name.endswith(_MARK) and _MARKED_END.search(name[:-1]) else name


class _Lines:
    """What a csv.writer writes to: it keeps nothing."""

    def write(self, line: str) -> str:
        return line


def line_writer(**dialect: Any) -> Any:
    """Return a csv.writer whose `writerow` returns the line."""
    return csv.writer(_Lines(), **dialect)


def header_line(names: Iterable[str], end: str = "\n", delimiter: str = ",", beside: Sequence[str] = ()) -> str:
    """Return the header of a table, from which its delimiter can be told whatever the names hold."""
    names = [*map(heading, names), *beside]
    foreign = any(other in name for name in names for other in DELIMITERS)
    quoting = csv.QUOTE_ALL if foreign else csv.QUOTE_MINIMAL
    return str(line_writer(delimiter=delimiter, lineterminator=end, quoting=quoting).writerow(names))
