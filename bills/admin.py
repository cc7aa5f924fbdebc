"""How staff find, read, correct and void bills."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelect2Widget

from accounts.admin import AccountAdmin
from accounts.models import Account
from billers.forms import currency_choices
from billers.staff import chosen_biller, link_to
from bills.models import Bill, Status
from bills.tables import BILLS
from customers.admin import CustomerAdmin
from customers.models import Customer
from ledger.forms import AmountInput, ObligationForm, RecordInput, shown
from ledger.staff import CurrencyFilter, ObligationAdmin, Table


class BillForm(ObligationForm):
    """A bill, of a customer or of an account."""

    creates = "issue"
    amounts = ("amount_due", "amount_paid")
    parents = ("customer", "account")

    customer = RecordInput(Customer, required=False, help_text="Type a part of the reference, name, e-mail or phone.")
    account = RecordInput(Account, required=False, help_text="Instead of a customer, or one of the customer's.")
    currency = forms.ChoiceField(choices=currency_choices, widget=UnfoldAdminSelect2Widget)
    amount_due = AmountInput(help_text="What is asked for, such as 20.00.")
    amount_paid = AmountInput(help_text="The new total, such as 20.00.")

    class Meta:
        model = Bill
        fields = [
            "external_reference",
            "currency",
            "amount_due",
            "amount_paid",
            "bill_date",
            "due_date",
            "description",
            "metadata",
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance._state.adding:
            self.fields["bill_date"].required = self.fields["amount_paid"].required = False
            self.fields["bill_date"].help_text = "Empty: today."

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if self.instance._state.adding and not (self.errors or values["customer"] or values["account"]):
            raise ValidationError("Choose a customer or an account: somebody has to owe it.")
        return values


class StatusFilter(DropdownFilter):
    """Bills in one status."""

    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in Status]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(status=self.value()) if self.value() else queryset


class OverdueFilter(DropdownFilter):
    """Unpaid bills whose due date is past."""

    title = parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Overdue")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        biller = chosen_biller(request)
        return queryset.overdue(biller.today()) if self.value() and biller else queryset


@admin.register(Bill)
class BillAdmin(ObligationAdmin):
    """Bills."""

    form = BillForm
    exported = BILLS
    narrowing = ("customer_id", "account_id")
    list_display = ("external_reference", "customer_shown", "due_shown", "paid_shown", "state", "due_date", "changed")
    list_filter = (StatusFilter, OverdueFilter, CurrencyFilter)
    joined = ("biller", "customer", "account")
    search_fields = ("external_reference",)
    search_help_text = "Reference or id, or the id of a customer or account"
    sortable_by = ("external_reference", "due_shown", "due_date", "changed")
    fixed_fields = (
        "external_reference",
        "customer_shown",
        "account_shown",
        "state",
        "currency",
        "bill_date",
        "void_reason",
        "id",
        "created_at",
        "changed",
    )
    actions_detail = ("void",)
    about = (
        ("external_reference", "state"),
        ("customer_shown", "account_shown"),
        ("bill_date", "due_date"),
        "description",
    )
    about_new = (("customer", "account"), "external_reference", ("bill_date", "due_date"), "description")
    money = money_new = ("currency", ("amount_due", "amount_paid"), "reason")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fieldsets = super().get_fieldsets(request, obj)
        if obj and obj.voided_at:
            fieldsets[0] = (None, {"fields": (*self.about, "void_reason")})
        return fieldsets

    def has_void_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may void the bill, and it is not void yet."""
        bill = self.get_object(request, object_id) if object_id else None
        return self.has_change_permission(request) and (bill is None or bill.voided_at is None)

    @action(description="Void", icon="block", variant=ActionVariant.DANGER, permissions=["void"])
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Void the bill for good."""
        bill = self.found(request, object_id)
        asked = f"{shown(bill.amount_due, bill.currency)} of {self.choice_label(bill.customer)} is asked for no longer."
        return self.confirmed(
            request,
            bill,
            lambda act, reason, versions: Bill.objects.void(act, bill.pk, versions=versions, reason=reason),
            title=f"Void bill {bill}",
            effect=f"{asked} A void bill takes no payment and no change. It cannot be undone.",
            button="Void the bill",
            done="The bill is void.",
        )

    @display(description="customer")
    def customer_shown(self, bill: Bill) -> str:
        return link_to(bill.customer, self.choice_label(bill.customer))

    @display(description="account")
    def account_shown(self, bill: Bill) -> str:
        return link_to(bill.account, bill.account and self.choice_label(bill.account))

    @display(description="amount due", ordering="amount_due")
    def due_shown(self, bill: Bill) -> str:
        return shown(bill.amount_due, bill.currency)

    @display(description="amount paid")
    def paid_shown(self, bill: Bill) -> str:
        return shown(bill.amount_paid, bill.currency)

    @display(description="status", label={"Paid": "success", "Overdue": "danger", "Unpaid": "warning"})
    def state(self, bill: Bill) -> str:
        late = bill.status == Status.UNPAID and bill.due_date is not None and bill.due_date < bill.biller.today()
        return "Overdue" if late else Status(bill.status).label


COLUMNS = ("external_reference", "due_shown", "paid_shown", "state", "due_date", "changed")
CustomerAdmin.tables.append(Table(Bill, "customer_id", COLUMNS, "No bills."))
AccountAdmin.tables.append(Table(Bill, "account_id", COLUMNS, "No bills."))
