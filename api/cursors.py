"""Pages by position, not by number: stable under inserts, and as fast on the thousandth page as on the first."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import models
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

from api.problems import invalid_parameter
from core.ids import decode
from core.statements import Row, read

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True)
class Sort:
    """An order of a list: a field, its direction, and rows without a value last."""

    field: str
    descending: bool = False
    nullable: bool = False

    @property
    def name(self) -> str:
        """How `sort=` calls it."""
        return f"-{self.field}" if self.descending else self.field


@dataclass(frozen=True)
class Position:
    """The row a page starts after, or ends before."""

    value: Any
    pk: str
    backwards: bool = False


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and the cursors of its neighbours."""

    rows: list[Row]
    next_cursor: str | None
    previous_cursor: str | None


def page(queryset: models.QuerySet, columns: Sequence[str], sort: Sort, limit: int, cursor: str | None) -> Page:
    """Return one page of the rows, in one statement (two where it runs into the rows without a value)."""
    position = None if cursor is None else read_cursor(cursor, sort, queryset.model)
    backwards = position is not None and position.backwards
    rows = _rows_from(queryset, columns, sort, position, limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    if backwards:
        rows.reverse()
    has_next = bool(rows) and (backwards or more)
    has_previous = bool(rows) and (more if backwards else position is not None)
    return Page(
        rows,
        write_cursor(sort, rows[-1], backwards=False) if has_next else None,
        write_cursor(sort, rows[0], backwards=True) if has_previous else None,
    )


def _rows_from(
    queryset: models.QuerySet, columns: Sequence[str], sort: Sort, position: Position | None, count: int
) -> list[Row]:
    backwards = position is not None and position.backwards
    rows: list[Row] = []
    for without_value in _segments(sort, position):
        part: Any = queryset.filter(**{f"{sort.field}__isnull": without_value}) if sort.nullable else queryset
        part = _ordered(part, sort, without_value=without_value, backwards=backwards)
        if position is not None and (position.value is None) == without_value:
            part = _beyond(part, sort, position)
        rows += read(part.with_parents().values(*columns)[: count - len(rows)])
        if len(rows) >= count:
            break
    return rows


def _segments(sort: Sort, position: Position | None) -> list[bool]:
    """Return which parts of the list are ahead: rows with a value (False), then those without (True)."""
    if not sort.nullable:
        return [False]
    if position is None:
        return [False, True]
    if position.backwards:
        return [True, False] if position.value is None else [False]
    return [True] if position.value is None else [False, True]


def _ordered(queryset: models.QuerySet, sort: Sort, *, without_value: bool, backwards: bool) -> models.QuerySet:
    sign = "-" if sort.descending != backwards else ""
    return queryset.order_by(f"{sign}pk") if without_value else queryset.order_by(f"{sign}{sort.field}", f"{sign}pk")


def _beyond(queryset: models.QuerySet, sort: Sort, position: Position) -> models.QuerySet:
    down = sort.descending != position.backwards
    if position.value is None:
        return queryset.filter(**{"pk__lt" if down else "pk__gt": position.pk})
    compare = TupleLessThan if down else TupleGreaterThan
    return queryset.filter(compare(Tuple(models.F(sort.field), models.F("pk")), (position.value, position.pk)))


def write_cursor(sort: Sort, row: Row, *, backwards: bool) -> str:
    """Return the cursor that names a row's place in an order."""
    value = row[sort.field]
    if isinstance(value, datetime | date):
        value = value.isoformat()
    told = json.dumps([sort.name, value, row["id"], int(backwards)], ensure_ascii=False)
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def read_cursor(cursor: str, sort: Sort, model: type[models.Model]) -> Position:
    """Return the place that a cursor names.

    Raises:
        Problem: 400 `invalid_cursor`.
    """
    try:
        told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        name, value, pk, backwards = told
        fits = name == sort.name and backwards in (0, 1) and decode(model._meta.pk.prefix, pk) is not None  # type: ignore[attr-defined]
        if not fits:
            raise TypeError  # noqa: TRY301 one answer to everything that is wrong with a cursor
        return Position(_value(model._meta.get_field(sort.field), value, sort), pk, bool(backwards))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise invalid_parameter("cursor", "This cursor is not one of this list and order.", "invalid_cursor") from None


def _value(field: Any, value: Any, sort: Sort) -> Any:
    if value is None:
        if not sort.nullable:
            raise ValueError
        return None
    if isinstance(field, models.DateTimeField):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment
    if isinstance(field, models.DateField):
        return date.fromisoformat(value)
    if isinstance(field, models.BigIntegerField):
        fits = type(value) is int and abs(value) < 1 << 63
    else:
        # Half a surrogate pair cannot be encoded: a ValueError too.
        fits = isinstance(value, str) and b"\0" not in value.encode()
    if not fits:
        raise ValueError
    return value
