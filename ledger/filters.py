"""What the ledger can be asked for."""

from uuid import UUID

import django_filters
from django.db.models import QuerySet

from api.filters import AsOfFilter, ListFilter, MomentFilter
from core.ids import decode
from ledger.models import PREFIXES, Kind


def obligation_named(key: str) -> UUID | None:
    """Return the UUID of the obligation that one of our ids names, or None when it is no such id."""
    return next((found for prefix in PREFIXES.values() if (found := decode(prefix, key))), None)


class ObligationFilter(django_filters.CharFilter):
    """Matches an obligation by our id."""

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        named = obligation_named(value)
        return qs.none() if named is None else qs.filter(obligation_id=named)


class PaymentFilter(django_filters.CharFilter):
    """Matches a payment by our id."""

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        return qs.none() if decode("pay", value) is None else qs.filter(payment_id=value)


class EntryFilter(ListFilter):
    """Entries by obligation, kind, payment and time."""

    obligation = ObligationFilter(strip=False)
    kind = django_filters.ChoiceFilter(choices=Kind.choices)
    payment = PaymentFilter(strip=False)
    created_at_gte = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_at_lte = MomentFilter(field_name="created_at", lookup_expr="lte")
    as_of = AsOfFilter()
