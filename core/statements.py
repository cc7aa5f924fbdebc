"""Hot statements, written once: the ORM composes the SQL at first use, later uses change the parameters alone.

Composing is most of what a small request costs. Nothing else of the ORM is passed by: models, signals, converters and
field preparation are as ever.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, models
from django.db.models.expressions import DatabaseDefault
from django.db.models.query import QuerySet
from django.db.utils import DEFAULT_DB_ALIAS

from core.ids import as_uuid

Row = dict[str, Any]


class Reading:
    """How the rows of a `values()` query become dictionaries: the ORM's own conversions, looked up once."""

    def __init__(self, compiler: Any) -> None:
        columns = [column for column, *_ in compiler.select]
        self.names = tuple(compiler.query.values_select)
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
    if len(converters) == 1 and (reader := getattr(column.target, "reader", None)):
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
        queryset = self._queryset.all()
        queryset.query.get_compiler = lambda *_, **__: compiler  # type: ignore[method-assign]
        return queryset

    def _parameters(self, arguments: Sequence[str]) -> tuple[Any, ...]:
        return tuple(
            slot if not isinstance(slot, tuple) else as_uuid(arguments[slot[0]]) if slot[1] else arguments[slot[0]]
            for slot in self._slots
        )


def insert(rows: Sequence[models.Model], returning: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Insert rows of one model in one statement; return these columns of each.

    Columns that the database fills are left to it, so all rows must leave it the same ones.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    model = rows[0]._meta.model
    fields = [
        field
        for field in model._meta.local_concrete_fields
        if not field.generated and not isinstance(getattr(rows[0], field.attname), DatabaseDefault)
    ]
    parameters = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for row in rows for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(
            _insert_sql(model, tuple(field.column for field in fields), len(rows), tuple(returning)), parameters
        )
        return cursor.fetchall() if returning else []


@cache
def _insert_sql(model: type[models.Model], columns: tuple[str, ...], count: int, returning: tuple[str, ...]) -> str:
    row = f"({', '.join(['%s'] * len(columns))})"
    sql = f"INSERT INTO {_quoted(model._meta.db_table)} ({_quoted(*columns)}) VALUES {', '.join([row] * count)}"  # noqa: S608
    return f"{sql} RETURNING {_quoted(*returning)}" if returning else sql


@cache
def update_sql(model: type[models.Model], columns: tuple[str, ...], returning: tuple[str, ...]) -> str:
    """Return the statement that sets these columns of one row, found by biller and id."""
    assignments = ", ".join(f"{_quoted(column)} = %s" for column in columns)
    sql = f"UPDATE {_quoted(model._meta.db_table)} SET {assignments} WHERE biller_id = %s AND id = %s"  # noqa: S608
    return f"{sql} RETURNING {_quoted(*returning)}"


def _quoted(*names: str) -> str:
    return ", ".join(f'"{name}"' for name in names)
