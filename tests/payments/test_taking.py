"""Taking a payment: what it pays, what the rules say, what it leaves behind. Contract, section 3."""

import pytest
from django.db import IntegrityError
from django.utils import timezone

from billers.models import Enablement
from events.models import Event
from ledger.models import Entry
from payments.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)


def entries_of(api, obligation):
    data = api.get(f"/billing/entries?obligation={obligation}").json()["data"]
    return [(entry["kind"], entry["amount"], entry["total"]) for entry in reversed(data)]


# --- Of one obligation ------------------------------------------------------------------------------------------------


def test_a_payment_of_a_bill_raises_its_amount_paid_and_pays_it(api, pay, owe):
    bill = owe(2000)
    first = pay(amount=500, obligation=bill["id"])
    assert first.status_code == 201
    assert first.headers["Location"] == f"/partner/payments/{first.json()['id']}"
    second = pay(amount=1500, obligation=bill["id"])
    paid = api.get(f"/billing/bills/{bill['id']}").json()
    assert (paid["amount_paid"], paid["amount_remaining"], paid["status"]) == (2000, 0, "PAID")
    assert entries_of(api, bill["id"]) == [("payment", 500, 500), ("payment", 1500, 2000)]
    entry = api.get(f"/billing/entries?payment={second.json()['id']}").json()["data"]
    assert [one["payment_id"] for one in entry] == [second.json()["id"]]


def test_the_answer_carries_the_receipt(pay, owe):
    bill = owe(2000)
    told = pay(amount=500, obligation=bill["id"], method="card", metadata={"till": "7"}).json()
    created_at, payment_id = told.pop("created_at"), told.pop("id")
    assert payment_id.startswith("pay_")
    assert created_at.endswith("Z")
    assert told == {
        "external_reference": "T-0",
        "status": "ACCEPTED",
        "biller": "acme",
        "biller_name": "Acme Water",
        "payer_name": "J*** D**",
        "amount": 500,
        "currency": "ZAR",
        "method": "card",
        "allocations": [{"obligation": bill["id"], "kind": "bill", "amount": 500, "remaining": 1500}],
        "amount_remaining": 1500,
        "paid_at": None,
        "metadata": {"till": "7"},
        "reversed_at": None,
        "reversal_reason": None,
    }


def test_paid_at_is_information_and_no_more(pay, owe):
    told = pay(amount=1, obligation=owe()["id"], paid_at="2020-02-29T23:59:59+02:00").json()
    assert told["paid_at"] == "2020-02-29T21:59:59Z"
    assert told["created_at"] > "2026"


@pytest.mark.parametrize("kind", ["customers", "accounts"])
def test_a_payment_of_a_balance_lowers_it(api, pay, kind):
    body = {"external_reference": "x", "currency": "ZAR", "balance": 900}
    if kind == "accounts":
        body["customer"] = {"external_reference": "c", "name": "Ann"}
    owed = api.post(f"/billing/{kind}", body).json()
    told = pay(amount=400, obligation=owed["id"]).json()
    assert told["allocations"] == [
        {"obligation": owed["id"], "kind": kind.removesuffix("s"), "amount": 400, "remaining": 500}
    ]
    assert api.get(f"/billing/{kind}/x").json()["balance"] == 500
    assert entries_of(api, owed["id"]) == [("opening", 900, 900), ("payment", -400, 500)]


def test_a_payment_tells_of_the_amount_applied_and_of_the_bill_that_it_pays(api, pay, owe):
    bill = owe(700, due_date="2026-12-31")
    Event.objects.all().delete()
    told = pay(amount=700, obligation=bill["id"]).json()
    applied, paid = Event.objects.order_by("id")
    assert (applied.type, paid.type) == ("obligation.amount_applied", "bill.paid")
    assert applied.body == {
        "id": bill["id"],
        "external_reference": bill["external_reference"],
        "payment_id": told["id"],
        "amount": 700,
        "currency": "ZAR",
        "amount_due": 700,
        "amount_paid": 700,
        "status": "PAID",
    }


# --- Of listed obligations --------------------------------------------------------------------------------------------


def test_a_payment_may_list_bills_and_balances_of_one_biller(api, pay, owe):
    first, second = owe(300), owe(500)
    customer = api.post("/billing/customers", {"external_reference": "c", "currency": "ZAR", "balance": 50}).json()
    shares = {second["id"]: 200, customer["id"]: 50, first["id"]: 300}
    told = pay(amount=550, allocations=[{"obligation": key, "amount": amount} for key, amount in shares.items()])
    assert told.status_code == 201
    assert {one["obligation"]: one["amount"] for one in told.json()["allocations"]} == shares
    assert told.json()["amount_remaining"] == 300
    assert api.get(f"/billing/bills/{first['id']}").json()["status"] == "PAID"
    assert api.get(f"/billing/bills/{second['id']}").json()["amount_paid"] == 200
    assert api.get("/billing/customers/c").json()["balance"] == 0
    assert Entry.objects.filter(kind="payment").count() == 3


def test_allocations_that_do_not_come_to_the_amount_are_refused(pay, owe, everything, refused):
    bill = owe()
    before = everything()
    for amount in (99, 101):
        refused(
            pay(amount=amount, allocations=[{"obligation": bill["id"], "amount": 100}]),
            422,
            ("allocation_mismatch", "/allocations"),
        )
    twice = [{"obligation": bill["id"], "amount": 50}] * 2
    refused(pay(amount=100, allocations=twice), 422, ("allocation_mismatch", "/allocations/1/obligation"))
    assert everything() == before


def test_at_most_100_allocations_are_listed(pay, owe, api, everything, refused):
    customer = {"external_reference": "c", "name": "Ann"}
    owe(1, customer=customer)
    bills = [owe(10, customer="c") for _ in range(101)]
    listed = [{"obligation": bill["id"], "amount": 1} for bill in bills]
    before = everything()
    refused(pay(amount=101, allocations=listed), 400, ("too_many", "/allocations"))
    assert everything() == before
    assert pay(amount=100, allocations=listed[:100]).status_code == 201


def test_obligations_of_two_billers_are_never_paid_together(api_for, other, partner, pay, owe, everything):
    Enablement.objects.enable(partner, [other])
    body = {"external_reference": "x", "currency": "ZAR", "amount_due": 10, "customer": {"external_reference": "y"}}
    theirs = api_for(other).post("/billing/bills", body).json()
    ours = owe(10)
    before = everything()
    listed = [{"obligation": ours["id"], "amount": 5}, {"obligation": theirs["id"], "amount": 5}]
    response = pay(amount=10, allocations=listed)
    assert (response.status_code, response.json()["code"]) == (404, "obligation_not_found")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/allocations/1/obligation"]
    assert everything() == before


# --- Oldest first -----------------------------------------------------------------------------------------------------


@pytest.fixture
def payer(api):
    """A customer with a balance of 100 and two accounts, of which the first has a balance too."""
    customer = {"external_reference": "payer", "name": "Jo Do", "currency": "ZAR", "balance": 100}
    account = {"external_reference": "home", "currency": "ZAR", "balance": 0, "customer": customer}
    home = api.post("/billing/accounts", account).json()
    api.post("/billing/accounts", {"external_reference": "shop", "customer": "payer"})
    return home


def test_oldest_first_pays_the_bill_that_was_due_first_and_those_without_a_day_last(api, pay, owe, payer):
    late = owe(100, customer="payer", due_date="2026-03-01")
    dateless = owe(100, account="shop")
    later = owe(100, account="home", due_date="2026-04-01")
    told = pay(amount=250, payer=payer["customer_id"], allocations="oldest_first").json()
    assert [(one["obligation"], one["amount"], one["remaining"]) for one in told["allocations"]] == [
        (late["id"], 100, 0),
        (later["id"], 100, 0),
        (dateless["id"], 50, 50),
    ]
    assert told["amount_remaining"] == 50
    assert api.get("/billing/customers/payer").json()["balance"] == 100


def test_an_accounts_bills_are_its_own(api, pay, owe, payer):
    owe(100, customer="payer", due_date="2026-03-01")
    home = owe(100, account="home")
    told = pay(amount=60, payer=payer["id"], allocations="oldest_first").json()
    assert [one["obligation"] for one in told["allocations"]] == [home["id"]]


def test_only_bills_in_the_currency_of_the_payment_are_paid(api, pay, owe, payer, refused):
    owe(100, customer="payer", currency="USD", due_date="2026-01-01")
    rand = owe(100, customer="payer")
    told = pay(amount=100, payer=payer["customer_id"], allocations="oldest_first").json()
    assert [one["obligation"] for one in told["allocations"]] == [rand["id"]]
    euros = pay(amount=100, payer=payer["customer_id"], allocations="oldest_first", currency="EUR")
    refused(euros, 409, ("obligation_settled", "/payer"))


def test_the_excess_goes_to_the_balance_where_it_may(api, pay, owe, payer, everything, refused):
    owe(100, customer="payer")
    before = everything()
    excess = {"amount": 130, "payer": payer["customer_id"], "allocations": "oldest_first"}
    refused(pay(**excess), 422, ("overpayment_not_allowed", "/amount"))
    assert everything() == before
    api.patch("/billing/customers/payer", {"payment_rules": {"overpayment_allowed": True}})
    told = pay(**excess).json()
    assert [(one["kind"], one["amount"], one["remaining"]) for one in told["allocations"]] == [
        ("bill", 100, 0),
        ("customer", 30, 70),
    ]
    assert told["amount_remaining"] == 0
    assert api.get("/billing/customers/payer").json()["balance"] == 70


def test_without_a_balance_in_the_currency_there_is_no_excess(api, pay, owe, payer, refused):
    api.patch("/billing/accounts/shop", {"payment_rules": {"overpayment_allowed": True}})
    shop = api.get("/billing/accounts/shop").json()["id"]
    nothing = pay(amount=1, payer=shop, allocations="oldest_first")
    refused(nothing, 409, ("obligation_settled", "/payer"))
    owe(10, account="shop")
    refused(pay(amount=11, payer=shop, allocations="oldest_first"), 422, ("overpayment_not_allowed", "/amount"))


def test_with_nothing_unpaid_the_whole_payment_is_excess(api, pay, payer):
    api.patch("/billing/accounts/home", {"payment_rules": {"overpayment_allowed": True}})
    assert pay(amount=40, payer=payer["id"], allocations="oldest_first").status_code == 201
    assert api.get("/billing/accounts/home").json()["balance"] == -40


def test_the_rules_of_the_last_bill_decide_about_a_part_of_it(api, pay, owe, payer, refused):
    owe(100, customer="payer", due_date="2026-01-01")
    owe(100, customer="payer", payment_rules={"underpayment_allowed": False})
    payment = {"payer": payer["customer_id"], "allocations": "oldest_first"}
    refused(pay(amount=150, **payment), 422, ("underpayment_not_allowed", "/amount"))
    assert pay(amount=200, **payment).status_code == 201


def test_the_limits_of_an_oldest_first_payment_are_the_payers_and_count_for_all_of_it(api, pay, owe, payer, refused):
    for _ in range(3):
        owe(100, customer="payer", payment_rules={"max_amount": 100})
    api.patch("/billing/customers/payer", {"payment_rules": {"min_amount": 150, "max_amount": 250}})
    payment = {"payer": payer["customer_id"], "allocations": "oldest_first"}
    refused(pay(amount=149, **payment), 422, ("amount_below_minimum", "/amount"))
    refused(pay(amount=251, **payment), 422, ("amount_above_maximum", "/amount"))
    assert pay(amount=250, **payment).status_code == 201


@pytest.mark.parametrize("payer_id", ["nothing", "bcus_0000000000000000000000", "bill"])
def test_a_payer_that_is_no_customer_or_account_is_not_found(pay, owe, everything, refused, payer_id):
    bill = owe()
    before = everything()
    key = bill["id"] if payer_id == "bill" else payer_id
    response = pay(amount=1, payer=key, allocations="oldest_first")
    refused(response, 404, ("payer_not_found", "/payer"))
    assert everything() == before


# --- The rules in force -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "rules", "code"),
    [
        (99, {"min_amount": 100}, "amount_below_minimum"),
        (100, {"min_amount": 100}, None),
        (201, {"max_amount": 200}, "amount_above_maximum"),
        (200, {"max_amount": 200}, None),
        (1999, {"underpayment_allowed": False}, "underpayment_not_allowed"),
        (2000, {"underpayment_allowed": False}, None),
        (2001, {}, "overpayment_not_allowed"),
        (2001, {"overpayment_allowed": True}, None),
    ],
)
@pytest.mark.parametrize("layer", ["bill", "account", "customer"])
def test_the_rules_in_force_decide_whoever_set_them(api, pay, owe, everything, refused, amount, rules, code, layer):
    at = {name: {"payment_rules": rules} if name == layer else {} for name in ("bill", "account", "customer")}
    customer = {"external_reference": "c", **at["customer"]}
    bill = owe(2000, account={"external_reference": "a", "customer": customer, **at["account"]}, **at["bill"])
    before = everything()
    response = pay(amount=amount, obligation=bill["id"])
    if code is None:
        assert response.status_code == 201
        assert api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] == amount
    else:
        refused(response, 422, (code, "/amount"))
        assert everything() == before


def test_the_billers_limits_hold_where_nothing_else_is_said(pay, owe, biller, refused):
    biller.amount_limits = {"ZAR": {"min_amount": 50, "max_amount": 60}}
    biller.save()
    bill = owe(100)
    refused(pay(amount=49, obligation=bill["id"]), 422, ("amount_below_minimum", "/amount"))
    refused(pay(amount=61, obligation=bill["id"]), 422, ("amount_above_maximum", "/amount"))
    assert pay(amount=60, obligation=bill["id"]).status_code == 201


def test_a_settled_or_void_bill_takes_nothing(api, pay, owe, everything, refused):
    paid, void = owe(10), owe(10)
    pay(amount=10, obligation=paid["id"])
    api.post(f"/billing/bills/{void['id']}/void", {}, Idempotency_Key="void")
    before = everything()
    refused(pay(amount=1, obligation=paid["id"]), 409, ("obligation_settled", "/obligation"))
    refused(pay(amount=1, obligation=void["id"]), 409, ("bill_voided", "/obligation"))
    listed = [{"obligation": paid["id"], "amount": 1}, {"obligation": void["id"], "amount": 1}]
    refused(
        pay(amount=2, allocations=listed),
        409,
        ("obligation_settled", "/allocations/0/obligation"),
        ("bill_voided", "/allocations/1/obligation"),
    )
    assert everything() == before


def test_a_balance_that_is_not_tracked_is_not_payable(api, pay, refused, everything):
    customer = api.post("/billing/customers", {"external_reference": "c"}).json()
    before = everything()
    refused(pay(amount=1, obligation=customer["id"]), 422, ("obligation_not_payable", "/obligation"))
    assert everything() == before


def test_a_balance_in_credit_takes_nothing_more(api, pay, refused):
    body = {"external_reference": "c", "currency": "ZAR", "balance": -5, "payment_rules": {"overpayment_allowed": True}}
    customer = api.post("/billing/customers", body).json()
    refused(pay(amount=1, obligation=customer["id"]), 409, ("obligation_settled", "/obligation"))


def test_another_currency_is_refused(pay, owe, refused, everything):
    bill = owe(10)
    before = everything()
    refused(pay(amount=1, currency="USD", obligation=bill["id"]), 422, ("currency_mismatch", "/currency"))
    assert everything() == before


def test_everything_that_the_rules_refuse_is_told_at_once(pay, owe, refused):
    low = owe(10, payment_rules={"min_amount": 5})
    dollars = owe(10, currency="USD")
    listed = [{"obligation": low["id"], "amount": 4}, {"obligation": dollars["id"], "amount": 5}]
    refused(
        pay(amount=9, allocations=listed),
        422,
        ("amount_below_minimum", "/allocations/0/amount"),
        ("currency_mismatch", "/currency"),
    )


def test_an_amount_that_would_not_fit_is_above_the_maximum(pay, owe, refused, api):
    most = 999_999_999_999
    bill = owe(most, payment_rules={"overpayment_allowed": True})
    assert pay(amount=1, obligation=bill["id"]).status_code == 201
    refused(pay(amount=most, obligation=bill["id"]), 422, ("amount_above_maximum", "/amount"))
    assert pay(amount=most - 1, obligation=bill["id"]).status_code == 201


@pytest.mark.parametrize("key", ["nothing", "bill_0000000000000000000000", "prt_0000000000000000000000", "é", "\u2028"])
def test_what_does_not_exist_is_not_found(pay, owe, everything, refused, key):
    bill = owe(10)
    before = everything()
    refused(pay(amount=1, obligation=key), 404, ("obligation_not_found", "/obligation"))
    listed = [{"obligation": bill["id"], "amount": 1}, {"obligation": key, "amount": 1}]
    refused(pay(amount=2, allocations=listed), 404, ("obligation_not_found", "/allocations/1/obligation"))
    assert everything() == before


# --- The shape --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"amount": 0}, "out_of_range", "/amount"),
        ({"amount": 10**12}, "out_of_range", "/amount"),
        ({"amount": "5"}, "invalid_type", "/amount"),
        ({"amount": 5.0}, "invalid_type", "/amount"),
        ({"amount": True}, "invalid_type", "/amount"),
        ({"currency": "zar"}, "invalid_currency", "/currency"),
        ({"currency": "XXX"}, "invalid_currency", "/currency"),
        ({"method": "barter"}, "invalid_choice", "/method"),
        ({"method": None}, "null", "/method"),
        ({"external_reference": ""}, "invalid_reference", "/external_reference"),
        ({"external_reference": "a/b"}, "invalid_reference", "/external_reference"),
        ({"external_reference": "x" * 65}, "too_long", "/external_reference"),
        ({"external_reference": "é"}, "invalid_reference", "/external_reference"),
        ({"external_reference": "a\n"}, "invalid_reference", "/external_reference"),
        ({"paid_at": "yesterday"}, "invalid_time", "/paid_at"),
        ({"paid_at": "2026-01-01"}, "invalid_time", "/paid_at"),
        ({"paid_at": "2026-01-01T10:00:00"}, "invalid_time", "/paid_at"),
        ({"paid_at": "0001-01-01T00:00:00+14:00"}, "invalid_time", "/paid_at"),
        ({"paid_at": 5}, "invalid_time", "/paid_at"),
        ({"obligation": 5}, "invalid_type", "/obligation"),
        ({"metadata": {"pan": "4111 1111 1111 1111"}}, "card_number", "/metadata/pan"),
        ({"metadata": {"4111111111111111": "x"}}, "card_number", "/metadata/4111111111111111"),
        ({"metadata": {"a": "b", "c": 5}}, "invalid_metadata_value", "/metadata/c"),
        ({"status": "ACCEPTED"}, "read_only", "/status"),
        ({"partner_id": "x"}, "unknown_field", "/partner_id"),
        ({"allocations": []}, "empty", "/allocations"),
        ({"allocations": "newest_first"}, "invalid_type", "/allocations"),
        ({"allocations": [5]}, "invalid_type", "/allocations/0"),
        ({"allocations": "oldest_first"}, "required", "/payer"),
        ({"payer": "c"}, "required", "/allocations"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place_and_nothing_moves(till, owe, everything, change, code, pointer):
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5, "obligation": owe()["id"]}
    before = everything()
    response = till.post("/partner/payments", {**body, **change}, Idempotency_Key="k")
    assert response.status_code == 400
    assert (code, pointer) in [(error["code"], error["pointer"]) for error in response.json()["errors"]]
    assert everything() == before


def test_a_payment_names_one_obligation_or_lists_or_names_a_payer(till, owe, everything):
    bill = owe()
    before = everything()
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5}
    listed = [{"obligation": bill["id"], "amount": 5}]
    for named, code, pointer in (
        ({}, "required", "/obligation"),
        ({"obligation": bill["id"], "allocations": listed}, "ambiguous_payment", "/allocations"),
        (
            {"obligation": bill["id"], "payer": bill["customer_id"], "allocations": "oldest_first"},
            "ambiguous_payment",
            "/obligation",
        ),
    ):
        response = till.post("/partner/payments", {**body, **named}, Idempotency_Key="k")
        assert response.status_code == 400
        assert [(error["code"], error["pointer"]) for error in response.json()["errors"]] == [(code, pointer)]
    assert everything() == before


@pytest.mark.parametrize("length", [12, 20])
def test_digits_that_are_no_card_number_are_kept(pay, owe, length):
    assert pay(amount=1, obligation=owe()["id"], metadata={"ref": "1" * length}).status_code == 201


def test_13_digits_that_pass_the_check_may_be_a_card(pay, owe, refused):
    bill = owe()
    passing, failing = "4222222222222", "4222222222223"
    assert pay(amount=1, obligation=bill["id"], metadata={"ref": failing}).status_code == 201
    refused(pay(amount=1, obligation=bill["id"], metadata={"ref": passing}), 400, ("card_number", "/metadata/ref"))


def test_a_reference_of_64_characters_passes(pay, owe):
    assert pay(amount=1, obligation=owe()["id"], external_reference="x" * 64).status_code == 201


def test_a_payment_needs_an_idempotency_key(till, owe, everything):
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5, "obligation": owe()["id"]}
    before = everything()
    response = till.post("/partner/payments", body)
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_required")
    assert everything() == before


# --- The same again ---------------------------------------------------------------------------------------------------


def test_the_same_reference_and_body_again_are_answered_with_the_original(till, owe, everything):
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5, "obligation": owe()["id"]}
    first = till.post("/partner/payments", body, Idempotency_Key="one")
    again = till.post("/partner/payments", body, Idempotency_Key="two")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Payment.objects.count() == Entry.objects.count() == 1
    replayed = till.post("/partner/payments", body, Idempotency_Key="one")
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (201, "true")
    assert replayed.content == first.content


def test_a_body_that_means_the_same_is_the_same(till, owe):
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5, "obligation": owe()["id"]}
    at = {"paid_at": "2026-01-01T10:00:00+02:00"}
    till.post("/partner/payments", {**body, **at}, Idempotency_Key="one")
    same = {"paid_at": "2026-01-01T08:00:00Z", "metadata": {}}
    assert till.post("/partner/payments", {**body, **same}, Idempotency_Key="two").status_code == 200


def test_a_reference_that_stands_for_another_payment_is_refused(till, pay, owe, everything, refused):
    bill = owe()
    first = pay(amount=5, obligation=bill["id"], external_reference="T").json()
    before = everything()
    for change in ({"amount": 6}, {"method": "card"}, {"metadata": {"a": "b"}}):
        response = pay(**{"amount": 5, "obligation": bill["id"], "external_reference": "T", **change})
        refused(response, 409, ("reference_reused", "/external_reference"))
        assert response.json()["errors"][0]["existing_id"] == first["id"]
    assert everything() == before


def test_a_refused_payment_leaves_its_reference_free(pay, owe):
    bill = owe(10)
    assert pay(amount=11, obligation=bill["id"], external_reference="T").status_code == 422
    assert pay(amount=10, obligation=bill["id"], external_reference="T").status_code == 201


def test_partners_and_the_biller_name_payments_apart(api, api_for, other_partner, biller, pay, owe):
    Enablement.objects.enable(other_partner, [biller])
    bill = owe(100)
    callers = [
        (None, "/partner/payments"),
        (api_for(other_partner), "/partner/payments"),
        (api, "/billing/payments"),
    ]
    for caller, path in callers:
        payment = {"amount": 5, "obligation": bill["id"], "external_reference": "same"}
        taken = pay(path=path, **payment, **({"caller": caller} if caller else {}))
        assert taken.status_code == 201, taken.content
    assert api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] == 15
    listed = api.get("/billing/payments").json()["data"]
    assert [one["partner"] for one in listed] == [None, "other-bank", "corner"]


# --- Whose --------------------------------------------------------------------------------------------------------


def test_a_partner_that_no_longer_collects_for_a_biller_finds_nothing_to_pay(
    till, pay, owe, partner, biller, everything
):
    bill = owe()
    known = pay(amount=5, obligation=bill["id"], external_reference="before")
    Enablement.objects.disable(partner, [biller], timezone.now())
    before = everything()
    response = pay(amount=5, obligation=bill["id"])
    assert (response.status_code, response.json()["code"]) == (404, "obligation_not_found")
    assert everything() == before
    again = pay(amount=5, obligation=bill["id"], external_reference="before")
    assert (again.status_code, again.json()) == (200, known.json())
    assert till.get("/partner/payments/before").json() == known.json()


def test_test_money_cannot_reach_live_bills(api_for, test_partner, other_partner, pay, owe, everything):
    bill = owe()
    before = everything()
    for caller in (api_for(test_partner), api_for(other_partner)):
        response = pay(caller=caller, amount=5, obligation=bill["id"])
        assert (response.status_code, response.json()["code"]) == (404, "obligation_not_found")
    assert everything() == before


def test_the_database_takes_no_payment_of_a_partner_that_was_never_enabled(other_partner, biller):
    with pytest.raises(IntegrityError, match="payment_of_enabled_partner"):
        Payment(
            biller=biller,
            partner_id=other_partner.pk,
            external_reference="x",
            amount=1,
            currency="ZAR",
            method="cash",
            allocations=[],
            amount_remaining=0,
            actor="sql",
        ).save(force_insert=True)


# --- The biller's own -------------------------------------------------------------------------------------------------


def test_a_biller_records_payments_that_it_took_itself(api, pay, owe):
    bill = owe(100)
    taken = pay(caller=api, path="/billing/payments", amount=100, obligation=bill["id"])
    assert taken.status_code == 201
    assert (taken.json()["partner"], taken.json()["status"]) == (None, "ACCEPTED")
    assert taken.headers["Location"] == f"/billing/payments/{taken.json()['id']}"
    assert api.get(f"/billing/bills/{bill['id']}").json()["status"] == "PAID"
    assert api.get("/billing/payments/T-0").json() == api.get(taken.headers["Location"]).json() == taken.json()


def test_a_biller_cannot_pay_another_billers_bill(api_for, other, pay, owe, everything):
    bill = owe(100)
    before = everything()
    response = pay(caller=api_for(other), path="/billing/payments", amount=1, obligation=bill["id"])
    assert (response.status_code, response.json()["code"]) == (404, "obligation_not_found")
    assert everything() == before
