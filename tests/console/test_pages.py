import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billers.models import ApiKey, Biller, Partner
from bills.models import Bill
from customers.models import Customer
from events.models import Delivery, Event, WebhookEndpoint
from imports.models import Import
from ledger.models import Entry
from payments.models import PayerReference, Payment

RECORDS = [Biller, Partner, ApiKey, Customer, Bill._meta.get_field("account").related_model, Bill, Entry, Event]
RECORDS += [WebhookEndpoint, Delivery, Payment, PayerReference, Import]
READ_ONLY = [Entry, Event, WebhookEndpoint, Delivery]
LISTED = [model for model in RECORDS if model not in {Biller, Partner}]


def address(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=[quote(arg) for arg in args])


@pytest.fixture
def everything(made, biller, request):
    made(WebhookEndpoint.objects.register, url="https://hooks.example/")
    request.getfixturevalue("bill")
    ApiKey.objects.issue(biller, label="ERP")
    Partner.objects.found(name="Corner Shops", reference="corner")
    Event.objects.pick_up(biller)
    made(Customer.objects.enrol, external_reference="waits")
    bill = Bill.objects.get()
    asked = {"external_reference": "R-1", "amount": 5, "currency": "ZAR", "method": "cash", "obligation": bill.pk}
    made(Payment.objects.collect, fingerprint=b"x" * 32, **asked)
    made(PayerReference.objects.give, obligation_id=bill.pk)
    Import.objects.take_up(biller, "f", file_name="bills.csv")


@pytest.mark.parametrize("model", RECORDS)
def test_every_list_opens(staff, everything, model):
    page = staff.get(address(model, "changelist"), follow=True)
    assert page.status_code == 200
    assert page.context["cl"].result_count >= 1


@pytest.mark.parametrize("model", RECORDS)
def test_every_record_opens(staff, everything, model):
    page = staff.get(address(model, "change", model._default_manager.first().pk))
    assert page.status_code == 200


@pytest.mark.parametrize("model", [model for model in RECORDS if model not in READ_ONLY])
def test_every_form_opens(staff, everything, model):
    assert staff.get(address(model, "add"), follow=True).status_code == 200


@pytest.mark.parametrize("model", LISTED)
def test_every_list_is_empty_without_a_word_of_error_when_nothing_is_there(admin_client, db, model):
    assert admin_client.get(address(model, "changelist"), follow=True).status_code == 200


@pytest.mark.parametrize("model", LISTED)
def test_every_list_can_be_chosen_from(staff, everything, biller, model):
    found = staff.get(address(model, "choices", biller.pk), {"term": "x"})
    assert (found.status_code, set(found.json())) == (200, {"results", "pagination"})


def test_the_index_and_the_staff_pages_open(staff, clerk):
    assert staff.get(reverse("admin:index")).status_code == 200
    assert staff.get(reverse("admin:auth_user_changelist")).status_code == 200
    assert staff.get(reverse("admin:auth_user_add")).status_code == 200
    assert staff.get(reverse("admin:auth_user_change", args=[clerk.pk])).status_code == 200


@pytest.mark.parametrize("model", RECORDS)
def test_no_record_can_be_deleted(staff, everything, model):
    record = model._default_manager.first()
    assert staff.post(address(model, "delete", record.pk), {"post": "yes"}).status_code == 403
    gone = staff.post(
        address(model, "changelist"),
        {"action": "delete_selected", "_selected_action": [record.pk], "post": "yes"},
        follow=True,
    )
    assert gone.status_code == 200
    assert model._default_manager.filter(pk=record.pk).exists()


@pytest.mark.parametrize("model", READ_ONLY)
def test_the_ledger_and_the_events_are_read_only(staff, everything, model):
    assert staff.get(address(model, "add"), follow=True).status_code == 403
    assert staff.post(address(model, "change", model._default_manager.first().pk), {"reason": "x"}).status_code == 403


@pytest.mark.parametrize("model", LISTED)
def test_a_list_asks_as_often_for_thirty_rows_as_for_three(staff, many, biller, model):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page = staff.get(address(model, "changelist"), {"biller": biller.pk})
        assert page.status_code == 200
        return [query["sql"] for query in captured], len(page.context["cl"].result_list)

    many(range(3))
    queries()
    few, three = queries()
    many(range(3, 30))
    lots, thirty = queries()
    assert thirty > three
    assert len(lots) == len(few), lots
