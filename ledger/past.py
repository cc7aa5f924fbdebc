"""How records stood at a moment: their amount is the total of the last ledger entry by then.

What an amount was measured in or against (a currency, an amount due) is read from the audit trail, which keeps every
state of a row; all other fields are told as they are now.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import F, OuterRef, Subquery

from core.statements import Row
from ledger.models import Entry

TOTAL, BESIDE = "total_then", "beside_then"


def standing(rows: Any, answer: Any, expanded: Sequence[str], moment: datetime) -> tuple[Any, list[str]]:
    """Return rows to be read with what they and these parents stood at, and the names of those columns."""
    kinds = {"": (rows.model, answer)} | {
        parent: (rows.model._meta.get_field(parent).related_model, answer.parents[parent]) for parent in expanded
    }
    columns: dict[str, Subquery] = {}
    for parent, (model, told) in kinds.items():
        key = OuterRef(f"{parent}_id" if parent else "pk")
        columns[_named(parent, TOTAL)] = _total(key, moment)
        columns[_named(parent, BESIDE)] = _beside(model, told.beside, key, moment)
    return rows.annotate(**columns), list(columns)


def turned_back(row: Row, answer: Any, expanded: Sequence[str], moment: datetime) -> Row:
    """Return a row of `standing` as it stood."""
    then = {**row, **answer.then(row, row[TOTAL], row[BESIDE], moment)}
    for parent in expanded:
        kind = answer.parents[parent]
        own = {column: row[f"{parent}__{column}"] for column in kind.columns}
        changed = kind.then(own, row[_named(parent, TOTAL)], row[_named(parent, BESIDE)], moment)
        then |= {f"{parent}__{column}": value for column, value in changed.items()}
    return then


def _named(parent: str, column: str) -> str:
    return f"{parent}_{column}" if parent else column


def _total(key: OuterRef, moment: datetime) -> Subquery:
    by_then = Entry.objects.filter(biller_id=OuterRef("biller_id"), obligation_id=key, created_at__lte=moment)
    return Subquery(by_then.order_by("-sequence").values("total")[:1])


def _beside(model: Any, column: str, key: OuterRef, moment: datetime) -> Subquery:
    history: Any = apps.get_model(model._meta.app_label, f"{model.__name__}History")._default_manager
    by_then = history.filter(biller_id=OuterRef("biller_id"), id=key, pgh_created_at__lte=moment)
    # The sum keeps the planner from walking the trail of all rows backwards.
    return Subquery(by_then.order_by((F("pgh_id") + 0).desc()).values(column)[:1])
