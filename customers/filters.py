"""What the list of customers can be asked for."""

from api.filters import AmountFilter, AsOfFilter, RecordFilter, SearchFilter


class CustomerFilter(RecordFilter):
    """Customers by reference, currency, balance, text and time."""

    search = SearchFilter("external_reference", "name", "email", "phone")
    balance_gte = AmountFilter(field_name="balance", lookup_expr="gte")
    balance_lte = AmountFilter(field_name="balance", lookup_expr="lte")
    as_of = AsOfFilter("currency", "balance_gte", "balance_lte")
