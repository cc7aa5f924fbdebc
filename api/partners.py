"""How channel partners ask: the base of their doors, and the billers they collect for."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from rest_framework import serializers

from api.answers import PartnerAnswer
from api.authentication import caller_of
from api.views import Door, Listing
from billers.models import Biller, Partner, currencies_of
from core.statements import Row


class PartnerViewSet(Door):
    """A door of the partner API: the caller's key says which partner."""

    callers = Partner
    answer: ClassVar[type[PartnerAnswer]]

    @property
    def partner(self) -> Partner:
        """The partner whose key the request carries."""
        return cast("Partner", caller_of(self.request).owner)

    def told(self, rows: Sequence[Row], expanded: Sequence[str]) -> list[Row]:
        """Return the JSON objects of rows; nothing is expanded for a partner."""
        return [self.answer.told(row) for row in rows]


class PartnerListViewSet(PartnerViewSet, Listing):
    """Lists of what one partner may see."""


class BillerAnswer(PartnerAnswer):
    """A biller that the partner may collect for."""

    reference = serializers.CharField(max_length=64, help_text="What the other calls name the biller by.")
    name = serializers.CharField(max_length=255)
    country = serializers.CharField(max_length=2, allow_null=True, help_text="ISO 3166-1, two letters.")
    currencies = serializers.ListField(
        child=serializers.CharField(max_length=3), help_text="ISO 4217; those the biller declares, its usual one first."
    )

    columns = ("id", "reference", "name", "country", "default_currency", "amount_limits")

    @classmethod
    def told(cls, row: Row) -> Row:
        return {
            "reference": row["reference"],
            "name": row["name"],
            "country": row["country"],
            "currencies": currencies_of(row["default_currency"], row["amount_limits"]),
        }


class BillerViewSet(PartnerListViewSet):
    """The billers that a partner is enabled for."""

    answer = BillerAnswer
    sorts = {"reference": False, "name": False}
    first_sort = "reference"

    def rows(self) -> Any:
        """Return the billers the partner may collect for now."""
        return Biller.objects.collected_by(self.partner)
