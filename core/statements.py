"""Hot statements, written once: the ORM composes the SQL at first use, later uses change the parameters alone.

Composing is most of what a small request costs. Nothing else of the ORM is passed by: models, signals, converters and
field preparation are as ever.
"""

from collections.abc import Callable, Sequence
from copy import copy
from datetime import date
from functools import cache
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.expressions import DatabaseDefault
from django.db.models.query import QuerySet
from django.db.utils import DEFAULT_DB_ALIAS

from core.ids import as_uuid
from core.money import AmountField, CurrencyField

Row = dict[str, Any]
Made = TypeVar("Made", bound=models.Model)


class Reading:
    """How the rows of a `values()` query become dictionaries: the ORM's own conversions, looked up once."""

    def __init__(self, compiler: Any) -> None:
        columns = [column for column, *_ in compiler.select]
        self.names = tuple(compiler.query.selected)
        self.conversions = [
            (self.names[place], _conversion(converters, column, compiler.connection))
            for place, (converters, column) in compiler.get_converters(columns).items()
        ]

    def rows(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """Run the query and return its rows."""
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(sql, parameters)
            rows = [dict(zip(self.names, row, strict=True)) for row in cursor.fetchall()]
        for name, convert in self.conversions:
            for row in rows:
                row[name] = convert(row[name])
        return rows


def _conversion(converters: Sequence[Any], column: Any, connection: Any) -> Callable[[Any], Any]:
    if len(converters) == 1 and (reader := getattr(getattr(column, "target", None), "reader", None)):
        return reader

    def convert(value: Any) -> Any:
        for converter in converters:
            value = converter(value, column, connection)
        return value

    return convert


def read(queryset: QuerySet[Any]) -> list[Row]:
    """Return the rows of a `values()` query of plain columns."""
    compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
    try:
        sql, parameters = compiler.as_sql()
    except EmptyResultSet:  # the conditions rule each other out, so there is nothing to ask
        return []
    return Reading(compiler).rows(sql, parameters)


class Prepared:
    """A query whose SQL is composed once.

    `build` makes it from samples of its arguments; wherever a sample stands among the parameters, that argument goes.
    An argument that is one of our ids may stand there as the id or as its UUID.
    """

    def __init__(self, build: Callable[..., QuerySet[Any]], *samples: str) -> None:
        self._queryset = build(*samples)
        self._compiler: Any = self._queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        self._sql, parameters = self._compiler.as_sql()
        self._conversions = self._compiler.get_converters([column for column, *_ in self._compiler.select])
        self._reading = Reading(self._compiler) if self._queryset.query.values_select else None
        places: dict[Any, tuple[int, bool]] = {sample: (index, False) for index, sample in enumerate(samples)}
        places |= {named: (index, True) for index, sample in enumerate(samples) if (named := as_uuid(sample))}
        self._slots = [places.get(parameter, parameter) for parameter in parameters]

    def rows(self, *arguments: str) -> list[Row]:
        """Return what a `values()` query finds with these arguments."""
        if self._reading is None:
            raise TypeError("This query is not of values().")
        return self._reading.rows(self._sql, self._parameters(arguments))

    def objects(self, *arguments: str) -> QuerySet[Any]:
        """Return the query with these arguments; it can be iterated, not refined."""
        parameters = self._parameters(arguments)
        compiler = copy(self._compiler)
        compiler.connection = connections[DEFAULT_DB_ALIAS]
        compiler.as_sql = lambda *_, **__: (self._sql, parameters)
        compiler.get_converters = lambda *_: self._conversions  # looked up once, too
        queryset = self._queryset.all()
        queryset.query.get_compiler = lambda *_, **__: compiler  # type: ignore[method-assign]
        return queryset

    def _parameters(self, arguments: Sequence[str]) -> tuple[Any, ...]:
        return tuple(
            slot if not isinstance(slot, tuple) else as_uuid(arguments[slot[0]]) if slot[1] else arguments[slot[0]]
            for slot in self._slots
        )


def made(model: type[Made], **given: Any) -> Made:
    """Return `model(**given)`, for less: every column has its place, so nothing is looked for but the parents."""
    values = [
        given.pop(name) if name in given else default() if is_maker else default
        for name, default, is_maker in _places(model)
    ]
    record = model(*values)
    for name, parent in given.items():
        setattr(record, model._meta.get_field(name).name, parent)
    return record


@cache
def _places(model: type[models.Model]) -> list[tuple[str, Any, bool]]:
    """Return each column's name and default, and whether the default is a function that makes one."""
    places: list[tuple[str, Any, bool]] = []
    for field in model._meta.concrete_fields:
        if field.generated:
            places.append((field.attname, models.DEFERRED, False))
        elif field.has_db_default() or callable(field.default):
            places.append((field.attname, field.get_default, True))
        else:
            places.append((field.attname, field.get_default(), False))
    return places


def insert(rows: Sequence[models.Model], returning: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Insert rows of one model in one statement; return these columns of each.

    Columns that the database fills are left to it, so all rows must leave it the same ones.
    """
    fields = _given(rows)
    statement = _insert_sql(rows[0]._meta.model, _columns(fields), len(rows), tuple(returning))
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(statement, _parameters(rows, fields))
        return cursor.fetchall() if returning else []


def copy_in(rows: Sequence[models.Model]) -> None:
    """Insert many rows of one model by COPY, for a third of what statements cost; nothing is read back of them."""
    fields = _given(rows)
    values, width = _parameters(rows, fields), len(fields)
    into = f"COPY {_quoted(rows[0]._meta.db_table)} ({_quoted(*_columns(fields))}) FROM STDIN"
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor, cursor.copy(into) as copying:
        for start in range(0, len(values), width):
            copying.write_row(values[start : start + width])
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def insert_family(records: Sequence[models.Model], *beside: Sequence[models.Model]) -> None:
    """Insert records, each a child of the one before, and lists of rows beside them, in one statement.

    What the database decides of a record is read back into it. Like every bulk path of Django's it sends no signals.
    """
    parts: list[_Part] = []
    parameters: list[Any] = []
    for rows in (*([record] for record in records), *beside):
        model, fields = rows[0]._meta.model, _given(rows)
        columns = _columns(fields)
        decided = _decided(model, columns) if len(parts) < len(records) else ()
        parts.append((model, columns, len(rows), decided))
        parameters += _parameters(rows, fields)
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(_family_sql(tuple(parts), len(records)), parameters)
        [row] = cursor.fetchall()
    values = iter(row)
    for record, (*_, decided) in zip(records, parts, strict=False):
        for name in decided:
            setattr(record, name, next(values))
        record._state.adding, record._state.db = False, DEFAULT_DB_ALIAS


_Part = tuple[type[models.Model], tuple[str, ...], int, tuple[str, ...]]
"""A model, the columns given of it, how many rows, and the columns read back."""


def _given(rows: Sequence[models.Model]) -> list[Any]:
    """Return the fields of rows that are not left to the database, nor empty until something happens to the row."""
    always, perhaps = _writable(rows[0]._meta.model)
    given = [field for field in perhaps if any(not _is_left(getattr(row, field.attname)) for row in rows)]
    return [*always, *given]


def _is_left(value: Any) -> bool:
    return value is None or isinstance(value, DatabaseDefault)


@cache
def _writable(model: type[models.Model]) -> tuple[list[Any], list[Any]]:
    """Return the fields that an INSERT always names, and those it names where they hold something."""
    fields = [field for field in model._meta.local_concrete_fields if not field.generated]
    perhaps = [field for field in fields if field.has_db_default() or (field.null and not field.editable)]
    return [field for field in fields if field not in perhaps], perhaps


@cache
def _decided(model: type[models.Model], given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        str(field.column)
        for field in model._meta.local_concrete_fields
        if field.column not in given and (field.generated or field.has_db_default())
    )


def _columns(fields: Sequence[Any]) -> tuple[str, ...]:
    return tuple(field.column for field in fields)


def _parameters(rows: Sequence[models.Model], fields: Sequence[Any]) -> list[Any]:
    connection = connections[DEFAULT_DB_ALIAS]
    parameters = []
    for row in rows:
        for field in fields:
            value = field.pre_save(row, add=True)
            # Most values are what the driver takes; the field is asked about the others.
            if value is not None and type(value) is not _PLAIN.get(type(field)):
                value = field.get_db_prep_save(value, connection)
            parameters.append(value)
    return parameters


_PLAIN: dict[type, type] = {
    models.CharField: str,
    models.EmailField: str,
    CurrencyField: str,
    models.BigIntegerField: int,
    AmountField: int,
    models.DateField: date,
}


@cache
def _insert_sql(model: type[models.Model], columns: tuple[str, ...], count: int, returning: tuple[str, ...]) -> str:
    row = f"({', '.join(['%s'] * len(columns))})"
    return _inserting(model, columns, f"VALUES {', '.join([row] * count)}", returning)


@cache
def _family_sql(parts: tuple[_Part, ...], records: int) -> str:
    """Return the statement of `insert_family`.

    Each record is selected from the one before, which makes the parent's insert come first: two of these that meet
    over a reference wait for each other in one order.
    """
    inserts = []
    for place, (model, columns, count, returning) in enumerate(parts):
        if 0 < place < records:
            chosen = f"SELECT {', '.join(['%s'] * len(columns))} FROM part{place - 1}"  # noqa: S608
            sql = _inserting(model, columns, chosen, returning)
        else:
            sql = _insert_sql(model, columns, count, returning)
        inserts.append(f"part{place} AS ({sql})")
    return f"WITH {', '.join(inserts)} SELECT * FROM {', '.join(f'part{place}' for place in range(records))}"  # noqa: S608


def _inserting(model: type[models.Model], columns: tuple[str, ...], source: str, returning: tuple[str, ...]) -> str:
    sql = f"INSERT INTO {_quoted(model._meta.db_table)} ({_quoted(*columns)}) {source}"
    return f"{sql} RETURNING {_quoted(*returning)}" if returning else sql


@cache
def update_sql(model: type[models.Model], columns: tuple[str, ...], returning: tuple[str, ...]) -> str:
    """Return the statement that sets these columns of one row, found by biller and id."""
    assignments = ", ".join(f"{_quoted(column)} = %s" for column in columns)
    sql = f"UPDATE {_quoted(model._meta.db_table)} SET {assignments} WHERE biller_id = %s AND id = %s"  # noqa: S608
    return f"{sql} RETURNING {_quoted(*returning)}"


def _quoted(*names: str) -> str:
    return ", ".join(f'"{name}"' for name in names)
