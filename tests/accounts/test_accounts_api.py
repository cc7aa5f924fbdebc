"""Accounts and the customers they hang on: contract, section 2."""

import pytest

from accounts.models import Account
from customers.models import Customer
from events.models import Event

NEW = {"external_reference": "C-2", "name": "New Customer", "currency": "ZAR", "balance": 300, "metadata": {"a": "b"}}


def codes(response):
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def events():
    return list(Event.objects.order_by("id").values_list("type", "body__external_reference"))


@pytest.fixture
def customer(api):
    return api.post("/billing/customers", {"external_reference": "C-1", "name": "Jo"}).json()


@pytest.fixture
def account(api, customer):
    made = api.post("/billing/accounts", {"external_reference": "A-1", "name": "Main", "customer": "C-1"})
    assert made.status_code == 201
    return made.json()


@pytest.mark.parametrize("form", ["id", "external_reference"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_account_is_opened_under_an_existing_customer(api, customer, form, method):
    path = "/billing/accounts" + ("/A-1" if method == "PUT" else "")
    made = api.call(method, path, {"external_reference": "A-1", "customer": customer[form]})
    assert (made.status_code, made.json()["customer_id"]) == (201, customer["id"])
    assert api.get("/billing/customers/C-1").json() == customer
    assert Customer.objects.count() == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_account_is_opened_with_a_new_customer_in_one_call(api, method):
    path = "/billing/accounts" + ("/A-1" if method == "PUT" else "")
    made = api.call(method, path, {"external_reference": "A-1", "customer": NEW})
    assert made.status_code == 201
    customer = api.get("/billing/customers/C-2").json()
    assert made.json()["customer_id"] == customer["id"]
    assert {name: customer[name] for name in NEW} == NEW
    assert events() == [("customer.created", "C-2"), ("account.created", "A-1")]


def test_two_accounts_of_one_new_customer_are_opened_one_after_the_other(api):
    first = api.post("/billing/accounts", {"external_reference": "A-1", "customer": NEW}).json()
    second = api.post("/billing/accounts", {"external_reference": "A-2", "customer": "C-2"}).json()
    assert first["customer_id"] == second["customer_id"]
    assert first["id"] != second["id"]


@pytest.mark.parametrize("name", ["nobody", "bcus_" + "0" * 22, "bacc_" + "0" * 22])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_customer_that_does_not_exist_is_named(api, everything, name, method):
    before = everything()
    path = "/billing/accounts" + ("/A-1" if method == "PUT" else "")
    refused = api.call(method, path, {"external_reference": "A-1", "customer": name})
    assert (refused.status_code, codes(refused)) == (422, [("/customer", "customer_not_found")])
    assert everything() == before


def test_another_billers_customer_does_not_exist(api, api_for, other, everything):
    foreign = api_for(other).post("/billing/customers", {"external_reference": "theirs"}).json()
    before = everything()
    for name in ("theirs", foreign["id"]):
        refused = api.post("/billing/accounts", {"external_reference": "A-1", "customer": name})
        assert (refused.status_code, codes(refused)) == (422, [("/customer", "customer_not_found")])
    assert everything() == before


def test_in_post_a_nested_customer_is_new_and_all_taken_references_are_told(api, account, customer, everything):
    before = everything()
    body = {"external_reference": "A-1", "customer": {"external_reference": "C-1", "name": "Other"}}
    refused = api.post("/billing/accounts", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "external_reference_taken")
    assert {error["pointer"]: error["existing_id"] for error in refused.json()["errors"]} == {
        "/external_reference": account["id"],
        "/customer/external_reference": customer["id"],
    }
    fresh = {"external_reference": "A-1", "customer": {"external_reference": "C-9"}}
    assert codes(api.post("/billing/accounts", fresh)) == [("/external_reference", "external_reference_taken")]
    assert everything() == before


def test_a_rule_broken_by_either_leaves_neither(api, everything):
    before = everything()
    body = {"external_reference": "A", "balance": 1, "customer": {"external_reference": "C", "balance": 1}}
    refused = api.post("/billing/accounts", body)
    assert (refused.status_code, sorted(codes(refused))) == (
        422,
        [("", "account_balance_needs_currency"), ("/customer", "customer_balance_needs_currency")],
    )
    body["customer"]["currency"] = "ZAR"
    refused = api.post("/billing/accounts", body)
    assert (refused.status_code, codes(refused)) == (422, [("", "account_balance_needs_currency")])
    assert everything() == before


# --- PATCH and PUT through to the customer ----------------------------------------------------------------------------


def test_a_patch_changes_the_account_and_its_customer_in_one_call(api, account):
    told = len(events())
    changed = api.patch(
        "/billing/accounts/A-1",
        {"name": "Home", "currency": "ZAR", "balance": 5, "customer": {"name": "Jane", "metadata": {"vip": "1"}}},
    )
    assert (changed.status_code, changed.json()["name"], changed.json()["balance"]) == (200, "Home", 5)
    customer = api.get("/billing/customers/C-1").json()
    assert (customer["name"], customer["metadata"]) == ("Jane", {"vip": "1"})
    assert events()[told:] == [("customer.updated", "C-1"), ("account.updated", "A-1")]


def test_a_patch_of_the_customer_alone_leaves_the_account_as_it_is(api, account):
    etag = api.get("/billing/accounts/A-1").headers["ETag"]
    changed = api.patch("/billing/accounts/A-1", {"customer": {"name": "Jane"}})
    assert (changed.json(), changed.headers["ETag"]) == (account, etag)
    assert Customer.objects.get().name == "Jane"


def test_a_patch_that_either_refuses_changes_neither(api, account, everything):
    before = everything()
    for body, pointer, code in (
        ({"name": "x", "customer": {"name": "y", "balance": 1}}, "/customer", "customer_balance_needs_currency"),
        ({"balance": 1, "customer": {"name": "y"}}, "", "account_balance_needs_currency"),
    ):
        refused = api.patch("/billing/accounts/A-1", body)
        assert (refused.status_code, codes(refused)) == (422, [(pointer, code)])
    stale = api.patch("/billing/accounts/A-1", {"name": "x", "customer": {"name": "y"}}, If_Match='"9"')
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert everything() == before


def test_put_creates_or_updates_the_nested_customer_too(api, account, customer):
    nested = {"external_reference": "C-1", "email": "jo@example.com"}
    updated = api.put("/billing/accounts/A-1", {"name": "Home", "customer": nested})
    assert (updated.status_code, updated.json()["name"]) == (200, "Home")
    known = api.get("/billing/customers/C-1").json()
    assert (known["id"], known["name"], known["email"]) == (customer["id"], "Jo", "jo@example.com")
    created = api.put("/billing/accounts/A-2", {"customer": {**nested, "name": "Jane"}})
    assert (created.status_code, created.json()["customer_id"]) == (201, customer["id"])
    assert Customer.objects.get().name == "Jane"
    assert Account.objects.count() == 2


@pytest.mark.parametrize("wrong", ["C-2", NEW, {"external_reference": "C-3"}])
def test_an_account_stays_with_its_customer(api, account, everything, wrong):
    api.post("/billing/customers", {"external_reference": "C-2"})
    before = everything()
    refused = api.put("/billing/accounts/A-1", {"name": "x", "customer": wrong})
    assert (refused.status_code, codes(refused)) == (409, [("/customer", "account_customer_fixed")])
    assert everything() == before
    for right in ("C-1", account["customer_id"], {"external_reference": "C-1"}):
        assert api.put("/billing/accounts/A-1", {"customer": right}).json() == account
    assert everything() == before


def test_a_put_that_creates_an_account_needs_its_customer(api, everything):
    before = everything()
    refused = api.put("/billing/accounts/A-1", {"name": "x"})
    assert (refused.status_code, codes(refused)) == (400, [("/customer", "required")])
    assert everything() == before


def test_expand_shows_the_customer_beside_its_id(api, account, customer):
    for answer in (
        api.get("/billing/accounts/A-1?expand=customer").json(),
        api.get("/billing/accounts?expand=customer").json()["data"][0],
    ):
        assert answer == {**account, "customer": customer}
