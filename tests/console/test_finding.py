from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billers import lists
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry


@pytest.fixture
def find(staff, biller):
    def look(model, query="", biller=biller, **filters):
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        page = staff.get(address, {"biller": biller.pk, "q": query, **filters})
        assert page.status_code == 200, page
        return [str(getattr(row, "external_reference", row)) for row in page.context["cl"].result_list]

    return look


@pytest.mark.parametrize("query", ["24615", "john", "JOHN@example", "821234", "doe john"])
def test_a_customer_is_found_by_reference_name_email_and_phone(find, customer, made, query):
    made(Customer.objects.enrol, external_reference="OTHER", name="Jane")
    assert find(Customer, query) == [customer.external_reference]


def test_a_record_is_found_by_its_id_and_by_its_parents(find, customer, account, bill, made):
    made(
        Bill.objects.issue,
        external_reference="OTHER",
        currency="ZAR",
        amount_due=1,
        customer={"external_reference": "X"},
    )
    assert find(Customer, customer.pk) == [customer.external_reference]
    for key in (bill.pk, customer.pk, account.pk):
        assert find(Bill, key) == [bill.external_reference]


def test_entries_are_found_by_what_they_are_about(find, customer, account):
    assert len(find(Entry, customer.external_reference)) == 1
    assert len(find(Entry, customer.pk)) == 1
    assert find(Entry, "nothing") == []


def test_a_list_is_one_billers_and_says_so(staff, find, billers, customer):
    assert find(Customer, biller=billers["test"]) == []
    address = reverse("admin:customers_customer_changelist")
    assert staff.get(address)["Location"] == f"{address}?biller={billers['test'].pk}"
    with CaptureQueriesContext(connection) as captured:
        find(Customer)
    listed = [query["sql"] for query in captured if 'FROM "customers_customer"' in query["sql"]]
    assert listed
    assert all('"customers_customer"."biller_id" = ' in sql for sql in listed)


def test_bills_are_filtered_by_status_currency_and_overdue(find, made, customer):
    common = {"amount_due": 1, "customer": customer.pk}
    made(Bill.objects.issue, external_reference="paid", currency="ZAR", amount_paid=1, **common)
    made(Bill.objects.issue, external_reference="late", currency="ZAR", due_date=date(2020, 1, 1), **common)
    made(Bill.objects.issue, external_reference="euro", currency="EUR", **common)
    assert find(Bill, status="PAID") == ["paid"]
    assert find(Bill, currency="EUR") == ["euro"]
    assert find(Bill, overdue="yes") == ["late"]
    assert find(Bill, status="UNPAID", currency="ZAR") == ["late"]


def test_a_page_shows_what_hangs_on_the_record(staff, customer, account, bill):
    shown = staff.get(reverse("admin:customers_customer_change", args=[customer.pk])).content.decode()
    assert "ACC-1" in shown
    assert "INV-2024-001" in shown
    shown = staff.get(reverse("admin:bills_bill_change", args=[bill.pk])).content.decode()
    assert reverse("admin:customers_customer_change", args=[customer.pk.replace("_", "_5F")]) in shown


def test_a_customer_is_chosen_by_typing_among_one_billers(staff, billers, customer, made):
    perform(
        billers["test"], "api:test", lambda act: Customer.objects.enrol(act, external_reference="T", name="John Test")
    )
    address = reverse("admin:customers_customer_choices", args=[billers["live"].pk])
    found = staff.get(address, {"term": "john"}).json()
    assert found["results"] == [{"id": customer.pk, "text": "94/24615/657/109889 — John Doe"}]
    assert staff.get(reverse("admin:customers_customer_choices", args=["x"])).json()["results"] == []


def test_a_long_list_is_estimated_and_never_counted(find, many, monkeypatch, staff, biller):
    monkeypatch.setattr(lists, "COUNTED", 5)
    many(range(8))
    address = reverse("admin:bills_bill_changelist")
    with CaptureQueriesContext(connection) as captured:
        page = staff.get(address, {"biller": biller.pk})
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 6" in sql for sql in counts)
    assert "about" in page.content.decode()


@pytest.mark.parametrize("query", [{"biller": "x"}, {"p": "99"}, {"o": "9.9"}, {"created_at__gte": "x"}, {"q": "\0"}])
def test_a_meaningless_address_is_no_crash(staff, customer, query):
    page = staff.get(reverse("admin:customers_customer_changelist"), query, follow=True)
    assert page.status_code in {200, 400}


def test_without_a_biller_the_console_says_what_to_do_first(admin_client):
    assert not Biller.objects.exists()
    page = admin_client.get(reverse("admin:bills_bill_changelist"))
    assert "add the first one" in page.content.decode()
    assert admin_client.get(reverse("admin:bills_bill_add"))["Location"] == reverse("admin:billers_biller_add")
