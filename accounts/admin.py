"""How staff find, read and correct accounts."""

from django.contrib import admin
from unfold.decorators import display

from accounts.models import Account
from accounts.tables import ACCOUNTS
from billers.staff import link_to
from customers.admin import CustomerAdmin
from customers.models import Customer
from ledger.forms import AmountInput, ObligationForm, RecordInput
from ledger.staff import ObligationAdmin, Table


class AccountForm(ObligationForm):
    """An account."""

    creates = "open"
    amounts = ("balance",)
    parents = ("customer",)

    customer = RecordInput(Customer, help_text="Type a part of the reference, name, e-mail or phone.")
    balance = AmountInput(
        required=False,
        help_text="What is owed on the account, such as 20.00; negative is credit; empty is not tracked.",
    )

    class Meta:
        model = Account
        fields = ["external_reference", "name", "currency", "balance", "metadata"]


@admin.register(Account)
class AccountAdmin(ObligationAdmin):
    """Accounts."""

    form = AccountForm
    exported = ACCOUNTS
    narrowing = ("customer_id",)
    list_display = ("external_reference", "name", "customer_shown", "balance_shown", "changed")
    joined = ("biller", "customer")
    search_fields = ("external_reference", "name")
    search_help_text = "Reference, name or id, or a customer's id"
    sortable_by = ("external_reference", "name", "changed")
    fixed_fields = ("external_reference", "customer_shown", "id", "created_at", "changed")
    about = (("external_reference", "name"), "customer_shown")
    about_new = ("customer", ("external_reference", "name"))

    @display(description="customer")
    def customer_shown(self, account: Account) -> str:
        return link_to(account.customer, self.choice_label(account.customer))


CustomerAdmin.tables.append(
    Table(Account, "customer_id", ("external_reference", "name", "balance_shown", "changed"), "No accounts.")
)
