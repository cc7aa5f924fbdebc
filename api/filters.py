"""What lists can be asked for: typed filters, each named; an unknown or malformed one is an error."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import reduce
from operator import or_
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from api.moments import moment_of
from api.problems import Problem, invalid_parameter
from core.ids import decode
from core.money import MAX_AMOUNT, is_currency
from core.text import is_reference

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,15}\Z", re.ASCII)
_LONGEST_SEARCH = 100


class _DayField(forms.Field):
    def to_python(self, value: Any) -> date | None:
        if value in self.empty_values:
            return None
        try:
            return date.fromisoformat(value if _DATE.match(value) else "")
        except ValueError:
            raise forms.ValidationError("Send a date as YYYY-MM-DD.") from None


class _MomentField(forms.Field):
    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        # An unescaped + of a time zone arrives as a blank.
        text = value.replace(" ", "+") if "T" in value else value
        try:
            moment = parse_datetime(text) or (_DATE.match(text) and datetime.fromisoformat(text))
        except ValueError:
            moment = None
        if not moment:
            raise forms.ValidationError("Send a date or an ISO 8601 time, such as 2026-11-22T10:00:00Z.")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _AmountField(forms.Field):
    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        if not _INTEGER.match(value) or abs(int(value)) > MAX_AMOUNT:
            raise forms.ValidationError("Send a whole number of minor units.")
        return int(value)


class _CurrencyField(forms.Field):
    def to_python(self, value: Any) -> str | None:
        if value in self.empty_values:
            return None
        if not is_currency(value.upper()):
            raise forms.ValidationError("Send an ISO 4217 code, such as ZAR.")
        return str(value.upper())


class _FlagField(forms.Field):
    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        if value not in {"true", "false"}:
            raise forms.ValidationError("Send true or false.")
        return bool(value == "true")


class DayFilter(django_filters.Filter):
    """Compares a date."""

    field_class = _DayField


class MomentFilter(django_filters.Filter):
    """Compares a moment."""

    field_class = _MomentField


class AsOfFilter(django_filters.CharFilter):
    """Passes over what came after a moment, or after the end of a day in the biller's time zone."""

    def __init__(self, *now_only: str, **options: Any) -> None:
        self.now_only = now_only
        super().__init__(strip=False, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        for name in self.now_only:
            if name in self.parent.data:
                raise invalid_parameter(name, "This asks about now: it cannot stand beside as_of.")
        return qs.filter(created_at__lte=moment_of("as_of", value, self.parent.request.biller.timezone))


class AmountFilter(django_filters.Filter):
    """Compares an amount of minor units."""

    field_class = _AmountField


class CurrencyFilter(django_filters.Filter):
    """Matches a currency."""

    field_class = _CurrencyField


class FlagFilter(django_filters.Filter):
    """Matches true or false."""

    field_class = _FlagField


class ReferenceFilter(django_filters.CharFilter):
    """Matches an external reference exactly; one that can be none matches nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        return qs.filter(external_reference=value) if is_reference(value) else qs.none()


class ParentFilter(django_filters.CharFilter):
    """Matches a parent by our id or the biller's reference."""

    def __init__(self, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        super().__init__(strip=False, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        if not is_reference(value):
            return qs.none()
        by_reference = Q(**{f"{self.field_name}__external_reference": value})
        if decode(self.prefix, value) is None:
            return qs.filter(by_reference)
        return qs.filter(Q(**{f"{self.field_name}_id": value}) | by_reference)


class SearchFilter(django_filters.CharFilter):
    """Matches part of a text in any of these fields, upper or lower case, through their trigram index."""

    def __init__(self, *fields: str, **options: Any) -> None:
        self.fields = fields
        super().__init__(max_length=_LONGEST_SEARCH, strip=False, **options)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        if not value:
            return qs
        if not (value := value.strip()):
            return qs.none()
        return qs.filter(reduce(or_, (Q(**{f"{name}__icontains": value}) for name in self.fields)))


class ListFilter(django_filters.FilterSet):
    """The filters of a list; nothing is built for a request that asks for none."""

    @classmethod
    def narrowed(cls, queryset: QuerySet, asked: dict[str, str], context: Any) -> QuerySet:
        """Return the rows that were asked for.

        Raises:
            Problem: 400 `invalid_parameter`, with each malformed filter.
        """
        typed = {name: value for name, value in asked.items() if name in cls.base_filters}
        if not typed:
            return queryset
        filters = cls(typed, queryset, request=context)
        # An empty value would narrow nothing: whoever sends one means something else than the whole list.
        blank = {name: ["Give a value."] for name, value in typed.items() if not value}
        if errors := {**filters.errors, **blank}:
            raise malformed_filters(errors.items())
        return filters.qs

    @classmethod
    def known(cls) -> list[str]:
        """Return the names of the filters, for people."""
        return list(cls.base_filters)

    @classmethod
    def knows(cls, name: str) -> bool:
        """Tell whether this is a filter of the list."""
        return name in cls.base_filters


class RecordFilter(ListFilter):
    """The filters of every record."""

    external_reference = ReferenceFilter()
    currency = CurrencyFilter()
    created_at_gte = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_at_lte = MomentFilter(field_name="created_at", lookup_expr="lte")
    updated_at_gte = MomentFilter(field_name="updated_at", lookup_expr="gte")
    updated_at_lte = MomentFilter(field_name="updated_at", lookup_expr="lte")

    @classmethod
    def narrowed(cls, queryset: QuerySet, asked: dict[str, str], context: Any) -> QuerySet:
        metadata = {name.removeprefix("metadata."): asked[name] for name in asked if name.startswith("metadata.")}
        if metadata:
            queryset = queryset.filter(metadata__contains=metadata).exclude(metadata={})
        return super().narrowed(queryset, asked, context)

    @classmethod
    def known(cls) -> list[str]:
        return [*super().known(), "metadata.<key>"]

    @classmethod
    def knows(cls, name: str) -> bool:
        return super().knows(name) or (name.startswith("metadata.") and len(name) > len("metadata."))


def malformed_filters(errors: Iterable[tuple[str, Iterable[Any]]]) -> Problem:
    """Return the problem with every filter that cannot be read."""
    told = [
        {"pointer": "", "parameter": name, "code": "invalid_parameter", "detail": " ".join(map(str, sentences))}
        for name, sentences in errors
    ]
    return Problem(400, "invalid_parameter", f"{told[0]['parameter']}: {told[0]['detail']}", errors=told)
