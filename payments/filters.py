"""What the lists of payments can be asked for."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from api.filters import AmountFilter, CurrencyFilter, FlagFilter, ListFilter, MomentFilter, ReferenceFilter
from ledger.filters import obligation_named
from ledger.models import Entry
from payments.models import Method


class PaidFilter(ListFilter):
    """Payments by reference, method, currency, amount, time, and whether they were reversed."""

    external_reference = ReferenceFilter()
    method = django_filters.ChoiceFilter(choices=Method.choices)
    currency = CurrencyFilter()
    reversed = FlagFilter(method="narrow_to_reversed")
    amount_gte = AmountFilter(field_name="amount", lookup_expr="gte")
    amount_lte = AmountFilter(field_name="amount", lookup_expr="lte")
    created_at_gte = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_at_lte = MomentFilter(field_name="created_at", lookup_expr="lte")

    def narrow_to_reversed(self, queryset: Any, name: str, value: bool) -> QuerySet:
        """Return the payments that were reversed, or those that were not."""
        return queryset.undone() if value else queryset.standing()


class PaymentFilter(PaidFilter):
    """A biller's payments, also by who took them and what they paid."""

    partner = django_filters.CharFilter(field_name="partner__reference", strip=False)
    obligation = django_filters.CharFilter(method="narrow_to_obligation", strip=False)

    def narrow_to_obligation(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        """Return the payments that paid an obligation, by our id."""
        obligation_id = obligation_named(value)
        if obligation_id is None:
            return queryset.none()
        biller = self.request.biller
        paid = Entry.objects.for_biller(biller).filter(obligation_id=obligation_id, payment_id__isnull=False)
        return queryset.filter(pk__in=paid.values("payment_id"))


class PartnerPaymentFilter(PaidFilter):
    """A partner's payments, also by the biller they are for."""

    biller = django_filters.CharFilter(field_name="biller__reference", strip=False)
