"""What a payer can pay now: found by what is at hand, told with nothing else that is personal. Contract, section 3."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from stdnum import damm

from api.authentication import key_ring
from billers.models import Enablement
from payments.models import PayerReference

pytestmark = pytest.mark.django_db


@pytest.fixture
def look(till):
    """Look something up as the partner."""

    def looked(value="B", by="reference", biller="acme", caller=till):
        return caller.call("GET", f"/partner/obligations?biller={biller}&{by}={value}")

    return looked


@pytest.fixture
def books(api):
    """A customer with a balance, its account with a balance, and bills of both."""
    customer = {"external_reference": "C", "name": "John van Doe", "phone": "+27821234567", "email": "j@example.com"}
    account = {
        "external_reference": "A",
        "name": "Meter 7",
        "currency": "ZAR",
        "balance": 300,
        "customer": {
            **customer,
            "currency": "ZAR",
            "balance": 500,
        },
    }
    bill = {"external_reference": "B", "currency": "ZAR", "amount_due": 2000, "due_date": "2026-12-01"}
    first = api.post("/billing/bills", {**bill, "description": "Water", "account": account}).json()
    second = api.post("/billing/bills", {**bill, "external_reference": "B2", "due_date": None, "customer": "C"}).json()
    return {
        "customer": first["customer_id"],
        "account": first["account_id"],
        "bill": first["id"],
        "second": second["id"],
    }


def owed(response):
    assert response.status_code == 200, response.content
    return [one["obligation"] for one in response.json()["data"]]


def test_what_is_told_of_an_obligation(look, books, biller):
    assert look("B").json() == {
        "data": [
            {
                "obligation": books["bill"],
                "kind": "bill",
                "payer_name": "J*** v** D**",
                "amount_owed": 2000,
                "currency": "ZAR",
                "due_date": "2026-12-01",
                "description": "Water",
                "payment_rules": {
                    "min_amount": None,
                    "max_amount": None,
                    "underpayment_allowed": True,
                    "overpayment_allowed": False,
                },
            }
        ]
    }


@pytest.mark.parametrize(
    ("model", "reference", "found"),
    [
        ("bill", "C", ["bill", "second"]),
        ("bill", "A", ["bill"]),
        ("bill", "B", ["bill"]),
        ("bill", "B2", ["second"]),
        ("account", "C", ["account"]),
        ("account", "A", ["account"]),
        ("account", "B", ["account"]),
        ("account", "B2", []),
        ("customer", "C", ["customer"]),
        ("customer", "A", ["customer"]),
        ("customer", "B", ["customer"]),
        ("customer", "B2", ["customer"]),
    ],
)
def test_the_billing_model_decides_what_is_paid(look, books, biller, model, reference, found):
    biller.billing_model = model
    biller.save()
    assert owed(look(reference)) == [books[name] for name in found]


def test_a_reference_that_names_several_finds_the_union_once_each(look, api, books):
    same = {"external_reference": "C", "currency": "ZAR", "amount_due": 7, "due_date": "2026-01-01"}
    bill = api.post("/billing/bills", {**same, "customer": "C"}).json()
    api.post("/billing/accounts", {"external_reference": "B", "customer": "C"})
    assert owed(look("C")) == [bill["id"], books["bill"], books["second"]]
    assert owed(look("B")) == [books["bill"]]


def test_a_phone_finds_every_customer_who_has_it(look, api, books):
    other = {"external_reference": "C2", "phone": "+27821234567"}
    bill = {"external_reference": "B3", "currency": "ZAR", "amount_due": 5, "due_date": "2026-01-02", "customer": other}
    third = api.post("/billing/bills", bill).json()["id"]
    assert owed(look("%2B27821234567", by="phone")) == [third, books["bill"], books["second"]]


def digits_of(stem):
    return stem + damm.calc_check_digit(stem)


def test_a_payer_reference_finds_what_it_was_given_to(look, books, biller):
    for kind, stem in (("customer", "57"), ("bill", "12345678901")):
        of = {f"{kind}_id": books[kind]}
        PayerReference(biller=biller, digits=digits_of(stem), **of).save(force_insert=True)
    assert owed(look(digits_of("57"), by="payer_reference")) == [books["bill"], books["second"]]
    assert owed(look(digits_of("12345678901"), by="payer_reference")) == [books["bill"]]
    assert look(digits_of("58"), by="payer_reference").json()["code"] == "payer_not_found"


def test_the_three_answers_are_kept_apart(look, pay, books):
    assert owed(look("B2")) == [books["second"]]
    assert pay(amount=2000, obligation=books["second"]).status_code == 201
    known = look("B2")
    assert (known.status_code, known.json()) == (200, {"data": []})
    unknown = look("nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "payer_not_found")


def test_what_is_told_is_what_can_be_paid(look, pay, api, books):
    pay(amount=500, obligation=books["bill"])
    api.post("/billing/bills/B2/void", {}, Idempotency_Key="v")
    [told] = look("C").json()["data"]
    assert (told["obligation"], told["amount_owed"]) == (books["bill"], 1500)
    assert pay(amount=told["amount_owed"], obligation=told["obligation"], currency=told["currency"]).status_code == 201
    assert owed(look("C")) == []


@pytest.mark.parametrize("balance", [0, -5, None])
def test_a_balance_that_owes_nothing_is_not_told(look, api, biller, balance):
    biller.billing_model = "customer"
    biller.save()
    currency = {"currency": "ZAR", "balance": balance} if balance is not None else {}
    api.post("/billing/customers", {"external_reference": "C", **currency})
    assert owed(look("C")) == []


def test_the_rules_in_force_are_told_as_the_payment_will_meet_them(look, api, biller, books):
    biller.amount_limits = {"ZAR": {"min_amount": 10}}
    biller.save()
    key_ring.forget()
    api.patch("/billing/customers/C", {"payment_rules": {"max_amount": 900}})
    api.patch("/billing/accounts/A", {"payment_rules": {"underpayment_allowed": False}})
    api.patch("/billing/bills/B", {"payment_rules": {"overpayment_allowed": True}})
    [told] = look("B").json()["data"]
    assert told["payment_rules"] == {
        "min_amount": 10,
        "max_amount": 900,
        "underpayment_allowed": False,
        "overpayment_allowed": True,
    }
    assert told["payment_rules"] == api.get("/billing/bills/B").json()["payment_rules"]


def test_a_biller_that_is_unknown_or_not_collected_for_is_the_same(look, other, test_biller, books):
    answers = []
    for reference in ("nobody", "other", "acme-x"):
        response = look(biller=reference)
        assert (response.status_code, response.json()["code"]) == (404, "biller_not_found")
        answers.append(response.content.decode().replace(reference, "it"))
    assert len(set(answers)) == 1


def test_a_partner_finds_test_records_with_a_test_key_alone(look, api_for, test_partner, test_biller, books):
    tester = api_for(test_partner)
    assert look("B", caller=tester).json()["code"] == "payer_not_found"
    body = {"external_reference": "T", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "TC"}}
    trial = api_for(test_biller).post("/billing/bills", body).json()["id"]
    assert owed(look("T", caller=tester)) == [trial]
    assert look("T").json()["code"] == "payer_not_found"


def test_a_disabled_partner_finds_no_biller(look, partner, biller, books):
    Enablement.objects.disable(partner, [biller], timezone.now())
    assert look("B").json()["code"] == "biller_not_found"


def test_the_same_statements_are_sent_whether_the_payer_is_known_or_not(look, pay, books):
    look("B")
    counts = set()
    for value, by in (
        ("B", "reference"),
        ("nobody", "reference"),
        (digits_of("57"), "payer_reference"),
        ("x", "phone"),
    ):
        with CaptureQueriesContext(connection) as captured:
            look(value, by=by)
        counts.add(len(captured))
    assert counts == {2}  # at most 4 were asked for


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "invalid_parameter"),
        ("biller=acme", "invalid_parameter"),
        ("reference=B", "invalid_parameter"),
        ("biller=acme&reference=B&phone=1", "invalid_parameter"),
        ("biller=acme&name=John", "unknown_parameter"),
        ("biller=acme&reference=B&reference=C", "repeated_parameter"),
        ("biller=acme&reference=%00", "invalid_parameter"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(till, books, query, code):
    response = till.get(f"/partner/obligations?{query}")
    assert (response.status_code, response.json()["code"]) == (400, code)


@pytest.mark.parametrize("value", ["%ED%A0%80", "%F0%9F%92%A9", "x" * 5000, "%27%20OR%201=1", "%2B"])
@pytest.mark.parametrize("by", ["reference", "phone", "biller"])
def test_strange_values_find_nobody(till, books, value, by):
    query = f"biller={value}&reference=B" if by == "biller" else f"biller=acme&{by}={value}"
    assert till.get(f"/partner/obligations?{query}").status_code == 404


@pytest.mark.parametrize("value", ["573", "5", "", "1234567890123", "57a", "%D9%A5%D9%A7%D9%A2", "57%202", "-572"])
def test_a_mistyped_payer_reference_is_refused_before_any_lookup(look, books, value):
    look("B")
    with CaptureQueriesContext(connection) as captured:
        response = look(value, by="payer_reference")
    assert (response.status_code, response.json()["code"]) == (422, "reference_check_digit")
    assert len(captured) == 0


def test_at_most_100_obligations_are_told_soonest_due_first(look, api, books):
    for number in range(101):
        body = {"external_reference": f"N{number}", "currency": "ZAR", "amount_due": 1, "customer": "C"}
        api.post("/billing/bills", {**body, "due_date": f"2027-01-{number % 28 + 1:02}"})
    told = look("C").json()["data"]
    assert len(told) == 100
    due = [one["due_date"] for one in told]
    assert due == sorted(due)


def test_nothing_personal_is_told(look, books):
    for value, by in (("C", "reference"), ("%2B27821234567", "phone")):
        told = look(value, by=by).content.decode()
        assert not [secret for secret in ("John", "Doe", "+2782", "example.com", "INV") if secret in told]
