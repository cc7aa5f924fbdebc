"""How staff find and read payments, record those that the biller took itself, and undo what was wrong."""

import secrets
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import display_for_value
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from rest_framework.exceptions import ValidationError as ShapeError
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.utils import parse_date_str
from unfold.widgets import (
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.admin import AccountAdmin
from accounts.models import Account
from api.fields import Metadata
from billers.acts import Act
from billers.forms import VerbForm, currency_choices
from billers.models import Partner
from billers.staff import TenantAdmin, chosen_biller, link_to, page_of
from bills.admin import BillAdmin
from bills.models import Bill
from core.refusals import rules
from core.text import PAYMENT_REFERENCE
from customers.admin import CustomerAdmin
from customers.models import Customer
from ledger.exported import ExportedAdmin
from ledger.forms import AmountInput, RecordInput, minor_units, shown
from ledger.models import Entry
from ledger.staff import CurrencyFilter, Table
from payments import tables
from payments.collecting import KINDS, fingerprint_of, kind_of
from payments.models import Method, PayerReference, Payment, Reversal

OBLIGATIONS = ("bill", "account", "customer")
LOTS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""What a reference ends in: no letter or digit that could be read for another."""


class Unseen(Exception):  # noqa: N818 it is a question, not an error
    """The effect has not been shown yet, or is another than the one that was: nothing was written."""


def obligations_of(biller_ids: Iterable[str], ids: Iterable[str]) -> dict[str, Any]:
    """Return what these ids name, one query for each kind."""
    wanted = list(ids)
    found: dict[str, Any] = {}
    for kind, model in KINDS.items():
        if keys := {key for key in wanted if kind_of(key) == kind}:
            found |= model.objects.filter(biller_id__in=set(biller_ids)).in_bulk(keys)
    return found


def effect_of(payment: Payment) -> str:
    """Return what a payment does to each thing that it pays."""
    paid = obligations_of([payment.biller_id], [share["obligation"] for share in payment.allocations])
    told = []
    for share in payment.allocations:
        amount, remaining = (shown(share[name], payment.currency) for name in ("amount", "remaining"))
        told.append(f"{amount} for {share['kind']} {paid[share['obligation']]}, of which {remaining} then remains.")
    return " ".join(told)


class PaymentForm(VerbForm):
    """A payment that the biller took itself: its effect is shown first, and what was shown is then recorded."""

    bill = RecordInput(Bill, required=False, help_text="Type a part of its reference.")
    account = RecordInput(Account, required=False, help_text="Instead of a bill.")
    customer = RecordInput(Customer, required=False, help_text="Instead of a bill or an account.")
    oldest_first = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        label="Pay its unpaid bills, the oldest first",
        help_text="Of the account or customer; otherwise its balance is paid.",
    )
    amount = AmountInput(help_text="What was paid, such as 20.00.")
    currency = forms.TypedChoiceField(
        choices=currency_choices,
        required=False,
        empty_value=None,
        widget=UnfoldAdminSelect2Widget,
        help_text="Empty: the currency of what is paid.",
    )
    method = forms.ChoiceField(choices=Method.choices, initial=Method.CASH, widget=UnfoldAdminSelectWidget)
    external_reference = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        validators=[RegexValidator(rf"^{PAYMENT_REFERENCE}\Z", "1 to 64 of A-Z a-z 0-9 . _ -")],
        label="Reference",
        help_text="Stands for this payment alone: a receipt's number, or the one that is made up here.",
    )
    note = forms.CharField(
        max_length=500,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Kept with the payment. No card numbers.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    effect = ""
    is_new = True

    class Meta:
        model = Payment
        fields = ["external_reference", "method"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in OBLIGATIONS:
            field: Any = self.fields[name]
            field.within(self.biller)
        lot = "".join(secrets.choice(LOTS) for _ in range(6))
        self.fields["external_reference"].initial = f"DESK-{self.biller.today():%Y%m%d}-{lot}"

    def clean_note(self) -> str:
        note = str(self.cleaned_data["note"])
        try:
            Metadata(cards=False).run_validation({"note": note})
        except ShapeError as error:
            detail: Any = error.detail
            raise ValidationError([str(sentence) for sentence in detail["note"]]) from error
        return note

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        chosen = [name for name in OBLIGATIONS if values.get(name)]
        if len(chosen) != 1:
            if not any(name in self.errors for name in OBLIGATIONS):
                self.add_error(None, "Choose a bill, an account or a customer: the one that was paid.")
            return values
        values["kind"] = chosen[0]
        values["currency"] = values.get("currency") or values[chosen[0]].currency or self.biller.default_currency
        if values.get("oldest_first") and chosen == ["bill"]:
            self.add_error("oldest_first", "A bill has no bills: choose an account or a customer.")
        if not values["currency"]:
            self.add_error("currency", "Say in which currency it was paid.")
        elif "amount" in values:
            try:
                values["amount"] = minor_units(values["amount"], values["currency"])
            except ValidationError as error:
                self.add_error("amount", error)
            else:
                if values["amount"] < 1:
                    self.add_error("amount", rules()["payment_amount_positive"])
        return values

    def _post_clean(self) -> None:
        try:
            super()._post_clean()
        except Unseen:
            self.data = {**self.data.dict(), "seen": self.effect}  # type: ignore[attr-defined] # a form's is a QueryDict
            self.add_error("seen", "The effect has to be confirmed.")

    def verb(self, act: Act) -> Payment:
        values = self.cleaned_data
        kind = values["kind"]
        self.places = {"obligation": kind, "payer": kind}
        asked = {name: values[name] for name in ("external_reference", "amount", "currency", "method")}
        asked["payer" if values["oldest_first"] else "obligation"] = values[kind].pk
        if values["note"]:
            asked["metadata"] = {"note": values["note"]}
        payment, self.is_new = Payment.objects.collect(act, fingerprint_of(asked), **asked)
        effect = effect_of(payment)
        if self.is_new and values["seen"] != effect:
            self.effect = effect
            raise Unseen
        return payment


class TakerFilter(DropdownFilter):
    """Payments that one partner took, or the biller itself."""

    title = "taken by"
    parameter_name = "taker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        partners = Partner.objects.filter(enablements__biller=chosen_biller(request))
        return [("biller", "The biller itself"), *((partner.pk, str(partner)) for partner in partners)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        taker = self.value()
        return queryset.filter(partner_id=None if taker == "biller" else taker) if taker else queryset


class ReversedFilter(DropdownFilter):
    """Payments that stand, or those that were undone."""

    title = "state"
    parameter_name = "reversed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Accepted"), ("yes", "Reversed")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        narrowed = {"no": queryset.standing, "yes": queryset.undone}.get(self.value())
        return narrowed() if narrowed else queryset


class DayFilter(RangeDateFilter):
    """Payments of the days from one to another, both included, as the biller's calendar has them."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        biller = chosen_biller(request)
        zone = ZoneInfo(biller.timezone if biller else "UTC")
        for name, lookup, days in (("from", "gte", 0), ("to", "lt", 1)):
            if day := parse_date_str(str(self.used_parameters.get(f"{self.parameter_name}_{name}") or "")):
                midnight = datetime.combine(day + timedelta(days=days), time.min, zone)
                queryset = queryset.filter(**{f"{self.parameter_name}__{lookup}": midnight})
        return queryset


class ObligationFilter(DropdownFilter):
    """Payments of one customer, account or bill, and of what hangs on it: where its own page points to."""

    title = "of"
    parameter_name = "obligation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = request.GET.get(self.parameter_name)
        return [(named, named)] if named else []

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        named, biller = self.value(), chosen_biller(request)
        if not (named and biller):
            return queryset
        return queryset & Payment.objects.of(biller.pk, named) if kind_of(named) else queryset.none()


ENTRIES = Table(
    Entry,
    "payment_id",
    ("created_at", "obligation_shown", "kind_shown", "amount_shown", "total_shown", "actor"),
    "No ledger entries.",
    newest=("-created_at", "-id"),
    addable=False,
)


@admin.register(Payment)
class PaymentAdmin(ExportedAdmin):
    """Payments: recorded and undone, never changed."""

    form = PaymentForm
    exported = tables.PAYMENTS
    change_form_before_template = "console/payment.html"
    change_form_outer_after_template = "console/tables.html"
    narrowing = ("obligation",)
    list_display = ("created_at", "external_reference", "amount_shown", "method", "of_shown", "taker_shown", "state")
    list_display_links = ("created_at", "external_reference")
    list_filter = (
        ("method", ChoicesDropdownFilter),
        CurrencyFilter,
        TakerFilter,
        ReversedFilter,
        ("created_at", DayFilter),
        ObligationFilter,
    )
    joined = ("biller", "partner")
    search_fields = ("external_reference",)
    search_help_text = "An exact reference of a payment, or an id of it or of what it paid"
    sortable_by = ("created_at",)
    actions_detail = ("reverse",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return [
                ("What was paid", {"fields": (*OBLIGATIONS, "oldest_first")}),
                ("How", {"fields": (("amount", "currency"), ("method", "external_reference"), "note")}),
            ]
        undone = (("reversed_at", "reversed_by"), "reversal_reason")
        return [
            (
                None,
                {
                    "fields": (
                        ("external_reference", "state"),
                        ("amount_shown", "method"),
                        ("taker_shown", "payer_name"),
                    )
                },
            ),
            *([("Reversal", {"fields": undone})] if obj.undone else []),
            ("Record", {"fields": (("id", "created_at"), ("actor", "paid_at"), "metadata_shown")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("reversed_at", "reversed_by", "reversal_reason") if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_reverse_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may undo the payment, and nobody has done so yet."""
        payment = self.get_object(request, object_id) if object_id else None
        return super().has_change_permission(request) and (payment is None or payment.undone is None)

    def prepared(self, rows: list[Any]) -> list[Any]:
        """Bring each payment its reversal and the first thing it paid."""
        billers = {payment.biller_id for payment in rows}
        keys = [payment.pk for payment in rows]
        found = Reversal.objects.filter(biller_id__in=billers, payment_id__in=keys)
        undone = {reversal.payment_id: reversal for reversal in found}
        paid = obligations_of(billers, [payment.allocations[0]["obligation"] for payment in rows])
        for payment in rows:
            payment.undone = undone.get(payment.pk)
            payment.first_paid = paid.get(payment.allocations[0]["obligation"])
        return rows

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term, biller = search_term.strip(), chosen_biller(request)
        if biller and kind_of(term):
            return queryset & Payment.objects.of(biller.pk, term), False
        # An index has whole references alone; a clerk has a receipt in hand.
        found, _ = super().get_search_results(request, queryset, "")
        by_id, _ = super().get_search_results(request, queryset, term)
        is_id = any(term.startswith(f"{prefix}_") for prefix in ("pay", "prt", "blr"))
        return by_id if is_id else found.filter(external_reference=term) if term else found, False

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> HttpResponse:
        if getattr(context["adminform"].form, "effect", ""):
            context["errors"] = None  # what has to be confirmed is no mistake
        return super().render_change_form(request, context, *args, **options)

    def response_add(self, request: HttpRequest, obj: Payment, post_url_continue: str | None = None) -> HttpResponse:
        """Say what was recorded, and show it."""
        messages.success(request, f"Recorded: {effect_of(obj)}")
        return HttpResponseRedirect(page_of(obj))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        payment = self.get_object(request, object_id) if request.method == "GET" else None
        tables = [self._allocations(payment), ENTRIES.of(payment, self.admin_site)] if payment else []
        return super().change_view(request, object_id, form_url, {"tables": tables, **(extra_context or {})})

    def _allocations(self, payment: Payment) -> dict[str, Any]:
        """Return what the payment paid, as it was told on the receipt."""
        paid = obligations_of([payment.biller_id], [share["obligation"] for share in payment.allocations])
        rows = [
            [
                link_to(paid.get(share["obligation"]), f"{share['kind']} {paid.get(share['obligation'])}"),
                shown(share["amount"], payment.currency),
                shown(share["remaining"], payment.currency),
            ]
            for share in payment.allocations
        ]
        return {"title": "what it paid", "table": {"headers": ["Of", "Paid", "Remained then"], "rows": rows}}

    @action(description="Reverse", icon="undo", variant=ActionVariant.DANGER, permissions=["reverse"])
    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Undo the payment, whole."""
        payment = self.found(request, object_id)
        paid = obligations_of([payment.biller_id], [share["obligation"] for share in payment.allocations])
        undone = " and ".join(
            f"{shown(share['amount'], payment.currency)} of {share['kind']} {paid[share['obligation']]}"
            for share in payment.allocations
        )
        whose = (
            f"{payment.partner} took it, so it counts as reversed there too, and its next settlement is that much less."
            if payment.partner
            else "The biller took it itself, so the money has to be given back by hand."
        )
        return self.confirmed(
            request,
            payment,
            lambda act, reason, _: Payment.objects.undo_for_taker(act, payment.pk, reason),
            title=f"Reverse payment {payment}",
            effect=f"{undone} will count as not paid. {whose} It cannot be undone: pay again instead.",
            button="Reverse the payment",
            done="The payment is reversed.",
        )

    @display(description="amount")
    def amount_shown(self, payment: Payment) -> str:
        return shown(payment.amount, payment.currency)

    @display(description="of")
    def of_shown(self, payment: Any) -> str:
        first, others = payment.first_paid, len(payment.allocations) - 1
        return link_to(first, f"{first.kind} {first}" + (f" and {others} more" if others else "")) if first else ""

    @display(description="taken by")
    def taker_shown(self, payment: Payment) -> str:
        return str(payment.partner or "The biller itself")

    @display(description="state", label={"Accepted": "success", "Reversed": "danger"})
    def state(self, payment: Any) -> str:
        return "Reversed" if payment.undone else "Accepted"

    @display(description="metadata")
    def metadata_shown(self, payment: Payment) -> str:
        return "; ".join(f"{name}: {value}" for name, value in payment.metadata.items())

    @display(description="reversed")
    def reversed_at(self, payment: Any) -> str:
        return str(display_for_value(payment.undone.created_at, "")) if payment.undone else ""

    @display(description="by")
    def reversed_by(self, payment: Any) -> str:
        return payment.undone.actor if payment.undone else ""

    @display(description="why")
    def reversal_reason(self, payment: Any) -> str:
        return payment.undone.reason if payment.undone else ""


class PayerReferenceForm(VerbForm):
    """A payer reference to be made: what it is of is chosen, its digits are drawn by lot."""

    bill = RecordInput(Bill, required=False, help_text="Type a part of its reference.")
    account = RecordInput(Account, required=False, help_text="Instead of a bill.")
    customer = RecordInput(Customer, required=False, help_text="Instead of a bill or an account.")

    class Meta:
        model = PayerReference
        fields: list[str] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in OBLIGATIONS:
            field: Any = self.fields[name]
            field.within(self.biller)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and sum(bool(values[name]) for name in OBLIGATIONS) != 1:
            raise ValidationError("Choose a bill, an account or a customer: what it is of.")
        return values

    def verb(self, act: Act) -> PayerReference:
        chosen = next(self.cleaned_data[name] for name in OBLIGATIONS if self.cleaned_data[name])
        given, _ = PayerReference.objects.give(act, chosen.pk)
        return given


@admin.register(PayerReference)
class PayerReferenceAdmin(TenantAdmin):
    """Payer references: made, and found by their digits; never changed."""

    form = PayerReferenceForm
    narrowing = ("customer_id", "account_id", "bill_id")
    list_display = ("digits", "of_shown", "created_at")
    joined = ("biller", "customer", "account", "bill")
    search_fields = ("digits",)
    search_help_text = "All of its digits, or an id of what it is of"
    sortable_by = ("created_at",)
    fieldsets = ((None, {"fields": (("digits", "of_shown"), "created_at")}),)
    add_fieldsets = (
        (
            None,
            {
                "fields": OBLIGATIONS,
                "description": "Its digits are drawn by lot. What has one already keeps it.",
            },
        ),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        typed = search_term.replace(" ", "").replace("-", "")
        if typed.isascii() and typed.isdigit():
            return queryset.filter(digits=typed), False
        found, _ = super().get_search_results(request, queryset, search_term if "_" in search_term else "")
        return found if "_" in search_term or not search_term else queryset.none(), False

    @display(description="of")
    def of_shown(self, given: PayerReference) -> str:
        record: Any = given.customer or given.account or given.bill
        return link_to(record, f"{record.kind} {self.choice_label(record)}")


class PaymentTable(Table):
    """The newest payments of a customer, an account or a bill, and of what hangs on it."""

    def belonging(self, record: Any) -> tuple[Any, Any]:
        return record.pk, Payment.objects.of(record.biller_id, record.pk)


PAYMENTS = PaymentTable(
    Payment,
    "obligation",
    ("created_at", "external_reference", "amount_shown", "method", "of_shown", "taker_shown", "state"),
    "No payments.",
)
for page in (CustomerAdmin, AccountAdmin, BillAdmin):
    kind = page.form.Meta.model.kind
    page.tables[:0] = [PAYMENTS]
    page.tables.append(
        Table(PayerReference, f"{kind}_id", ("digits", "created_at"), "No payer reference has been made.")
    )
