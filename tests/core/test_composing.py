"""Statements composed once give what the ORM gives."""

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db.models.expressions import DatabaseDefault

from bills.models import Bill
from core.statements import insert, made
from customers.models import Customer
from events.models import Event


def told(row):
    """Return what a row holds, but its own id and what the database will fill."""
    held = {name: value for name, value in row.__dict__.items() if name not in {"_state", "id"}}
    return {name: "the database's" if isinstance(value, DatabaseDefault) else value for name, value in held.items()}


@pytest.mark.parametrize("given", [{}, {"currency": "ZAR", "amount_due": 5, "metadata": {"a": "b"}, "account": None}])
def test_a_row_is_made_as_the_model_makes_it(biller, given):
    owner = Customer(biller=biller, external_reference="C")
    fields = {"biller_id": biller.pk, "external_reference": "B", "customer": owner, **given}
    one, other = made(Bill, **fields), Bill(**fields)
    assert told(one) == told(other)
    assert one.customer is owner
    assert one.pk != other.pk
    assert one._state.adding is True
    assert made(Bill, **fields).metadata is not one.metadata or given


def test_a_field_that_does_not_exist_is_no_row(biller):
    with pytest.raises(FieldDoesNotExist):
        made(Customer, biller_id=biller.pk, nickname="Jo")


def test_what_one_row_of_many_holds_is_inserted_though_others_leave_it(biller, api):
    api.post("/billing/customers", {"external_reference": "C"})
    customer = Customer.objects.get()
    key = Customer._meta.pk.get_db_prep_value(customer.pk, None)
    rows = [
        Event(biller_id=biller.pk, type="customer.updated", object_id=key, body={}, sequence=sequence)
        for sequence in (None, 5)
    ]
    insert(rows)
    seen = Event.objects.filter(type="customer.updated").order_by("id")
    assert list(seen.values_list("sequence", flat=True)) == [None, 5]
