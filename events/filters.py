"""What deliveries and endpoints can be asked for."""

import django_filters
from django.db.models import QuerySet

from api.filters import FlagFilter, ListFilter, MomentFilter
from core.ids import decode
from events.models import State


class IdFilter(django_filters.CharFilter):
    """Matches one of our ids exactly; what can be none matches nothing."""

    def __init__(self, prefix: str, **options: object) -> None:
        self.prefix = prefix
        super().__init__(strip=False, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        return qs.none() if decode(self.prefix, value) is None else qs.filter(**{self.field_name: value})


class EndpointFilter(ListFilter):
    """Endpoints by whether they are enabled."""

    enabled = FlagFilter()


class DeliveryFilter(ListFilter):
    """Deliveries by endpoint, event, state and time."""

    endpoint = IdFilter("whe", field_name="endpoint_id")
    event = IdFilter("evt", field_name="event__id")
    state = django_filters.ChoiceFilter(choices=State.choices)
    created_at_gte = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_at_lte = MomentFilter(field_name="created_at", lookup_expr="lte")
