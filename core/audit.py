"""The audit trail: the database copies every change of a tracked row, with who made it, whichever path made it."""

from collections.abc import Callable
from typing import Any

import pghistory
import pgtrigger
from django.db import models
from pghistory.models import Event


class History(Event):
    """A copy of a row as one change left it, with the context of that change; never altered."""

    pgh_id = models.BigAutoField(primary_key=True)

    class Meta:
        abstract = True


def audited(*key: str, model_name: str, exclude: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Track inserts, changes and removals of a model, one trigger a statement, bulk and SQL paths included.

    The history of one row is found by the columns of `key`.
    """
    return pghistory.track(
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        level=pgtrigger.Statement,
        base_model=History,
        context_field=pghistory.ContextJSONField(),
        obj_field=None,
        exclude=list(exclude) or None,
        model_name=model_name,
        meta={"indexes": [models.Index(fields=key, name=f"{model_name.lower()}_of")]},
    )
