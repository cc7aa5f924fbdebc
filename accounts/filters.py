"""What the list of accounts can be asked for."""

from api.filters import AmountFilter, AsOfFilter, ParentFilter, RecordFilter, SearchFilter


class AccountFilter(RecordFilter):
    """Accounts by reference, customer, currency, balance, text and time."""

    customer = ParentFilter("bcus")
    search = SearchFilter("external_reference", "name")
    balance_gte = AmountFilter(field_name="balance", lookup_expr="gte")
    balance_lte = AmountFilter(field_name="balance", lookup_expr="lte")
    as_of = AsOfFilter("currency", "balance_gte", "balance_lte")
