"""A bill that is there: PUT, PATCH and void, with its parents in the same call: contract, section 2."""

import pytest

from accounts.models import Account
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry

VOID = "/billing/bills/B-1/void"


def codes(response):
    return sorted((error["pointer"], error["code"]) for error in response.json()["errors"])


def told_since(count):
    return list(Event.objects.order_by("id").values_list("type", flat=True))[count:]


@pytest.fixture
def bill(api):
    """Bill B-1 of account A-1 of customer C-1."""
    account = {"external_reference": "A-1", "name": "Main", "customer": {"external_reference": "C-1", "name": "Jo"}}
    body = {"external_reference": "B-1", "currency": "ZAR", "amount_due": 2000, "account": account}
    made = api.post("/billing/bills", {**body, "bill_date": "2026-01-31"})
    assert made.status_code == 201
    return made.json()


@pytest.fixture
def plain(api, bill):
    """Bill B-2, directly under customer C-1."""
    body = {"external_reference": "B-2", "currency": "ZAR", "amount_due": 5, "customer": "C-1"}
    return api.post("/billing/bills", body).json()


# --- PUT --------------------------------------------------------------------------------------------------------------


def test_put_updates_the_bill_its_account_and_its_customer(api, bill):
    count = Event.objects.count()
    nested = {"external_reference": "C-1", "email": "jo@example.com", "currency": "ZAR", "balance": 5}
    account = {"external_reference": "A-1", "name": "Home", "customer": nested}
    updated = api.put("/billing/bills/B-1", {"amount_due": 2100, "account": account})
    assert updated.status_code == 200
    assert {name for name in bill if bill[name] != updated.json()[name]} == {
        "amount_due",
        "amount_remaining",
        "updated_at",
    }
    customer, account = api.get("/billing/customers/C-1").json(), api.get("/billing/accounts/A-1").json()
    assert (customer["name"], customer["email"], customer["balance"]) == ("Jo", "jo@example.com", 5)
    assert account["name"] == "Home"
    assert told_since(count) == ["customer.updated", "account.updated", "bill.updated"]


def test_put_takes_the_customer_beside_the_account_too(api, bill):
    body = {"account": {"external_reference": "A-1", "name": "Home"}, "customer": {"external_reference": "C-1"}}
    assert api.put("/billing/bills/B-1", body).json() == bill
    assert Account.objects.get().name == "Home"
    body["customer"]["name"] = "Jane"
    assert api.put("/billing/bills/B-1", body).json() == bill
    assert Customer.objects.get().name == "Jane"


def test_put_that_creates_a_bill_updates_the_parents_that_are_there_and_creates_the_rest(api, bill):
    account = {"external_reference": "A-2", "name": "New", "customer": {"external_reference": "C-1", "name": "Jane"}}
    created = api.put("/billing/bills/B-3", {"currency": "ZAR", "amount_due": 5, "account": account})
    assert (created.status_code, created.json()["customer_id"]) == (201, bill["customer_id"])
    assert [Customer.objects.get().name, Account.objects.count(), Bill.objects.count()] == ["Jane", 2, 2]


def test_put_answers_with_the_rules_its_parents_have_by_then(api, bill):
    nested = {"external_reference": "C-1", "payment_rules": {"min_amount": 7}}
    account = {"external_reference": "A-1", "payment_rules": {"max_amount": 70}, "customer": nested}
    updated = api.put("/billing/bills/B-1", {"account": account}).json()
    assert (updated["payment_rules"]["min_amount"], updated["payment_rules"]["max_amount"]) == (7, 70)
    created = api.put("/billing/bills/B-3", {"currency": "ZAR", "amount_due": 5, "account": account}).json()
    assert created["payment_rules"] == updated["payment_rules"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"currency": "USD"}, [("/currency", "bill_currency_fixed")]),
        ({"bill_date": "2026-02-01"}, [("/bill_date", "bill_date_fixed")]),
        ({"customer": "stranger"}, [("/customer", "bill_owner_fixed")]),
        ({"customer": {"external_reference": "stranger", "name": "x"}}, [("/customer", "bill_owner_fixed")]),
        ({"customer": {"external_reference": "new"}}, [("/customer", "bill_owner_fixed")]),
        ({"account": "A-9"}, [("/account", "bill_owner_fixed")]),
        ({"account": {"external_reference": "A-9", "name": "x"}}, [("/account", "bill_owner_fixed")]),
        (
            {"account": {"external_reference": "new", "customer": {"external_reference": "C-1"}}},
            [("/account", "bill_owner_fixed")],
        ),
        (
            {"account": {"external_reference": "A-1", "customer": {"external_reference": "stranger"}}},
            [("/account/customer", "account_customer_fixed")],
        ),
        (
            {"customer": "stranger", "currency": "USD", "bill_date": "2026-02-01", "amount_due": 1},
            [
                ("/bill_date", "bill_date_fixed"),
                ("/currency", "bill_currency_fixed"),
                ("/customer", "bill_owner_fixed"),
            ],
        ),
    ],
)
def test_owner_currency_and_date_of_a_bill_cannot_change(api, bill, everything, change, expected):
    api.post("/billing/accounts", {"external_reference": "A-9", "customer": {"external_reference": "stranger"}})
    before = everything()
    refused = api.put("/billing/bills/B-1", {**change, "description": "never"})
    assert (refused.status_code, codes(refused)) == (409, expected)
    assert everything() == before


def test_the_same_owner_currency_and_date_may_be_sent(api, bill, plain, everything):
    before = everything()
    for owner in ({"customer": "C-1"}, {"account": bill["account_id"]}, {"account": "A-1", "customer": "C-1"}, {}):
        same = api.put("/billing/bills/B-1", {"currency": "ZAR", "bill_date": "2026-01-31", **owner})
        assert (same.status_code, same.json()) == (200, bill)
    refused = api.put("/billing/bills/B-2", {"account": "A-1"})
    assert (refused.status_code, codes(refused)) == (409, [("/account", "bill_owner_fixed")])
    assert everything() == before


def test_put_that_creates_needs_what_post_needs(api, everything):
    before = everything()
    refused = api.put("/billing/bills/B-9", {"description": "x"})
    assert (refused.status_code, codes(refused)) == (
        400,
        [("/amount_due", "required"), ("/currency", "required"), ("/customer", "required")],
    )
    body = {"currency": "ZAR", "amount_due": 5, "account": {"external_reference": "new"}}
    refused = api.put("/billing/bills/B-9", body)
    assert (refused.status_code, codes(refused)) == (400, [("/account/customer", "required")])
    stale = api.put("/billing/bills/B-9", {**body, "account": "A"}, If_Match='"1"')
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert everything() == before


# --- PATCH ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nested",
    [
        {"customer": {"name": "Jane", "currency": "ZAR", "balance": 3}},
        {"account": {"customer": {"name": "Jane", "currency": "ZAR", "balance": 3}}},
    ],
)
def test_a_patch_reaches_the_customer_beside_the_account_or_through_it(api, bill, nested):
    count = Event.objects.count()
    changed = api.patch("/billing/bills/B-1", {"metadata": {"a": "b"}, "amount_paid": 1, **nested})
    assert (changed.status_code, changed.json()["metadata"], changed.json()["amount_paid"]) == (200, {"a": "b"}, 1)
    customer = api.get("/billing/customers/C-1").json()
    assert (customer["name"], customer["balance"]) == ("Jane", 3)
    assert told_since(count) == ["customer.updated", "bill.updated"]
    assert list(Entry.objects.order_by("id").values_list("obligation_kind", "amount")) == [("customer", 3), ("bill", 1)]


def test_a_patch_changes_bill_account_and_customer_together(api, bill):
    account = {"name": "Home", "currency": "ZAR", "balance": 8}
    changed = api.patch("/billing/bills/B-1", {"due_date": "2099-01-01", "account": account, "customer": {"name": "J"}})
    assert (changed.status_code, changed.json()["due_date"]) == (200, "2099-01-01")
    assert (Account.objects.get().name, Account.objects.get().balance, Customer.objects.get().name) == ("Home", 8, "J")


def test_a_patch_of_parents_alone_leaves_the_bill_as_it_is(api, bill, plain):
    for name in ("B-1", "B-2"):
        before = api.get(f"/billing/bills/{name}")
        changed = api.patch(f"/billing/bills/{name}", {"customer": {"name": name}})
        assert (changed.status_code, changed.headers["ETag"]) == (200, before.headers["ETag"])
        assert changed.json() == before.json()
        assert Customer.objects.get().name == name


def test_a_bill_without_an_account_has_none_to_change(api, plain, everything):
    before = everything()
    refused = api.patch("/billing/bills/B-2", {"description": "x", "account": {"name": "y"}})
    assert (refused.status_code, codes(refused)) == (422, [("/account", "bill_without_account")])
    assert everything() == before


def test_a_patch_that_any_of_the_three_refuses_changes_none(api, bill, everything):
    before = everything()
    crossed = {"payment_rules": {"min_amount": 2, "max_amount": 1}}
    for body, expected in (
        ({"amount_paid": 1, "customer": {"balance": 1}}, ("/customer", "customer_balance_needs_currency")),
        (
            {"amount_paid": 1, "account": {"name": "x", "customer": {"balance": 1}}},
            ("/account/customer", "customer_balance_needs_currency"),
        ),
        ({"customer": {"name": "x"}, "account": {"balance": 1}}, ("/account", "account_balance_needs_currency")),
        ({"customer": {"name": "x"}, "amount_paid": 1, **crossed}, ("", "bill_min_amount_above_max_amount")),
    ):
        refused = api.patch("/billing/bills/B-1", body)
        assert (refused.status_code, codes(refused)) == (422, [expected])
    stale = api.patch("/billing/bills/B-1", {"customer": {"name": "x"}}, If_Match='"7"')
    assert stale.status_code == 412
    assert everything() == before


def test_amount_paid_is_the_new_total_and_goes_down_too(api, bill):
    for paid, status in ((500, "UNPAID"), (2000, "PAID"), (2500, "PAID"), (1999, "UNPAID"), (0, "UNPAID")):
        changed = api.patch("/billing/bills/B-1", {"amount_paid": paid}).json()
        assert (changed["amount_paid"], changed["status"]) == (paid, status)
    amounts = list(Entry.objects.order_by("sequence").values_list("sequence", "kind", "amount", "total"))
    assert amounts == [
        (1, "adjustment", 500, 500),
        (2, "adjustment", 1500, 2000),
        (3, "adjustment", 500, 2500),
        (4, "adjustment", -501, 1999),
        (5, "adjustment", -1999, 0),
    ]


def test_a_bill_is_told_paid_each_time_it_becomes_so(api, bill):
    count = Event.objects.count()
    for change in ({"amount_paid": 2000}, {"amount_paid": 2500}, {"amount_due": 3000}, {"amount_due": 2500}):
        assert api.patch("/billing/bills/B-1", change).status_code == 200
    updated, paid = "bill.updated", "bill.paid"
    assert told_since(count) == [updated, paid, updated, updated, updated, paid]


# --- Void -------------------------------------------------------------------------------------------------------------


def test_a_void_bill_says_when_and_why_for_good(api, bill):
    count = Event.objects.count()
    void = api.post(VOID, {"reason": "A typing error"}, Idempotency_Key="void")
    answer = void.json()
    assert (void.status_code, answer["status"], answer["void_reason"]) == (200, "VOIDED", "A typing error")
    assert answer["voided_at"] > bill["created_at"]
    assert {name for name in bill if bill[name] != answer[name]} == {
        *("status", "void_reason", "voided_at", "updated_at"),
    }
    assert void.headers["ETag"] == '"2"'
    assert api.get("/billing/bills/B-1").json() == answer
    [event] = Event.objects.order_by("id")[count:]
    body = {"id": bill["id"], "external_reference": "B-1", "status": "VOIDED", "void_reason": "A typing error"}
    assert (event.type, event.body) == ("bill.voided", body)


@pytest.mark.parametrize("body", [None, {}, {"reason": None}])
def test_a_void_needs_no_reason(api, bill, body):
    void = api.post(VOID, body, Idempotency_Key="void")
    assert (void.status_code, void.json()["status"], void.json()["void_reason"]) == (200, "VOIDED", None)


def test_a_void_needs_an_idempotency_key_and_is_answered_again_under_it(api, bill, everything):
    before = everything()
    refused = api.post(VOID, {})
    assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_required")
    assert everything() == before
    first = api.post(VOID, {}, Idempotency_Key="void")
    done = everything()
    again = api.post(VOID, {}, Idempotency_Key="void")
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (200, first.content, "true")
    assert everything() == done


def test_a_void_honours_if_match(api, bill, everything):
    before = everything()
    stale = api.post(VOID, {}, Idempotency_Key="void", If_Match='"2"')
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert everything() == before
    assert api.post(VOID, {}, Idempotency_Key="void", If_Match='"1"').status_code == 200


@pytest.mark.parametrize("paid", [1, 2000, 3000])
def test_a_bill_with_money_on_it_is_not_voided_until_it_is_taken_back(api, bill, everything, paid):
    api.patch("/billing/bills/B-1", {"amount_paid": paid})
    before = everything()
    refused = api.post(VOID, {}, Idempotency_Key="void")
    assert (refused.status_code, codes(refused)) == (409, [("", "bill_has_payments")])
    assert everything() == before
    api.patch("/billing/bills/B-1", {"amount_paid": 0})
    assert api.post(VOID, {}, Idempotency_Key="void").json()["status"] == "VOIDED"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "change",
    [
        *({"amount_due": 1}, {"amount_paid": 1}, {"due_date": "2099-01-01"}, {"description": "x"}),
        *({"payment_rules": {"min_amount": 1}}, {"metadata": {"a": "b"}, "description": "x"}),
        {"amount_paid": 2000, "customer": {"name": "never"}},
    ],
)
def test_a_void_bill_takes_no_payment_and_no_change(api, bill, everything, method, change):
    api.post(VOID, {}, Idempotency_Key="void")
    before = everything()
    if method == "PUT" and "customer" in change:
        change = {**change, "customer": {**change["customer"], "external_reference": "C-1"}}
    refused = api.call(method, "/billing/bills/B-1", change)
    assert (refused.status_code, codes(refused)) == (409, [("", "bill_voided")])
    again = api.post(VOID, {}, Idempotency_Key="again")
    assert (again.status_code, codes(again)) == (409, [("", "bill_voided")])
    assert everything() == before


def test_a_void_bill_takes_metadata_and_what_it_has_already(api, bill):
    void = api.post(VOID, {}, Idempotency_Key="void").json()
    same = api.patch("/billing/bills/B-1", {"amount_due": 2000, "description": None})
    assert (same.status_code, same.json()) == (200, void)
    changed = api.patch("/billing/bills/B-1", {"metadata": {"a": "b"}, "amount_due": 2000})
    assert (changed.status_code, changed.json()["metadata"], changed.json()["status"]) == (200, {"a": "b"}, "VOIDED")
    assert api.put("/billing/bills/B-1", {"metadata": {"a": None}}).json()["metadata"] == {}


def test_what_is_absent_cannot_be_voided(api, api_for, other, bill, everything):
    before = everything()
    for caller, key in ((api, "none"), (api_for(other), "B-1"), (api_for(other), bill["id"])):
        refused = caller.post(f"/billing/bills/{key}/void", {}, Idempotency_Key="void")
        assert (refused.status_code, refused.json()["code"]) == (404, "bill_not_found")
    assert everything() == before
