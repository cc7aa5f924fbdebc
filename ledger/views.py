"""How callers read the ledger, and records as it says that they stood."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from django.utils import timezone

from api.answers import RecordAnswer
from api.moments import moment_of
from api.operations import AS_OF, RETRIEVE
from api.views import ListViewSet, RecordViewSet
from core.statements import Row, read
from ledger.filters import EntryFilter
from ledger.models import Entry
from ledger.past import standing, turned_back
from ledger.serializers import EntryAnswer
from ledger.tables import ENTRIES


class EntryViewSet(ListViewSet):
    """Every change of an amount, by whom and why."""

    queryset = Entry.objects.all()
    answer = EntryAnswer
    filters = EntryFilter
    table = ENTRIES


class LedgerRecordViewSet(RecordViewSet):
    """Customers, accounts and bills: `as_of` asks how they stood."""

    answer: ClassVar[type[RecordAnswer]]
    asked_of_one = ("as_of",)
    of_pages = (*RecordViewSet.of_pages, "as_of")
    operations = {"retrieve": replace(RETRIEVE, parameters=[AS_OF])}

    @cached_property
    def as_of(self) -> datetime | None:
        """The moment that the request asks about; None is now."""
        text = self.request.query_params.get("as_of")
        return None if text is None else moment_of("as_of", text, self.biller.timezone)

    def reading(self, rows: Any, expanded: Sequence[str]) -> tuple[Any, Sequence[str]]:
        rows, columns = super().reading(rows, expanded)
        if self.as_of is None:
            return rows, columns
        rows, then = standing(rows, self.answer, expanded, self.as_of)
        return rows, [*columns, *then]

    def found(self, key: str, expanded: Sequence[str]) -> Sequence[Row]:
        if self.as_of is None:
            return super().found(key, expanded)
        rows, columns = self.reading(self.rows().filter(created_at__lte=self.as_of), expanded)
        return read(rows.named(key).with_parents().values(*columns, "version")[:1])

    def told(self, rows: Sequence[Row], expanded: Sequence[str]) -> list[Row]:
        if self.as_of is None:
            return super().told(rows, expanded)
        today = self.biller.today(min(self.as_of, timezone.now()))
        then = [turned_back(row, self.answer, expanded, self.as_of) for row in rows]
        return [self.answer.told_with(row, expanded, self.biller, today) for row in then]
