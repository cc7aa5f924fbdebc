"""Staff save a list as a table: exactly what is listed, of the biller that is chosen, by those who may see it."""

import csv
import io
from datetime import date

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.urls import reverse

from accounts.models import Account
from api import exporting
from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry
from payments.models import Payment

MODELS = {
    Customer: "customers",
    Account: "accounts",
    Bill: "bills",
    Payment: "payments",
    Entry: "entries",
}
KINDS = pytest.mark.parametrize("model", MODELS, ids=MODELS.get)


@pytest.fixture
def billers(no_table_open):
    """Exports read over a connection of their own, which sees what has been committed."""
    return Biller.objects.found(name="Highveld Water", reference="highveld")


@pytest.fixture
def other(billers):
    return Biller.objects.found(name="Other School", reference="other")["live"]


@pytest.fixture
def records(billers, other):
    """Two of everything, of three billers."""
    for biller in (billers["live"], billers["test"], other):
        for number in (1, 2):
            customer = {"external_reference": f"C-{number}", "name": f"=Jo {number}"}
            account = {"external_reference": f"A-{number}", "customer": customer}
            fields = {"external_reference": f"B-{number}", "currency": "ZAR", "amount_due": 100 * number}
            fields |= {"account": account, "due_date": date(2020, 1, number), "metadata": {"route": "7"}}
            bill = perform(biller, "test", lambda act, fields=fields: Bill.objects.issue(act, **fields))
            paid = {"external_reference": f"P-{number}", "amount": 50 * number, "currency": "ZAR", "method": "cash"}
            perform(
                *(biller, "test"),
                lambda act, bill=bill, paid=paid: Payment.objects.collect(act, b"x" * 32, obligation=bill.pk, **paid),
            )


def address(model, page):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}")


@pytest.fixture
def saved(staff, biller):
    """Follow the link of a list that is asked for; return the rows of the table."""

    def saved(model, **asked):
        listed = staff.get(address(model, "changelist"), {"biller": biller.pk, **asked})
        link = listed.context["export"]
        assert f'href="{link.replace("&", "&amp;")}"' in listed.content.decode()
        response = staff.get(link)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert response.headers["Content-Disposition"] == f'attachment; filename="{MODELS[model]}.csv"'
        rows = [*csv.DictReader(io.StringIO(b"".join(response).decode(), newline=""), strict=True)]
        assert {row["id"] for row in rows} == {row.pk for row in listed.context["cl"].queryset}
        return rows

    return saved


@KINDS
def test_a_list_is_saved_with_all_of_its_rows_and_no_other_billers(saved, records, biller, model):
    rows = saved(model)
    assert len(rows) == 2
    assert {row["id"] for row in rows} == {*model.objects.filter(biller=biller).values_list("pk", flat=True)}
    assert model.objects.count() == 6


@pytest.mark.parametrize(
    ("model", "asked", "found"),
    [
        (Customer, {"q": "jo 2"}, ["C-2"]),
        (Account, {"q": "A-1"}, ["A-1"]),
        (Bill, {"q": "B-2"}, ["B-2"]),
        (Bill, {"status": "PAID"}, []),
        (Bill, {"overdue": "yes", "q": "B-1"}, ["B-1"]),
        (Payment, {"taker": "biller", "q": "P-1"}, ["P-1"]),
        (Payment, {"reversed": "yes"}, []),
    ],
)
def test_what_is_searched_and_filtered_is_saved(saved, records, model, asked, found):
    assert [row["external_reference"] for row in saved(model, **asked)] == found


def test_entries_of_one_obligation_are_saved(saved, records, biller):
    bill = Bill.objects.get(biller=biller, external_reference="B-2")
    assert [(row["obligation"], row["amount"]) for row in saved(Entry, q=bill.pk)] == [(bill.pk, "100")]


def test_every_page_is_saved_whichever_is_shown(staff, saved, records, biller, monkeypatch):
    monkeypatch.setattr("bills.admin.BillAdmin.list_per_page", 1)
    listed = staff.get(address(Bill, "changelist"), {"biller": biller.pk, "p": 2, "o": "-1"})
    assert len(listed.context["cl"].result_list) == 1
    assert b"".join(staff.get(listed.context["export"])).count(b"\n") == 3


def test_every_column_is_saved_and_no_cell_runs(saved, records):
    [bill, _] = sorted(saved(Bill), key=lambda row: row["external_reference"])
    assert (bill["status"], bill["amount_due"], bill["metadata.route"]) == ("UNPAID", "100", "7")
    assert {row["name"] for row in saved(Customer)} == {"'=Jo 1", "'=Jo 2"}


def test_without_a_biller_in_the_address_the_chosen_one_is_saved(staff, records, other):
    staff.get(address(Customer, "changelist"), {"biller": other.pk})
    rows = [*csv.DictReader(io.StringIO(b"".join(staff.get(address(Customer, "export"))).decode()))]
    assert {row["id"] for row in rows} == {*Customer.objects.filter(biller=other).values_list("pk", flat=True)}


@KINDS
def test_who_may_not_see_a_list_cannot_save_it_and_who_may_only_see_it_can(client, records, biller, model):
    reader = User.objects.create_user("reader", password="pass", is_staff=True)
    client.force_login(reader)
    asked = {"biller": biller.pk}
    assert client.get(address(model, "export"), asked).status_code == 403
    others = [one for one in MODELS if one is not model]
    reader.user_permissions.set(
        Permission.objects.filter(
            codename__in=[f"{verb}_{one._meta.model_name}" for one in others for verb in ("view",)]
        )
    )
    assert client.get(address(model, "export"), asked).status_code == 403
    reader.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))
    response = client.get(address(model, "export"), asked)
    assert (response.status_code, b"".join(response).count(b"\n")) == (200, 3)


@KINDS
def test_who_is_not_signed_in_is_sent_to_sign_in(client, records, biller, model):
    client.logout()
    refused = client.get(address(model, "export"), {"biller": biller.pk})
    assert (refused.status_code, refused["Location"].split("?")[0]) == (302, reverse("admin:login"))


@KINDS
def test_a_table_is_only_read(staff, records, model):
    assert staff.post(address(model, "export")).status_code == 405


def test_a_list_that_cannot_be_asked_so_says_it_itself(staff, records, biller):
    refused = staff.get(address(Bill, "export"), {"biller": biller.pk, "nonsense": "1"})
    assert refused.status_code == 302
    assert refused["Location"] == f"{address(Bill, 'changelist')}?biller={biller.pk}&nonsense=1"


def test_too_many_keys_of_metadata_are_told_on_the_list(staff, records, biller, monkeypatch):
    monkeypatch.setattr(exporting, "MOST_KEYS", 0)
    refused = staff.get(address(Bill, "export"), {"biller": biller.pk})
    assert refused["Location"] == f"{address(Bill, 'changelist')}?biller={biller.pk}"
    [told] = [str(message) for message in get_messages(refused.wsgi_request)]
    assert "keys of metadata" in told


def test_without_billers_there_is_nothing_to_save(client, transactional_db):
    client.force_login(User.objects.create_superuser("first", password="pass"))
    listed = client.get(address(Customer, "changelist"))
    assert listed.context["export"] is None
    assert "Export as CSV" not in listed.content.decode()
    assert client.get(address(Customer, "export"))["Location"] == f"{address(Customer, 'changelist')}?"
