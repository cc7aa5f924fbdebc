"""A file and the API, told the same random rows, leave the same records and refuse the same rows."""

import random

import pytest
from django.db.models import Sum
from sheets import sheet

from accounts.models import Account
from billers.models import Biller
from bills.models import Bill
from core.money import MAX_AMOUNT
from customers.models import Customer
from ledger.models import Entry
from payments.models import Payment

MORE = [pytest.param(seed, marks=pytest.mark.prove) for seed in range(3, 20)]
ROWS = 50


@pytest.fixture
def biller(modes):
    """The one that files are imported for."""
    return modes["live"]


@pytest.fixture
def modes(transactional_db):
    """One biller in live mode, for the files, and in test mode, for the API."""
    return Biller.objects.found(name="Acme", reference="acme")


@pytest.fixture
def over_the_api(modes, api_for):
    return api_for(modes["test"])


@pytest.fixture
def chance(seed):
    return random.Random(seed)


def some(chance, odds, name, *values):
    return {name: chance.choice(values)} if chance.random() < odds else {}


def balance(chance, currency):
    return {
        **some(chance, 0.6, "currency", currency, currency, currency, "USD", "zar"),
        **some(chance, 0.5, "balance", 0, 70, -5, MAX_AMOUNT, -MAX_AMOUNT, MAX_AMOUNT + 1, "x"),
        **some(chance, 0.3, "metadata.k", "v", "w", "v" * 500, "v" * 501),
    }


def random_customer(chance):
    number = chance.randrange(40)
    return {
        "external_reference": f"C{number}",
        **some(chance, 0.5, "name", "Ann", "Bob", "n" * 255, "n" * 256, "=1+1"),
        **some(chance, 0.3, "email", "ann@example.com", "nobody", "élan@example.com"),
        **some(chance, 0.3, "phone", "+27821234567", "0821234567"),
        **balance(chance, ("ZAR", "JPY", "KWD")[number % 3]),
    }


def random_account(chance):
    number = chance.randrange(40)
    owner = number % 4 if chance.random() < 0.9 else 0
    named = {"customer_external_reference": f"C{owner}", **some(chance, 0.3, "customer_name", "Ann", "Bob")}
    return {
        "external_reference": f"A{number}",
        **(named if chance.random() < 0.9 else {}),
        **some(chance, 0.5, "name", "Meter", "Yard"),
        **balance(chance, ("ZAR", "JPY", "KWD")[number % 3]),
    }


def nested(told):
    """Return a row as the body of a request."""
    body = {}
    for column, value in told.items():
        place, name = body, column
        if column.startswith("customer_"):
            place, name = body.setdefault("customer", {}), column.removeprefix("customer_")
        if name.startswith("metadata."):
            place.setdefault("metadata", {})[name.removeprefix("metadata.")] = value
        else:
            place[name] = value
    return body


def left(biller):
    """Everything a biller has, without what differs between any two runs: ids, versions, moments."""
    customers = Customer.objects.for_biller(biller).order_by("external_reference")
    accounts = Account.objects.for_biller(biller).order_by("external_reference")
    bills = Bill.objects.for_biller(biller).order_by("external_reference")
    payments = Payment.objects.for_biller(biller).order_by("external_reference")
    sums = Entry.objects.for_biller(biller).values_list("obligation_kind").annotate(sum=Sum("amount"))
    return {
        "customers": [
            *customers.values_list("external_reference", "name", "email", "phone", "currency", "balance", "metadata")
        ],
        "accounts": [
            *accounts.values_list(
                "external_reference", "name", "currency", "balance", "metadata", "customer__external_reference"
            )
        ],
        "bills": [*bills.values_list("external_reference", "amount_due", "amount_paid", "status")],
        "payments": [
            (*told, [(one["kind"], one["amount"], one["remaining"]) for one in allocations])
            for *told, allocations in payments.values_list(
                *("external_reference", "amount", "currency", "method", "paid_at", "metadata"),
                *("payer_name", "amount_remaining", "allocations"),
            )
        ],
        "entries": sorted(sums.exclude(sum=0)),
    }


def agree(run, rows, accepted, modes):
    """Assert that a file was refused where the API refused, and has left what the API has left."""
    seen, expected = set(), set()
    for line, told in enumerate(rows, start=2):
        if told["external_reference"] in seen or not accepted(told):
            expected.add(line)
        seen.add(told["external_reference"])
    refused = run.codes() if run.rejected else {}
    assert not {line: (refused.get(line), rows[line - 2]) for line in {*refused} ^ expected}
    assert left(modes["live"]) == left(modes["test"])
    assert run.created + run.updated + run.unchanged == run.read - run.rejected == len(rows) - len(expected)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", [*range(3), *MORE])
@pytest.mark.parametrize(("kind", "row"), [("customers", random_customer), ("accounts", random_account)])
def test_parents(modes, bring, over_the_api, chance, kind, row):
    def accepted(told):
        body = nested(told)
        answer = over_the_api.put(f"/billing/{kind}/{body['external_reference']}", body)
        assert answer.status_code in {200, 201, 400, 409, 422}, answer.content
        return answer.status_code < 400

    for _ in range(2):  # the second file finds what the first has left
        rows = [row(chance) for _ in range(ROWS)]
        agree(bring(sheet(*rows), kind=kind), rows, accepted, modes)


@pytest.fixture
def owing(modes, api_for):
    """The same bills in both modes, under rules of every kind."""
    for biller in modes.values():
        api = api_for(biller)
        for number in range(3):
            rules = ({}, {"underpayment_allowed": False}, {"overpayment_allowed": True, "max_amount": 120})[number]
            owner = {"external_reference": f"C{number}", "currency": "ZAR", "balance": 150, "payment_rules": rules}
            account = {"external_reference": f"A{number}", "customer": owner, "currency": "ZAR", "balance": 40}
            for bill in range(4):
                body = {"external_reference": f"B{number}{bill}", "currency": "ZAR", "amount_due": 100}
                body |= {"account": account, "due_date": f"2026-0{bill + 1}-01"}
                assert api.put(f"/billing/bills/{body['external_reference']}", body).status_code == 201
        api.post("/billing/bills/B00/void", {}, Idempotency_Key="void")


def random_payment(chance):
    number = chance.randrange(3)
    told = {
        "external_reference": f"P{chance.randrange(60)}",
        "amount": chance.choice([1, 40, 100, 100, 120, 121, 250, 0, "x"]),
        "currency": chance.choice(["ZAR"] * 8 + ["USD", "zar"]),
        "method": chance.choice(["cash", "eft", "card", "cash", "eft", "card", "barter"]),
        **some(chance, 0.2, "paid_at", "2026-01-05T10:00:00+02:00", "2026-01-05T10:00:00", "soon"),
        **some(chance, 0.2, "metadata.slip", "17", "4111111111111111"),
    }
    kind = chance.choice(["bill", "bill", "account", "customer"])
    if kind == "bill":
        return told | {"bill_external_reference": f"B{number}{chance.randrange(5)}"}
    told[f"{kind}_external_reference"] = f"{kind[0].upper()}{number}"
    return told | some(chance, 0.5, "allocations", "oldest_first")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", [*range(3), *MORE])
def test_payments(modes, bring, over_the_api, chance, owing):
    models = {"bill": Bill, "account": Account, "customer": Customer}

    def accepted(told):
        body = nested({name: value for name, value in told.items() if not name.endswith("_external_reference")})
        for kind, model in models.items():
            if reference := told.get(f"{kind}_external_reference"):
                found = model.objects.for_biller(modes["test"]).filter(external_reference=reference).first()
                paid = found.pk if found else "bill_nothing"
                body["payer" if "allocations" in told else "obligation"] = paid
        answer = over_the_api.post("/billing/payments", body, Idempotency_Key=f"{chance.getrandbits(64)}")
        assert answer.status_code in {200, 201, 400, 404, 409, 422}, answer.content
        return answer.status_code < 400

    for _ in range(2):
        rows = [random_payment(chance) for _ in range(ROWS)]
        dry = bring(sheet(*rows), "--dry-run", kind="payments")
        run = bring(sheet(*rows), kind="payments")
        assert dry.report == run.report
        agree(run, rows, accepted, modes)
