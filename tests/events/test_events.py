"""What happened is told in rows that commit with their cause: contract, section 5."""

import json
from datetime import datetime

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from billers.acts import perform
from bills.models import Bill
from core.ids import decode, encode
from core.refusals import RuleBroken
from customers.models import Customer
from events.models import Event

CUSTOMER = {"external_reference": "C", "name": "Jo", "currency": "ZAR", "balance": 30, "metadata": {"a": "b"}}
ACCOUNT = {"external_reference": "A", "name": "Main", "payment_rules": {"min_amount": 5, "max_amount": None}}
BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 100, "due_date": "2099-01-31"}
PREFIXES = {"customer": "bcus", "account": "bacc", "bill": "bill"}


@pytest.fixture
def told():
    """Return the events since the last time one asked, in the order they happened."""
    seen = set()

    def told():
        new = [event for event in Event.objects.order_by("id") if event.pk not in seen]
        seen.update(event.pk for event in new)
        return [(event.type, event.body) for event in new]

    return told


@pytest.fixture
def records(api):
    """A bill, its account and its customer."""
    made = api.post("/billing/bills", {**BILL, "account": {**ACCOUNT, "customer": CUSTOMER}}).json()
    return {"bill": made["id"], "account": made["account_id"], "customer": made["customer_id"]}


def of(records, kind):
    return {"id": records[kind], "external_reference": {"bill": "B", "account": "A", "customer": "C"}[kind]}


def test_what_is_created_is_told_with_its_fields_parents_first(records, told):
    [customer, account, bill] = told()
    assert customer == ("customer.created", {**of(records, "customer"), **CUSTOMER, "payment_rules": {}})
    rules = {"payment_rules": {"min_amount": 5}, "metadata": {}}
    assert account == ("account.created", {**of(records, "account"), "name": "Main", **rules})
    today = Bill.objects.get().bill_date.isoformat()
    empty = {"bill_date": today, "payment_rules": {}, "metadata": {}}
    assert bill == ("bill.created", {**of(records, "bill"), **BILL, **empty})


def test_an_event_is_a_billers_names_its_record_and_waits_for_its_number(biller, records):
    events = list(Event.objects.order_by("id"))
    for event, kind in zip(events, ("customer", "account", "bill"), strict=True):
        assert (event.biller_id, event.sequence) == (biller.pk, None)
        assert encode(PREFIXES[kind], event.object_id) == records[kind] == event.body["id"]
        assert decode("evt", event.pk)
        assert isinstance(event.created_at, datetime)
        # What a receiver gets is JSON through and through.
        assert json.loads(json.dumps(event.body, cls=DjangoJSONEncoder)) == event.body


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        ("bills/B", {"description": "x"}, [("bill.updated", {"description": "x"})]),
        ("bills/B", {"due_date": None}, [("bill.updated", {"due_date": None})]),
        ("bills/B", {"due_date": "2099-02-01"}, [("bill.updated", {"due_date": "2099-02-01"})]),
        ("bills/B", {"amount_paid": 99}, [("bill.updated", {"amount_paid": 99})]),
        (
            "bills/B",
            {"amount_paid": 100, "description": "x", "amount_due": 100},
            [
                ("bill.updated", {"amount_paid": 100, "description": "x"}),
                ("bill.paid", {"amount_due": 100, "amount_paid": 100}),
            ],
        ),
        ("bills/B", {"metadata": {"k": "v"}}, [("bill.updated", {"metadata": {"k": "v"}})]),
        ("customers/C", {"metadata": {"k": "v"}}, [("customer.updated", {"metadata": {"a": "b", "k": "v"}})]),
        ("customers/C", {"metadata": {"a": None}}, [("customer.updated", {"metadata": {}})]),
        ("customers/C", {"balance": -5, "name": "Jo"}, [("customer.updated", {"balance": -5})]),
        ("accounts/A", {"balance": 0, "currency": "ZAR"}, [("account.updated", {"balance": 0, "currency": "ZAR"})]),
        (
            "accounts/A",
            {"payment_rules": {"max_amount": 9}},
            [("account.updated", {"payment_rules": {"min_amount": 5, "max_amount": 9}})],
        ),
        (
            "bills/B",
            {"account": {"name": "Home"}, "customer": {"email": "jo@example.com"}},
            [("customer.updated", {"email": "jo@example.com"}), ("account.updated", {"name": "Home"})],
        ),
    ],
)
def test_a_change_is_told_with_what_it_changed_alone(api, records, told, path, change, expected):
    told()
    assert api.patch(f"/billing/{path}", change).status_code == 200
    assert told() == [(type_, {**of(records, type_.partition(".")[0]), **body}) for type_, body in expected]


def test_a_bill_created_paid_is_told_paid(api, told):
    api.post("/billing/bills", {**BILL, "amount_paid": 100, "customer": CUSTOMER})
    types = [type_ for type_, _ in told()]
    assert types == ["customer.created", "bill.created", "bill.paid"]


def test_put_tells_as_post_and_patch_do(api, records, told):
    told()
    api.put("/billing/bills/B", {"amount_due": 100, "account": {"external_reference": "A", "name": "Home"}})
    api.put("/billing/bills/N", {"currency": "ZAR", "amount_due": 1, "account": "A"})
    assert [(type_, body["external_reference"]) for type_, body in told()] == [
        ("account.updated", "A"),
        ("bill.created", "N"),
    ]


def test_a_void_is_told_with_its_reason(api, records, told):
    told()
    api.post("/billing/bills/B/void", {"reason": "typo"}, Idempotency_Key="void")
    api.post("/billing/bills/B/void", {"reason": "typo"}, Idempotency_Key="void")
    assert told() == [("bill.voided", {**of(records, "bill"), "status": "VOIDED", "void_reason": "typo"})]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "bills/B", None, 200),
        ("PATCH", "bills/B", {"amount_due": 100, "metadata": {}}, 200),
        ("PUT", "bills/B", {"account": {"external_reference": "A", "customer": {"external_reference": "C"}}}, 200),
        ("POST", "bills", {**BILL, "customer": "C"}, 409),
        ("POST", "bills", {**BILL, "external_reference": "N", "customer": "none"}, 422),
        ("POST", "bills", {**BILL, "external_reference": "N", "customer": {"external_reference": "C"}}, 409),
        ("PATCH", "bills/B", {"customer": {"name": "x"}, "account": {"balance": 1}}, 422),
        ("PATCH", "bills/B", {"amount_due": 0}, 400),
        ("PUT", "bills/B", {"currency": "USD", "customer": {"external_reference": "C", "name": "x"}}, 409),
        ("PATCH", "bills/none", {"amount_due": 1}, 404),
    ],
)
def test_what_moves_nothing_tells_nothing(api, records, told, method, path, body, status):
    told()
    assert api.call(method, f"/billing/{path}", body).status_code == status
    assert told() == []


def test_a_replay_tells_nothing_again(api, told):
    for _ in range(3):
        api.post("/billing/bills", {**BILL, "customer": CUSTOMER}, Idempotency_Key="once")
    assert [type_ for type_, _ in told()] == ["customer.created", "bill.created"]


def test_the_events_of_an_object_keep_the_order_they_happened_in(api, records, told):
    told()
    for paid in range(1, 30):
        api.patch("/billing/bills/B", {"amount_paid": paid})
    assert [body["amount_paid"] for _, body in told()] == list(range(1, 30))


def test_all_events_of_one_call_are_one_statement(api):
    with CaptureQueriesContext(connection) as captured:
        api.post("/billing/bills", {**BILL, "account": {**ACCOUNT, "customer": CUSTOMER}})
    assert sum('INTO "events_event"' in query["sql"] for query in captured) == 1


@pytest.mark.django_db(transaction=True)
def test_an_event_commits_with_its_cause_or_not_at_all(api, biller, records, everything):
    before = everything()

    def forget(act):
        Customer.objects.amend(act, "C", name="Never")
        Bill.objects.update(amount_paid=1)

    with pytest.raises(IntegrityError, match="does not agree with its ledger"):
        perform(biller, "test", forget)

    def refuse(act):
        Customer.objects.amend(act, "C", name="Never")
        Customer.objects.amend(act, "C", payment_rules={"min_amount": 2, "max_amount": 1})

    with pytest.raises(RuleBroken):
        perform(biller, "test", refuse)
    assert everything() == before
    assert api.patch("/billing/customers/C", {"name": "Jane"}).status_code == 200
    assert Event.objects.count() == 4


def test_one_biller_is_never_told_anothers(api, api_for, other, records):
    api_for(other).post("/billing/customers", CUSTOMER)
    assert Event.objects.for_biller(other).count() == 1
    assert Event.objects.count() == 4
