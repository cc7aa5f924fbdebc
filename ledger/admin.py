"""How staff read the ledger."""

from collections import defaultdict
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from billers.staff import ReadOnlyAdmin, chosen_biller, link_to
from core.ids import decode
from ledger.exported import ExportedAdmin
from ledger.forms import shown
from ledger.models import PREFIXES, Entry, Kind, Obligation
from ledger.tables import ENTRIES


def obligation_models() -> dict[str, type[Obligation]]:
    """Return the models of what can be paid, by kind; the ledger knows none of them by name."""
    return {model.kind: model for model in Obligation.__subclasses__()}


def _currency(entry: Entry) -> str | None:
    return getattr(entry.subject, "currency", None)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin, ExportedAdmin):
    """The ledger: every change of an amount, by whom and why. Nobody changes it."""

    exported = ENTRIES
    narrowing = ("obligation_id", "payment_id")
    list_display = ("created_at", "obligation_shown", "kind_shown", "amount_shown", "total_shown", "actor", "reason")
    list_display_links = ("created_at",)
    list_filter = (("kind", ChoicesDropdownFilter),)
    sortable_by = ("created_at",)
    search_fields = ("id",)
    search_help_text = "An exact reference of a customer, account or bill, or an id"
    fieldsets = (
        (None, {"fields": (("obligation_shown", "kind_shown"), ("amount_shown", "total_shown"), ("actor", "reason"))}),
        ("Record", {"fields": (("id", "sequence"), "created_at")}),
    )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if decode("ent", term):
            return queryset.filter(pk=term), False
        keys = [key for prefix in PREFIXES.values() if (key := decode(prefix, term))]
        if not keys and (biller := chosen_biller(request)):
            for kind, model in obligation_models().items():
                named = model._default_manager.filter(biller_id=biller.pk, external_reference=term)
                keys += [key for pk in named.values_list("pk", flat=True) if (key := decode(PREFIXES[kind], pk))]
        return queryset.filter(obligation_id__in=keys), False

    def prepared(self, rows: list[Any]) -> list[Any]:
        """Bring each entry what it is about: one query for each kind, however many rows."""
        about: dict[str, list[Entry]] = defaultdict(list)
        for entry in rows:
            about[entry.obligation_kind].append(entry)
        for kind, model in obligation_models().items():
            if entries := about[kind]:
                same = model._default_manager.filter(biller_id__in={entry.biller_id for entry in entries})
                found = same.in_bulk({entry.obligation for entry in entries})
                for entry in entries:
                    entry.subject = found.get(entry.obligation)
        return rows

    @display(description="of")
    def obligation_shown(self, entry: Entry) -> str:
        return link_to(entry.subject, f"{entry.obligation_kind} {entry.subject}") if entry.subject else entry.obligation

    @display(description="kind")
    def kind_shown(self, entry: Entry) -> str:
        """Return why the amount changed, with the way to the payment that an entry is of."""
        told = Kind(entry.kind).label
        if not entry.payment_id:
            return told
        # The ledger does not know the model of payments, which stands above it.
        page = reverse("admin:payments_payment_change", args=[quote(entry.payment_id)])
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', page, told)

    @display(description="change")
    def amount_shown(self, entry: Entry) -> str:
        return shown(entry.amount, _currency(entry))

    @display(description="amount after it")
    def total_shown(self, entry: Entry) -> str:
        return shown(entry.total, _currency(entry))
