"""How everything that can be paid and has no payer reference yet gets one: in chunks, each in an act of its own.

A chunk finds what has none when it looks, so a run that was interrupted is completed by the next, and one beside
requests that give some meanwhile passes those over.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from billers.acts import perform
from billers.models import Biller
from core.ids import uuid_of
from payments.collecting import KINDS
from payments.models import PayerReference

CHUNK = 5_000
"""How many payer references are made in one act."""

ACTOR = "command:make_payer_references"
_BEFORE_ALL = UUID(int=0)

Told = Callable[[str, int, int], None]
"""Is told how many there are of a kind, and how many of them have a payer reference."""


# OFFSET 0: each is looked up by its key, whatever the planner believes of a biller it has no statistics of.
_LACKING = {
    kind: f"""
        FROM {model._meta.db_table} AS held WHERE held.biller_id = %(biller)s AND held.id > %(after)s AND NOT EXISTS (
            SELECT FROM payments_payerreference AS given
            WHERE given.biller_id = %(biller)s AND given.{kind}_id = held.id OFFSET 0
        )
    """
    for kind, model in KINDS.items()
}


def give_to_all(biller: Biller, kinds: Iterable[str], told: Told = lambda *_: None) -> dict[str, int]:
    """Give all that have none their payer references; return how many were made of each kind."""
    made = {}
    for kind in kinds:
        wanted = _asked(f"SELECT count(*) {_LACKING[kind]}", biller)[0][0]
        made[kind], after = 0, _BEFORE_ALL
        told(kind, 0, wanted)
        while lacking := _asked(f"SELECT held.id {_LACKING[kind]} ORDER BY held.id LIMIT {CHUNK}", biller, after):
            keys = [key for (key,) in lacking]
            given = _given(biller, kind, keys)
            made[kind] += given
            # Those that met digits which are taken still have none: the next look begins with them.
            after = keys[-1] if given == len(keys) else after
            told(kind, made[kind], wanted)
    return made


def _given(biller: Biller, kind: str, keys: Sequence[UUID]) -> int:
    return perform(biller, ACTOR, lambda act: PayerReference.objects.give_each(act, kind, keys))


def _asked(statement: str, biller: Biller, after: UUID = _BEFORE_ALL) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"biller": uuid_of(biller.pk), "after": after})
        return list(cursor.fetchall())
