"""A whole list as a table: PostgreSQL writes the CSV, in one statement of one moment, and it passes through here.

Nothing is gathered on the way, so memory does not depend on how many rows there are. Filters, order and tenant are
those of the list; what each kind of record shows is declared beside it, in its `tables.py`.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Func, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform

from api.cursors import Sort
from api.problems import invalid_parameter
from core.ids import encode_number
from core.spreadsheets import Marked, header_line

EVERYTHING, METADATA = "all", "metadata"
MOST_KEYS = 500
"""How many keys of metadata a table may have a column for."""

_KEY_LENGTH = 40
_FEW = 10_000
_CHUNK = 1 << 16
_UUID_LENGTH = 36

# What the session's own settings may be does not matter: a table looks the same everywhere, and may take its time.
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_AS_EXPORT = """
    SELECT set_config('datestyle', 'ISO', true), set_config('timezone', 'UTC', true),
        set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
        set_config('synchronize_seqscans', 'off', true), set_config('jit', 'off', true)
"""
# The planner takes every biller for a small one, and would look each of a million parents up by itself.
_OF_MANY = "SELECT set_config('enable_nestloop', 'off', true), set_config('enable_mergejoin', 'off', true)"
_WITH_ALL_HANDS = "SELECT set_config('parallel_setup_cost', '0', true), set_config('parallel_tuple_cost', '0', true)"
_COUNTED = "SELECT count(*) FROM ({}) AS counted"
# Most rows hold the keys that the first rows hold: of the others alone every key is looked at.
_FIRST_KEYS = """
    SELECT COALESCE(array_agg(DISTINCT key), '{{}}')
    FROM (SELECT metadata FROM ({}) AS narrowed LIMIT 1000) AS first, jsonb_object_keys(metadata) AS key
"""
_OTHER_KEYS = """
    SELECT DISTINCT key FROM ({}) AS narrowed, jsonb_object_keys(metadata - %s::text[]) AS key
    WHERE metadata - %s::text[] <> '{{}}' LIMIT %s
"""


class Moment(Func):
    """A moment as ISO 8601, in the session's UTC; `to_char` would take three times as long."""

    template = "replace((%(expressions)s)::timestamp::text, ' ', 'T') || 'Z'"
    output_field = TextField()


class Named(Func):
    """A prefix and a UUID, of which the way out makes an id of ours."""

    template, arg_joiner = "%(expressions)s", " || '_' || "
    output_field = TextField()


@dataclass(frozen=True)
class Column:
    """A column of a table: what it is called, and what the database writes there."""

    name: str
    expression: Any
    ours: bool = False
    """Whether it is ours to say, so that no file brings it in; a table has such columns when asked."""
    prefix: str | None = None
    """What the ids in it begin with; empty where the database writes that too."""


def plain(name: str, source: Any = "", *, ours: bool = False) -> Column:
    """Return a column of amounts, dates or words of ours, which are written as they are."""
    return Column(name, _read(name, source), ours)


def text(name: str, source: Any = "", *, ours: bool = False) -> Column:
    """Return a column of somebody's text."""
    return Column(name, Marked(_read(name, source)), ours)


def moment(name: str, path: str = "", *, ours: bool = True) -> Column:
    """Return a column of moments."""
    return Column(name, Moment(F(path or name)), ours)


def identity(name: str, prefix: Any, path: str = "", *, ours: bool = True) -> Column:
    """Return a column of our ids, of one kind or of the kind that an expression tells; ids stand before all others."""
    key = F(path or name)
    if isinstance(prefix, str):
        return Column(name, key, ours, prefix)
    return Column(name, Named(prefix, key), ours, "")


def _read(name: str, source: Any) -> Any:
    return F(source or name) if isinstance(source, str) else source


@dataclass(frozen=True)
class Table:
    """What a list looks like as a table."""

    name: str
    columns: tuple[Column, ...]
    has_metadata: bool = True

    @property
    def names(self) -> list[str]:
        """What may be asked for, for people."""
        return [*(column.name for column in self.columns), *([METADATA] if self.has_metadata else [])]

    def chosen(self, asked: str | None) -> tuple[list[Column], list[str] | None]:
        """Return the columns that are asked for, in their own order, and the keys of metadata; None means all of them.

        Raises:
            Problem: 400 `invalid_parameter`.
        """
        every_key: list[str] | None = None if self.has_metadata else []
        if asked is None or asked == EVERYTHING:
            return [column for column in self.columns if asked or not column.ours], every_key
        names = [*dict.fromkeys(asked.split(","))]
        keys = [name.removeprefix(f"{METADATA}.") for name in names if name.startswith(f"{METADATA}.")]
        known = {*self.names, *(f"{METADATA}.{key}" for key in keys if self.has_metadata and len(key) <= _KEY_LENGTH)}
        if strange := [name for name in names if name not in known or name == f"{METADATA}."]:
            detail = f"There is no column “{strange[0]}”. There are {', '.join(self.names)}; all are “{EVERYTHING}”."
            raise invalid_parameter("columns", detail)
        if len(keys) > MOST_KEYS:
            raise invalid_parameter("columns", f"At most {MOST_KEYS} keys of metadata have a column.")
        return [column for column in self.columns if column.name in names], None if METADATA in names else keys


@dataclass
class Export:
    """The rows of one biller that were asked for, as a table; made once, read once."""

    table: Table
    queryset: QuerySet
    sort: Sort | None = None
    columns: str | None = None
    counting: bool = False
    """Whether `total` is to be known before the first row."""
    header: list[str] = field(init=False, default_factory=list)
    written: int = field(init=False, default=0)
    total: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.chosen, self.keys = self.table.chosen(self.columns)

    def chunks(self) -> Iterator[bytes]:
        """Yield the table as UTF-8, some 64 kB at a time.

        It is read over a connection of its own, which ends with it: whoever goes away half-way leaves nothing open,
        and it does not matter which thread of a server asks for the next chunk.

        Raises:
            Problem: 400 `invalid_parameter`, before the first chunk: there are more keys of metadata than columns.
        """
        with _own_connection() as own:
            reading = _Reading(own)
            if self.counting:
                self.total = reading.count(self.queryset.order_by().values("pk"))
                is_few = self.total <= _FEW
            else:
                is_few = reading.count(self.queryset.order_by().values("pk")[: _FEW + 1]) <= _FEW
            if self.keys is None:
                self.keys = reading.keys(self.queryset)
                if len(self.keys) > MOST_KEYS:
                    detail = f"These rows hold more than {MOST_KEYS} keys of metadata: name those to tell."
                    raise invalid_parameter("columns", detail)
            self.header = [*(column.name for column in self.chosen), *(f"{METADATA}.{key}" for key in self.keys)]
            if not is_few:
                reading.ask(_OF_MANY)
            yield from self._joined(reading.copied(self._rows(is_few=is_few)))

    def _rows(self, *, is_few: bool) -> Any:
        rows: Any = self.queryset.with_parents() if is_few else self.queryset.all()  # type: ignore[attr-defined]
        if self.sort is None:
            rows = rows.order_by()
        else:
            last = {"nulls_last": True} if self.sort.nullable else {}
            order = [(F(self.sort.field), last), (F("pk"), {})]
            rows = rows.order_by(*(one.desc(**end) if self.sort.descending else one.asc(**end) for one, end in order))
        told = [column.expression for column in self.chosen]
        told += [Marked(KeyTextTransform(key, METADATA)) for key in self.keys or ()]
        # Called by their place: by its own name a column could be taken for the field of that name.
        called = {f"told_{place}": expression for place, expression in enumerate(told)}
        return rows.annotate(**called).values_list(*called)

    def _joined(self, lines: Iterator[Any]) -> Iterator[bytes]:
        ready = [header_line(self.header).encode()]
        size = 0
        prefixes = [column.prefix for column in self.chosen if column.prefix is not None]
        for line in lines:
            self.written += 1
            told = _with_ids(bytes(line), prefixes) if prefixes else bytes(line)
            ready.append(told)
            size += len(told)
            if size >= _CHUNK:
                yield b"".join(ready)
                ready.clear()
                size = 0
        yield b"".join(ready)


def _with_ids(line: bytes, prefixes: Sequence[str]) -> bytes:
    """Return a line whose first cells are ids as callers know them; such cells hold nothing that could be quoted."""
    cells = line[:-1].split(b",", len(prefixes))
    for place, prefix in enumerate(prefixes):
        if key := cells[place]:
            told = prefix or key[: -_UUID_LENGTH - 1].decode()
            number = int(key[-_UUID_LENGTH:].replace(b"-", b""), 16)
            cells[place] = encode_number(told, number).encode()
    return b",".join(cells) + b"\n"


@contextmanager
def _own_connection() -> Generator[Any]:
    own = connection.copy()
    own.inc_thread_sharing()
    try:
        yield own
    finally:
        own.close()


class _Reading:
    """One read-only transaction: all of its statements see one moment."""

    def __init__(self, own: Any) -> None:
        self.own = own
        self.cursor = own.cursor()
        self.cursor.execute(_BEGIN)
        timeouts = [f"{settings.EXPORT_TIMEOUT_SECONDS}s", f"{settings.LOCK_WAIT_SECONDS}s"]
        self.cursor.execute(_AS_EXPORT, timeouts)

    def ask(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement of few rows."""
        self.cursor.execute(statement, parameters)
        return list(self.cursor.fetchall())

    def count(self, rows: Any) -> int:
        """Return how many rows a query finds."""
        try:
            sql, parameters = self._composed(rows)
        except EmptyResultSet:
            return 0
        [(count,)] = self.ask(_COUNTED.format(sql), parameters)
        return int(count)

    def keys(self, rows: Any) -> list[str]:
        """Return which keys of metadata the rows hold, in their order; of too many, one more than there may be."""
        try:
            sql, parameters = self._composed(rows.order_by().exclude(metadata={}).values(METADATA))
        except EmptyResultSet:
            return []
        self.cursor.execute("SAVEPOINT looking")
        self.ask(_WITH_ALL_HANDS)
        [(first,)] = self.ask(_FIRST_KEYS.format(sql), parameters)
        others = self.ask(_OTHER_KEYS.format(sql), [*parameters, first, first, MOST_KEYS + 1])
        self.cursor.execute("ROLLBACK TO SAVEPOINT looking")
        return sorted({*first, *(key for (key,) in others)})

    def copied(self, rows: Any) -> Iterator[Any]:
        """Yield the lines that PostgreSQL writes of a query's rows, one at a time."""
        try:
            sql, parameters = self._composed(rows)
        except EmptyResultSet:
            return
        copy = f"COPY ({sql}) TO STDOUT (FORMAT csv)"
        # Django's cursor for debugging takes no parameters here.
        with self.own.wrap_database_errors, self.own.connection.cursor().copy(copy, parameters) as copying:
            yield from copying

    def _composed(self, rows: Any) -> tuple[str, Sequence[Any]]:
        sql, parameters = rows.query.get_compiler(connection=self.own).as_sql()
        return str(sql), parameters
