"""The pages of what can be paid: its amount, what changed it, and what hangs on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib.admin.utils import display_for_field, display_for_value, label_for_field, lookup_field
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from billers.staff import link_to
from core.ids import PrefixedIdField, decode
from core.money import exponents
from ledger.exported import ExportedAdmin
from ledger.forms import shown
from ledger.models import Entry

TABLE_LENGTH = 10
RULES = "What is left open comes from the account, then the customer, then the biller."


@dataclass(frozen=True)
class Table:
    """The newest rows of another list that belong to the record shown, with the way to all of them."""

    model: type[models.Model]
    by: str
    columns: Sequence[str]
    empty: str
    newest: Sequence[str] = ("-created_at", "-id")
    addable: bool = True

    def of(self, record: Any, site: Any) -> dict[str, Any]:
        """Return what the record's page shows."""
        opts, page = self.model._meta, site.get_model_admin(self.model)
        key, rows = self.belonging(record)
        listed = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        found = page.prepared(list(rows.order_by(*self.newest).select_related(*page.joined)[: TABLE_LENGTH + 1]))
        return {
            "title": opts.verbose_name_plural,
            "table": {
                "headers": [label_for_field(name, self.model, page) for name in self.columns],
                "rows": [self._row(page, row) for row in found[:TABLE_LENGTH]],
            },
            "has_more": len(found) > TABLE_LENGTH,
            "all": f"{listed}?biller={record.biller_id}&{self.by}={key}",
            "add": self.addable and f"{listed}add/?biller={record.biller_id}&{record.kind}={record.pk}",
            "name": opts.verbose_name,
            "empty": self.empty,
        }

    def belonging(self, record: Any) -> tuple[Any, Any]:
        """Return the rows that belong to the record, and the key by which the list finds all of them."""
        named = isinstance(self.model._meta.get_field(self.by), PrefixedIdField)
        key = record.pk if named else decode(record._meta.pk.prefix, record.pk)
        return key, self.model._default_manager.filter(biller_id=record.biller_id, **{self.by: key})

    def _row(self, page: Any, row: models.Model) -> list[str]:
        first, *others = (_cell(page, name, row) for name in self.columns)
        return [link_to(row, first), *others]


def _cell(page: Any, name: str, row: models.Model) -> str:
    """Return a cell as the list of its model shows it."""
    field, shown_by, value = lookup_field(name, row, page)
    if field is not None:
        return str(display_for_field(value, field, ""))
    if label := getattr(shown_by, "label", {}).get(value):
        return render_to_string("unfold/helpers/label.html", {"text": value, "type": label})
    return str(display_for_value(value, ""))


LEDGER = Table(
    Entry,
    "obligation_id",
    ("created_at", "kind_shown", "amount_shown", "total_shown", "actor", "reason"),
    "No ledger entries: its amount has never changed.",
    newest=("-sequence",),
    addable=False,
)


class CurrencyFilter(DropdownFilter):
    """Rows in one currency."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in sorted(exponents())]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(currency=self.value()) if self.value() else queryset


class ObligationAdmin(ExportedAdmin):
    """What can be paid, with the ledger under its amount."""

    change_form_outer_after_template = "console/tables.html"
    list_filter: ClassVar[Any] = (CurrencyFilter,)
    about: tuple[Any, ...]
    about_new: tuple[Any, ...]
    money: tuple[Any, ...] = (("currency", "balance"), "reason")
    money_new: tuple[Any, ...] = money
    tables: ClassVar[list[Table]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.tables = [LEDGER]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        rules = (("min_amount", "max_amount"), ("underpayment_allowed", "overpayment_allowed"))
        folded = {"classes": ["collapse"]}
        fieldsets: list[Any] = [
            (None, {"fields": self.about if obj else self.about_new}),
            ("Amounts", {"fields": self.money if obj else self.money_new}),
            ("Payment rules", {"fields": rules, "description": RULES, **folded}),
            ("Metadata", {"fields": ("metadata",), **folded}),
        ]
        if obj:
            fieldsets.append(("Record", {"fields": (("id", "created_at", "changed"), "expected_version"), **folded}))
        return fieldsets

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        record = self.get_object(request, object_id) if request.method == "GET" else None
        tables = [table.of(record, self.admin_site) for table in self.tables] if record else []
        return super().change_view(request, object_id, form_url, {"tables": tables, **(extra_context or {})})

    @display(description="balance")
    def balance_shown(self, record: Any) -> str:
        return shown(record.balance, record.currency)

    @display(description="changed", ordering="updated_at")
    def changed(self, record: Any) -> Any:
        return record.updated_at
