"""How callers reach customers."""

from customers.filters import CustomerFilter
from customers.models import Customer
from customers.serializers import CustomerAnswer, NewCustomer, PatchCustomer, PutCustomer
from customers.tables import CUSTOMERS
from ledger.views import LedgerRecordViewSet


class CustomerViewSet(LedgerRecordViewSet):
    """Of whom money is asked."""

    queryset = Customer.objects.all()
    collection = "/billing/customers"
    create_verb = "enrol"
    answer = CustomerAnswer
    create_shape, put_shape, patch_shape = NewCustomer(), PutCustomer(), PatchCustomer()
    filters = CustomerFilter
    table = CUSTOMERS
    sorts = {"created_at": False, "updated_at": False, "external_reference": False, "name": True}
