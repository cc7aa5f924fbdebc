"""How staff read what was told outward."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from billers.staff import ReadOnlyAdmin
from events.models import Event


class NumberedFilter(DropdownFilter):
    """Events that wait for their number, or those that have it: each has the index its order needs."""

    title = "sequence"
    parameter_name = "numbered"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Not picked up yet"), ("yes", "Picked up")]

    def value(self) -> str:
        return super().value() or "no"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(sequence__isnull=self.value() == "no")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The outbox."""

    list_display = ("created_at", "type", "about", "sequence")
    list_filter = (NumberedFilter,)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": (("type", "about"), "body_shown")}),
        ("Record", {"fields": (("id", "sequence"), "created_at")}),
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-sequence",) if request.GET.get("numbered") == "yes" else ("-position",)

    @display(description="about")
    def about(self, event: Event) -> str:
        return str(event.body.get("external_reference") or event.body.get("id", ""))

    @display(description="body")
    def body_shown(self, event: Event) -> str:
        return format_html(
            '<pre class="whitespace-pre-wrap">{}</pre>', json.dumps(event.body, indent=2, ensure_ascii=False)
        )
