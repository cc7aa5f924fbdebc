"""Bills over the API: contract, section 2."""

import pytest

from accounts.models import Account
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry

COMPOSITE = {
    "external_reference": "INV-1",
    "currency": "ZAR",
    "amount_due": 2000,
    "account": {
        "external_reference": "ACC-1",
        "name": "Primary Account",
        "customer": {"external_reference": "94/24615", "name": "John Doe"},
    },
}


def counts():
    return [model.objects.count() for model in (Customer, Account, Bill, Entry, Event)]


def codes(response):
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def test_one_call_creates_a_bill_its_account_and_its_customer(api):
    response = api.post("/billing/bills", COMPOSITE)
    assert response.status_code == 201
    bill = response.json()
    account = api.get("/billing/accounts/ACC-1").json()
    customer = api.get("/billing/customers?external_reference=94/24615").json()["data"][0]
    assert (bill["account_id"], bill["customer_id"]) == (account["id"], customer["id"])
    assert account["customer_id"] == customer["id"]
    assert response.headers["Location"] == f"/billing/bills/{bill['id']}"
    assert response.headers["ETag"] == '"1"'
    assert (bill["status"], bill["amount_paid"], bill["amount_remaining"], bill["amount_overpaid"]) == (
        "UNPAID",
        0,
        2000,
        0,
    )
    assert counts() == [1, 1, 1, 0, 3]


def test_every_taken_reference_is_named_with_its_existing_id_and_nothing_is_written(api):
    bill = api.post("/billing/bills", COMPOSITE).json()
    before = counts()
    response = api.post("/billing/bills", COMPOSITE)
    assert response.status_code == 409
    assert response.json()["code"] == "external_reference_taken"
    taken = {error["pointer"]: error["existing_id"] for error in response.json()["errors"]}
    assert taken == {
        "/external_reference": bill["id"],
        "/account/external_reference": bill["account_id"],
        "/account/customer/external_reference": bill["customer_id"],
    }
    assert counts() == before


def test_parents_that_do_not_exist_are_all_named(api):
    body = {"external_reference": "x", "currency": "ZAR", "amount_due": 1, "customer": "no", "account": "nor this"}
    response = api.post("/billing/bills", body)
    assert response.status_code == 422
    assert sorted(codes(response)) == [("/account", "account_not_found"), ("/customer", "customer_not_found")]
    assert counts() == [0, 0, 0, 0, 0]


def test_a_missing_customer_of_a_new_account_is_named_where_it_stands(api):
    account = {"external_reference": "a", "customer": "no such"}
    body = {"external_reference": "x", "currency": "ZAR", "amount_due": 1, "account": account}
    response = api.post("/billing/bills", body)
    assert (response.status_code, codes(response)) == (422, [("/account/customer", "customer_not_found")])
    assert counts() == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("owner", ["id", "reference"])
def test_a_top_level_customer_beside_an_existing_account_must_be_that_accounts_customer(api, owner):
    first = api.post("/billing/bills", COMPOSITE).json()
    stranger = api.post("/billing/customers", {"external_reference": "stranger"}).json()
    right = first["customer_id"] if owner == "id" else "94/24615"
    wrong = stranger["id"] if owner == "id" else "stranger"
    body = {"external_reference": "INV-2", "currency": "ZAR", "amount_due": 1, "account": "ACC-1"}
    refused = api.post("/billing/bills", {**body, "customer": wrong})
    assert (refused.status_code, codes(refused)) == (422, [("/customer", "account_of_another_customer")])
    assert not Bill.objects.filter(external_reference="INV-2").exists()
    assert api.post("/billing/bills", {**body, "customer": right}).status_code == 201


def test_amount_paid_makes_a_bill_paid_and_its_entries_say_who_and_when(api):
    api.post("/billing/bills", COMPOSITE)
    response = api.patch("/billing/bills/INV-1", {"amount_paid": 5000})
    assert response.status_code == 200
    bill = response.json()
    assert (bill["status"], bill["amount_paid"], bill["amount_remaining"], bill["amount_overpaid"]) == (
        "PAID",
        5000,
        0,
        3000,
    )
    [entry] = api.get(f"/billing/entries?obligation={bill['id']}").json()["data"]
    assert (entry["kind"], entry["amount"], entry["total"]) == ("adjustment", 5000, 5000)
    assert entry["actor"].startswith("key:key_")
    types = list(Event.objects.order_by("id").values_list("type", flat=True))
    assert types[3:] == ["bill.updated", "bill.paid"]


def test_a_patch_that_changes_nothing_writes_nothing(api):
    api.post("/billing/bills", COMPOSITE)
    before = counts()
    response = api.patch("/billing/bills/INV-1", {"amount_due": 2000, "amount_paid": 0, "metadata": {}})
    assert (response.status_code, response.headers["ETag"]) == (200, '"1"')
    assert counts() == before


def test_a_void_bill_takes_no_change_but_metadata(api):
    api.post("/billing/bills", COMPOSITE)
    voided = api.post("/billing/bills/INV-1/void", {"reason": "typo"}, Idempotency_Key="v1")
    assert (voided.status_code, voided.json()["status"], voided.json()["void_reason"]) == (200, "VOIDED", "typo")
    for change in ({"amount_due": 1}, {"amount_paid": 1}, {"due_date": "2026-01-01"}, {"description": "x"}):
        refused = api.patch("/billing/bills/INV-1", change)
        assert (refused.status_code, refused.json()["code"]) == (409, "bill_voided")
    again = api.post("/billing/bills/INV-1/void", Idempotency_Key="v2")
    assert (again.status_code, again.json()["code"]) == (409, "bill_voided")
    assert api.patch("/billing/bills/INV-1", {"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    assert Entry.objects.count() == 0


def test_a_bill_with_money_on_it_cannot_be_void(api):
    api.post("/billing/bills", {**COMPOSITE, "amount_paid": 1})
    refused = api.post("/billing/bills/INV-1/void", Idempotency_Key="v1")
    assert (refused.status_code, refused.json()["code"]) == (409, "bill_has_payments")
    assert api.get("/billing/bills/INV-1").json()["status"] == "UNPAID"


def test_put_creates_with_201_then_updates_only_what_is_sent_with_200(api):
    body = {key: value for key, value in COMPOSITE.items() if key != "external_reference"}
    assert api.put("/billing/bills/INV-1", body).status_code == 201
    account = {"external_reference": "ACC-1", "customer": {"external_reference": "94/24615", "email": "jo@example.com"}}
    updated = api.put("/billing/bills/INV-1", {"description": "Water", "account": account})
    assert (updated.status_code, updated.json()["description"], updated.json()["amount_due"]) == (200, "Water", 2000)
    customer = api.get(f"/billing/customers/{updated.json()['customer_id']}").json()
    assert (customer["name"], customer["email"]) == ("John Doe", "jo@example.com")
    assert [Customer.objects.count(), Account.objects.count(), Bill.objects.count()] == [1, 1, 1]


def test_the_owner_currency_and_date_of_a_bill_cannot_change_by_put(api):
    bill = api.post("/billing/bills", COMPOSITE).json()
    change = {"currency": "USD", "bill_date": "2020-01-01", "customer": {"external_reference": "stranger"}}
    refused = api.put("/billing/bills/INV-1", change)
    assert refused.status_code == 409
    assert sorted(codes(refused)) == [
        ("/bill_date", "bill_date_fixed"),
        ("/currency", "bill_currency_fixed"),
        ("/customer", "bill_owner_fixed"),
    ]
    assert api.get("/billing/bills/INV-1").json() == bill
    assert not Customer.objects.filter(external_reference="stranger").exists()


def test_one_patch_changes_the_bill_its_account_and_its_customer(api):
    bill = api.post("/billing/bills", COMPOSITE).json()
    change = {"metadata": {"route": "7"}, "account": {"name": "Main", "customer": {"name": "Jane Doe"}}}
    assert api.patch("/billing/bills/INV-1", change).json()["metadata"] == {"route": "7"}
    assert api.get(f"/billing/accounts/{bill['account_id']}").json()["name"] == "Main"
    assert api.get(f"/billing/customers/{bill['customer_id']}").json()["name"] == "Jane Doe"


def test_rules_in_force_come_from_the_bill_then_account_then_customer_then_biller(api, biller):
    biller.amount_limits = {"ZAR": {"min_amount": 10, "max_amount": 9000}}
    biller.save()
    rules = {"payment_rules": {"min_amount": 500}}
    account = {
        "external_reference": "A",
        "payment_rules": {"overpayment_allowed": True},
        "customer": {"external_reference": "C", **rules},
    }
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 100, "account": account}
    bill = api.post("/billing/bills", body).json()
    assert bill["payment_rules"] == {
        "min_amount": 500,
        "max_amount": 9000,
        "underpayment_allowed": True,
        "overpayment_allowed": True,
    }
    api.patch("/billing/bills/B", {"payment_rules": {"min_amount": 7}})
    assert api.get("/billing/bills/B").json()["payment_rules"]["min_amount"] == 7
    unset = api.patch("/billing/bills/B", {"payment_rules": {"min_amount": None}}).json()
    assert unset["payment_rules"]["min_amount"] == 500
