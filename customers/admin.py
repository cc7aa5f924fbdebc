"""How staff find, read and correct customers."""

from django.contrib import admin
from django.core.validators import RegexValidator

from customers.models import Customer
from customers.tables import CUSTOMERS
from ledger.forms import AmountInput, ObligationForm
from ledger.staff import ObligationAdmin

E164 = RegexValidator(r"^\+[1-9]\d{1,14}\Z", "Write + and 2 to 15 digits, such as +27821234567.")


class CustomerForm(ObligationForm):
    """A customer."""

    creates = "enrol"
    amounts = ("balance",)

    balance = AmountInput(
        required=False, help_text="What the customer owes, such as 20.00; negative is credit; empty is not tracked."
    )

    class Meta:
        model = Customer
        fields = ["external_reference", "name", "email", "phone", "currency", "balance", "metadata"]

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.fields["phone"].validators.append(E164)


@admin.register(Customer)
class CustomerAdmin(ObligationAdmin):
    """Customers."""

    form = CustomerForm
    exported = CUSTOMERS
    list_display = ("external_reference", "name", "email", "phone", "balance_shown", "changed")
    search_fields = ("external_reference", "name", "email", "phone")
    search_help_text = "Reference, name, e-mail, phone or id"
    sortable_by = ("external_reference", "name", "changed")
    fixed_fields = ("external_reference", "id", "created_at", "changed")
    about = about_new = (("external_reference", "name"), ("email", "phone"))
