"""What the list of imports can be asked for."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from api.filters import FlagFilter, ListFilter, MomentFilter
from imports.models import HOLDS, Status


class ImportFilter(ListFilter):
    """Imports by kind, status, whether they are dry runs, and time."""

    kind = django_filters.ChoiceFilter(choices=[(name, name) for name in HOLDS])
    status = django_filters.ChoiceFilter(choices=Status.choices, method="narrow_to_status")
    dry_run = FlagFilter()
    created_at_gte = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_at_lte = MomentFilter(field_name="created_at", lookup_expr="lte")

    def narrow_to_status(self, queryset: Any, name: str, value: str) -> QuerySet:
        """Return the imports that have a status."""
        found: QuerySet = queryset.at(value)
        return found
