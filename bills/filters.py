"""What the list of bills can be asked for."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from api.filters import AmountFilter, AsOfFilter, DayFilter, FlagFilter, ParentFilter, RecordFilter, SearchFilter
from bills.models import Status


class StatusFilter(django_filters.ChoiceFilter):
    """Matches a status, in upper or lower case."""

    def __init__(self, **options: Any) -> None:
        known = [(case(status), status) for status in Status.values for case in (str.upper, str.lower)]
        super().__init__(choices=known, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        return super().filter(qs, value.upper() if value else value)


class BillFilter(RecordFilter):
    """Bills by reference, owner, status, currency, amount, date, text and time."""

    status = StatusFilter()
    customer = ParentFilter("bcus")
    account = ParentFilter("bacc")
    overdue = FlagFilter(method="narrow_to_overdue")
    search = SearchFilter("external_reference")
    amount_due_gte = AmountFilter(field_name="amount_due", lookup_expr="gte")
    amount_due_lte = AmountFilter(field_name="amount_due", lookup_expr="lte")
    amount_paid_gte = AmountFilter(field_name="amount_paid", lookup_expr="gte")
    amount_paid_lte = AmountFilter(field_name="amount_paid", lookup_expr="lte")
    due_date_gte = DayFilter(field_name="due_date", lookup_expr="gte")
    due_date_lte = DayFilter(field_name="due_date", lookup_expr="lte")
    bill_date_gte = DayFilter(field_name="bill_date", lookup_expr="gte")
    bill_date_lte = DayFilter(field_name="bill_date", lookup_expr="lte")
    as_of = AsOfFilter("status", "overdue", "amount_due_gte", "amount_due_lte", "amount_paid_gte", "amount_paid_lte")

    def narrow_to_overdue(self, queryset: Any, name: str, value: bool) -> QuerySet:
        """Return the bills that are overdue today, or those that are not."""
        today = self.request.biller.today()
        return queryset.overdue(today) if value else queryset.not_overdue(today)
