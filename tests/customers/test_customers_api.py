"""Customers and their balances over the API: contract, sections 1 and 2."""

import pytest

from ledger.models import Entry

CUSTOMER = {"external_reference": "C-1", "name": "John Doe", "currency": "ZAR", "balance": 2000}
KINDS = {"customers": {}, "accounts": {"customer": {"external_reference": "owner"}}}
both = pytest.mark.parametrize("kind", KINDS)


def codes(response):
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


@pytest.fixture
def create(api):
    """Create a customer, or an account, with these fields."""

    def create(kind, **fields):
        made = api.post(f"/billing/{kind}", {"external_reference": "R", **KINDS[kind], **fields})
        assert made.status_code == 201, made.content
        return made.json()

    return create


def entries_of(record):
    return [
        (entry.sequence, entry.kind, entry.amount, entry.total)
        for entry in Entry.objects.order_by("sequence")
        if entry.obligation == record["id"]
    ]


@both
@pytest.mark.parametrize("balance", [2000, -2000, 1, 999_999_999_999, -999_999_999_999])
def test_a_balance_is_owed_when_positive_and_in_credit_when_negative(create, kind, balance):
    record = create(kind, currency="ZAR", balance=balance)
    assert (record["currency"], record["balance"]) == ("ZAR", balance)
    assert entries_of(record) == [(1, "opening", balance, balance)]


@both
def test_a_balance_of_0_is_tracked_and_null_is_not(create, kind):
    tracked = create(kind, currency="ZAR", balance=0)
    customer = {} if kind == "customers" else {"customer": "owner"}
    untracked = create(kind, external_reference="R-2", currency="ZAR", balance=None, **customer)
    assert (tracked["balance"], untracked["balance"]) == (0, None)
    assert (entries_of(tracked), entries_of(untracked)) == ([], [])


@both
@pytest.mark.parametrize("balance", [5, -5, 0])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_balance_needs_a_currency(api, create, everything, kind, method, balance):
    path = f"/billing/{kind}" + ("" if method == "POST" else "/R")
    sent = {"balance": balance}
    if method == "PATCH":
        create(kind)
    else:
        sent |= {"external_reference": "R", **KINDS[kind]}
    before = everything()
    refused = api.call(method, path, sent)
    one = kind.removesuffix("s")
    assert (refused.status_code, codes(refused)) == (422, [("", f"{one}_balance_needs_currency")])
    assert refused.json()["errors"][0]["detail"] == "A balance needs a currency."
    assert everything() == before


@both
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_balance_is_replaced_and_the_ledger_holds_the_difference(api, create, kind, method):
    record = create(kind, currency="ZAR", balance=2000)
    for balance in (5000, -100, 0, 0, 7):
        assert api.call(method, f"/billing/{kind}/R", {"balance": balance}).json()["balance"] == balance
    assert entries_of(record) == [
        (1, "opening", 2000, 2000),
        (2, "adjustment", 3000, 5000),
        (3, "adjustment", -5100, -100),
        (4, "adjustment", 100, 0),
        (5, "adjustment", 7, 7),
    ]


@both
def test_a_balance_stops_being_tracked_only_when_it_is_0_and_may_start_again(api, create, everything, kind):
    record = create(kind, currency="ZAR", balance=-1)
    before = everything()
    refused = api.patch(f"/billing/{kind}/R", {"balance": None, "metadata": {"a": "b"}})
    assert (refused.status_code, refused.json()["code"]) == (422, f"{kind.removesuffix('s')}_balance_not_zero")
    assert everything() == before
    for balance in (0, None, 0, None, 9, 0, None):
        changed = api.patch(f"/billing/{kind}/R", {"balance": balance})
        assert (changed.status_code, changed.json()["balance"]) == (200, balance)
    assert entries_of(record) == [
        (1, "opening", -1, -1),
        (2, "adjustment", 1, 0),
        (3, "adjustment", 9, 9),
        (4, "adjustment", -9, 0),
    ]


@both
@pytest.mark.parametrize("balance", [0, None])
def test_a_currency_changes_while_the_balance_is_0_or_untracked(api, create, kind, balance):
    create(kind, currency="ZAR", balance=balance)
    changed = api.patch(f"/billing/{kind}/R", {"currency": "JPY"}).json()
    assert (changed["currency"], changed["balance"]) == ("JPY", balance)
    changed = api.patch(f"/billing/{kind}/R", {"currency": "KWD", "balance": 5000}).json()
    assert (changed["currency"], changed["balance"]) == ("KWD", 5000)


@both
@pytest.mark.parametrize("change", [{"currency": "USD"}, {"currency": "USD", "balance": 0}, {"currency": None}])
def test_a_currency_stays_while_there_is_a_balance_in_it(api, create, everything, kind, change):
    create(kind, currency="ZAR", balance=1)
    before = everything()
    refused = api.patch(f"/billing/{kind}/R", change)
    one = kind.removesuffix("s")
    assert (refused.status_code, refused.json()["code"]) == (422, f"{one}_currency_fixed_by_balance")
    # Everything of the class is told at once.
    also = [("", f"{one}_balance_needs_currency")] if change["currency"] is None else []
    assert codes(refused) == [("", f"{one}_currency_fixed_by_balance"), *also]
    assert everything() == before


@both
def test_a_currency_is_removed_once_no_balance_is_tracked(api, create, everything, kind):
    create(kind, currency="ZAR", balance=0)
    before = everything()
    refused = api.patch(f"/billing/{kind}/R", {"currency": None})
    assert (refused.status_code, refused.json()["code"]) == (422, f"{kind.removesuffix('s')}_balance_needs_currency")
    assert everything() == before
    assert api.patch(f"/billing/{kind}/R", {"currency": None, "balance": None}).json()["currency"] is None


def test_bills_and_what_is_paid_on_them_never_change_a_balance(api):
    account = {"external_reference": "A", "currency": "ZAR", "balance": 70, "customer": CUSTOMER}
    bill = {"external_reference": "B", "currency": "ZAR", "amount_due": 100, "account": account}
    assert api.post("/billing/bills", bill).status_code == 201
    api.patch("/billing/bills/B", {"amount_paid": 100})
    api.patch("/billing/bills/B", {"amount_paid": 0})
    api.post("/billing/bills/B/void", Idempotency_Key="void")
    balances = [api.get(path).json()["balance"] for path in ("/billing/customers/C-1", "/billing/accounts/A")]
    assert balances == [2000, 70]


def test_equal_numbers_of_other_kinds_are_changes(api, create):
    """1 and true, 0 and false are never mistaken for each other."""
    create("customers", currency="ZAR", balance=1, payment_rules={"underpayment_allowed": True})
    assert api.patch("/billing/customers/R", {"balance": True}).status_code == 400
    assert api.patch("/billing/customers/R", {"balance": 1.0}).status_code == 400
