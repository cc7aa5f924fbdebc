"""A bill and its owner, in every form that POST and PUT take: contract, section 2."""

import pytest

from accounts.models import Account
from bills.models import Bill
from customers.models import Customer
from events.models import Event

NEW_CUSTOMER = {"external_reference": "C-2", "name": "New", "currency": "ZAR", "balance": 9}
NEW_ACCOUNT = {"external_reference": "A-2", "name": "Second", "currency": "ZAR", "balance": 7}
BILL = {"external_reference": "B-1", "currency": "ZAR", "amount_due": 2000}
both = pytest.mark.parametrize("method", ["POST", "PUT"])


def codes(response):
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


@pytest.fixture
def known(api):
    """Customer C-1 with account A-1, and customer `stranger` without."""
    account = {"external_reference": "A-1", "customer": {"external_reference": "C-1", "name": "Jo"}}
    account = api.post("/billing/accounts", account).json()
    stranger = api.post("/billing/customers", {"external_reference": "stranger"}).json()
    return {"A-1": account["id"], "C-1": account["customer_id"], "stranger": stranger["id"]}


@pytest.fixture
def send(api):
    """Create the bill B-1 by POST or by PUT."""

    def send(method, **fields):
        return api.call(method, "/billing/bills" + ("/B-1" if method == "PUT" else ""), {**BILL, **fields})

    return send


def by_id(owner, known):
    """Return an owner with its references of existing records written as ids."""
    if isinstance(owner, str):
        return known[owner]
    return {name: by_id(value, known) if name in {"customer", "account"} else value for name, value in owner.items()}


OWNERS = {
    "a customer": ({"customer": "C-1"}, "C-1", None),
    "a new customer": ({"customer": NEW_CUSTOMER}, "C-2", None),
    "an account": ({"account": "A-1"}, "C-1", "A-1"),
    "an account and its customer": ({"account": "A-1", "customer": "C-1"}, "C-1", "A-1"),
    "a new account nesting a customer": ({"account": {**NEW_ACCOUNT, "customer": "C-1"}}, "C-1", "A-2"),
    "a new account nesting a new customer": ({"account": {**NEW_ACCOUNT, "customer": NEW_CUSTOMER}}, "C-2", "A-2"),
    "a new account beside a customer": ({"account": NEW_ACCOUNT, "customer": "C-1"}, "C-1", "A-2"),
    "a new account beside a new customer": ({"account": NEW_ACCOUNT, "customer": NEW_CUSTOMER}, "C-2", "A-2"),
}


@both
@pytest.mark.parametrize("named", ["by reference", "by id"])
@pytest.mark.parametrize("form", OWNERS)
def test_a_bill_is_issued_to(api, send, known, method, form, named):
    owners, customer, account = OWNERS[form]
    if named == "by id":
        owners = by_id(owners, known)
    issued = send(method, **owners)
    assert issued.status_code == 201, issued.content
    bill = issued.json()
    assert bill["customer_id"] == api.get(f"/billing/customers/{customer}").json()["id"]
    assert bill["account_id"] == (api.get(f"/billing/accounts/{account}").json()["id"] if account else None)
    new = {"C-2": NEW_CUSTOMER, "A-2": NEW_ACCOUNT}
    for kind, reference in (("customers", customer), ("accounts", account)):
        if reference in new:
            made = api.get(f"/billing/{kind}/{reference}").json()
            assert {name: made[name] for name in new[reference]} == new[reference]
    counts = (Customer.objects.count(), Account.objects.count(), Bill.objects.count())
    assert counts == (2 + (customer == "C-2"), 1 + (account == "A-2"), 1)
    if account:
        assert Account.objects.get(external_reference=account).customer_id == bill["customer_id"]


@both
@pytest.mark.parametrize("named", ["stranger", "id of stranger", "bcus_" + "0" * 22, "nobody", "a new one"])
def test_the_customer_beside_an_existing_account_must_be_its_own(api, send, known, everything, method, named):
    customer = {"id of stranger": known["stranger"], "a new one": NEW_CUSTOMER}.get(named, named)
    before = everything()
    refused = send(method, account="A-1", customer=customer)
    absent = named in {"nobody", "bcus_" + "0" * 22}
    code = "customer_not_found" if absent else "account_of_another_customer"
    assert (refused.status_code, codes(refused)) == (422, [("/customer", code)])
    assert everything() == before


@pytest.mark.parametrize("account", ["A-1", {"external_reference": "A-1"}, {"external_reference": "A-1", "name": "x"}])
@pytest.mark.parametrize("customer", ["stranger", {"external_reference": "stranger"}, NEW_CUSTOMER])
def test_a_put_too_refuses_an_account_beside_another_customer(api, send, known, everything, account, customer):
    for _ in range(2):  # where it would create the bill, then where it would update it
        before = everything()
        refused = send("PUT", account=account, customer=customer, description="x")
        assert (refused.status_code, codes(refused)) == (422, [("/customer", "account_of_another_customer")])
        assert everything() == before
        assert send("PUT", account="A-1").status_code in {200, 201}


@both
def test_parents_that_do_not_exist_are_all_named_before_anything_else_is_judged(api, send, known, everything, method):
    send("POST", customer="C-1")
    before = everything()
    cases = [
        ({"customer": "no"}, [("/customer", "customer_not_found")]),
        ({"account": "no"}, [("/account", "account_not_found")]),
        (
            {"account": "no", "customer": "nor"},
            [("/account", "account_not_found"), ("/customer", "customer_not_found")],
        ),
        ({"account": "no", "customer": "C-1"}, [("/account", "account_not_found")]),
        ({"account": {**NEW_ACCOUNT, "customer": "no"}}, [("/account/customer", "customer_not_found")]),
        ({"account": NEW_ACCOUNT, "customer": "no"}, [("/customer", "customer_not_found")]),
        ({"account": "bill_" + "0" * 22}, [("/account", "account_not_found")]),
    ]
    for owners, expected in cases:
        refused = send(method, **owners)
        assert (refused.status_code, sorted(codes(refused))) == (422, expected), owners
    assert everything() == before


def test_all_taken_references_are_told_at_once(api, send, known, everything):
    bill = send("POST", account="A-1").json()
    before = everything()
    for owners, taken in (
        ({"customer": {"external_reference": "C-1"}}, {"/customer/external_reference": known["C-1"]}),
        (
            {"account": {"external_reference": "A-1", "customer": {"external_reference": "stranger"}}},
            {
                "/account/external_reference": known["A-1"],
                "/account/customer/external_reference": known["stranger"],
            },
        ),
        (
            {"account": {"external_reference": "A-1"}, "customer": {"external_reference": "C-1"}},
            {"/account/external_reference": known["A-1"], "/customer/external_reference": known["C-1"]},
        ),
        ({"account": {"external_reference": "fresh"}, "customer": {"external_reference": "fresh"}}, {}),
    ):
        refused = send("POST", **owners)
        assert (refused.status_code, refused.json()["code"]) == (409, "external_reference_taken")
        told = {error["pointer"]: error["existing_id"] for error in refused.json()["errors"]}
        assert told == {"/external_reference": bill["id"], **taken}
    assert everything() == before


def test_rules_broken_anywhere_in_the_call_are_told_at_once_and_nothing_is_written(send, everything):
    before = everything()
    crossed = {"payment_rules": {"min_amount": 2, "max_amount": 1}}
    customer = {"external_reference": "C", "balance": 1, **crossed}
    refused = send("POST", account={"external_reference": "A", "balance": 1, "customer": customer}, **crossed)
    assert refused.status_code == 422
    assert sorted(codes(refused)) == [
        ("", "bill_min_amount_above_max_amount"),
        ("/account", "account_balance_needs_currency"),
        ("/account/customer", "customer_balance_needs_currency"),
        ("/account/customer", "customer_min_amount_above_max_amount"),
    ]
    assert everything() == before


@both
def test_one_call_tells_one_event_of_each_record_parents_first(send, method):
    send(method, account={**NEW_ACCOUNT, "customer": NEW_CUSTOMER})
    assert list(Event.objects.order_by("id").values_list("type", flat=True)) == [
        "customer.created",
        "account.created",
        "bill.created",
    ]


@pytest.mark.parametrize(
    ("currency", "amount"), [("JPY", 20), ("KWD", 20000), ("ZAR", 2000), ("BHD", 1), ("CLF", 99_999), ("XOF", 5)]
)
def test_amounts_are_whole_minor_units_of_any_currency(api, currency, amount):
    bill = {"external_reference": "B", "currency": currency, "amount_due": amount, "amount_paid": amount}
    issued = api.post("/billing/bills", {**bill, "customer": {"external_reference": "C"}}).json()
    assert (issued["currency"], issued["amount_due"], issued["status"]) == (currency, amount, "PAID")


def test_the_bills_of_one_customer_may_be_in_many_currencies(api, known):
    for number, currency in enumerate(("JPY", "KWD", "ZAR", "USD")):
        bill = {"external_reference": f"B-{number}", "currency": currency, "amount_due": 5, "account": "A-1"}
        assert api.post("/billing/bills", bill).status_code == 201
    [bill] = api.get("/billing/bills?currency=KWD").json()["data"]
    assert (bill["external_reference"], len(api.get("/billing/bills?customer=C-1").json()["data"])) == ("B-1", 4)


@pytest.mark.parametrize(
    ("due", "paid", "remaining", "overpaid", "status"),
    [(100, 0, 100, 0, "UNPAID"), (100, 99, 1, 0, "UNPAID"), (100, 100, 0, 0, "PAID"), (100, 101, 0, 1, "PAID")],
)
def test_status_and_what_remains_follow_from_the_amounts(api, due, paid, remaining, overpaid, status):
    customer = {"external_reference": "C"}
    bill = {"external_reference": "B", "currency": "ZAR", "amount_due": due, "amount_paid": paid, "customer": customer}
    answers = [api.post("/billing/bills", bill).json()]
    api.post("/billing/bills", {**bill, "external_reference": "P", "amount_paid": 0, "customer": "C"})
    answers += [api.patch("/billing/bills/P", {"amount_paid": paid}).json()]
    api.post("/billing/bills", {**bill, "external_reference": "D", "amount_due": 7, "customer": "C"})
    answers += [api.patch("/billing/bills/D", {"amount_due": due}).json()]
    for answer in answers:
        told = [answer[name] for name in ("amount_paid", "amount_remaining", "amount_overpaid", "status")]
        assert told == [paid, remaining, overpaid, status]


@pytest.mark.parametrize("status", ["PAID", "UNPAID", "VOIDED"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_nobody_can_write_a_status(api, everything, status, method):
    api.post("/billing/bills", {**BILL, "customer": {"external_reference": "C"}})
    before = everything()
    path = "/billing/bills" + ("" if method == "POST" else "/B-1")
    body = {"status": status} | ({**BILL, "external_reference": "B-2", "customer": "C"} if method == "POST" else {})
    refused = api.call(method, path, body)
    assert (refused.status_code, codes(refused)) == (400, [("/status", "read_only")])
    assert everything() == before
