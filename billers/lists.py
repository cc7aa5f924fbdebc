"""Lists that cost the same at fifty rows and at five million."""

import json
import math
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

COUNTED = 1_000
"""How many rows are counted; of more, the planner's estimate is shown."""

REACHED = 10_000
"""How far pages go: who looks for something further down searches or filters."""


class EstimatedPaginator(Paginator):
    """Never counts a table: exact up to a thousand rows, and the planner's estimate beyond."""

    template_name = "console/pagination.html"

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        rows = rows.order_by()
        counted: int = rows[: COUNTED + 1].count()
        if counted <= COUNTED:
            return counted
        plan = json.loads(rows.explain(format="json"))
        return max(COUNTED + 1, int(plan[0]["Plan"]["Plan Rows"]))

    @cached_property
    def num_pages(self) -> int:
        return min(math.ceil(max(1, self.count) / self.per_page), REACHED // self.per_page)

    @property
    def is_estimate(self) -> bool:
        """Whether the count is the planner's."""
        return self.count > COUNTED


class IndexedChangeList(ChangeList):
    """A list in an order that an index has: one column, then the id in the same direction."""

    def get_ordering_field(self, field_name: Any) -> Any:
        sortable = self.sortable_by is None or field_name in self.sortable_by
        return super().get_ordering_field(field_name) if sortable else None

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        first = super().get_ordering(request, queryset)[0]
        descends = first.startswith("-") if isinstance(first, str) else first.descending
        return [first] if first in ("pk", "-pk", "id", "-id") else [first, "-id" if descends else "id"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # There is no total of the table to compare with.
        self.full_result_count = self.result_count
        self.result_list: list[Any] = self.model_admin.prepared(list(self.result_list))
