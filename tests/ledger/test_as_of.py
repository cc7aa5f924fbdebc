"""How records stood at a moment, told from their entries."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from api.authentication import key_ring
from billers.models import Biller

# Each request is a transaction of its own, so that the clock of the database moves on.
pytestmark = pytest.mark.django_db(transaction=True)


def now():
    """Return the time of the database, between two changes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0].isoformat().replace("+00:00", "Z")


@pytest.fixture
def bill(api):
    account = {"external_reference": "A", "customer": {"external_reference": "C", "name": "John Doe"}}
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 2000, "account": account}
    return api.post("/billing/bills", body).json()


def bill_at(api, moment, name="B"):
    response = api.get(f"/billing/bills/{name}?as_of={moment}")
    assert response.status_code == 200, response.content
    told = response.json()
    return [told[key] for key in ("amount_paid", "amount_remaining", "amount_overpaid", "status")]


def test_a_bill_is_told_as_it_stood_before_and_after_each_change(transactional_db, api, bill):
    moments = [now()]
    for amount in (500, 2000, 2500, 0):
        assert api.patch("/billing/bills/B", {"amount_paid": amount}).status_code == 200
        moments.append(now())
    assert api.post("/billing/bills/B/void", {"reason": "typed twice"}, Idempotency_Key="v").status_code == 200
    moments.append(now())
    assert [bill_at(api, moment) for moment in moments] == [
        [0, 2000, 0, "UNPAID"],
        [500, 1500, 0, "UNPAID"],
        [2000, 0, 0, "PAID"],
        [2500, 0, 500, "PAID"],
        [0, 2000, 0, "UNPAID"],
        [0, 2000, 0, "VOIDED"],
    ]
    before = api.get(f"/billing/bills/B?as_of={moments[4]}").json()
    assert (before["voided_at"], before["void_reason"]) == (None, None)


def test_now_and_the_future_are_as_without_as_of(transactional_db, api, bill):
    api.patch("/billing/bills/B", {"amount_paid": 700})
    api.patch("/billing/customers/C", {"currency": "ZAR", "balance": 900})
    for path in ("bills/B", "customers/C", "accounts/A", "bills/B?expand=customer,account"):
        plain = api.get(f"/billing/{path}")
        for moment in (now(), "2999-01-01T00:00:00Z", "2999-01-01", "9999-12-31", "9999-12-31T23:59:59-14:00"):
            dated = api.get(f"/billing/{path}{'&' if '?' in path else '?'}as_of={moment}")
            assert (dated.json(), dated.headers["ETag"]) == (plain.json(), plain.headers["ETag"])


def test_a_balance_is_told_as_it_stood_with_the_currency_of_then(transactional_db, api):
    api.post("/billing/customers", {"external_reference": "C"})
    moments = [now()]
    for change in (
        {"currency": "ZAR", "balance": 500},
        {"balance": -200},
        {"balance": 0},
        {"currency": "USD"},
        {"balance": 7},
        {"balance": 0},
        {"balance": None},
    ):
        assert api.patch("/billing/customers/C", change).status_code == 200
        moments.append(now())
    found = [api.get(f"/billing/customers/C?as_of={moment}").json() for moment in moments]
    assert [(one["balance"], one["currency"]) for one in found] == [
        (None, "USD"),
        (500, "ZAR"),
        (-200, "ZAR"),
        (None, "ZAR"),
        (None, "USD"),
        (7, "USD"),
        (None, "USD"),
        (None, "USD"),
    ]


def test_the_amount_due_and_what_follows_from_it_are_those_of_then(transactional_db, api, bill):
    api.patch("/billing/bills/B", {"amount_paid": 2000})
    paid = now()
    api.patch("/billing/bills/B", {"amount_due": 5000})
    assert bill_at(api, paid) == [2000, 0, 0, "PAID"]
    assert api.get(f"/billing/bills/B?as_of={paid}").json()["amount_due"] == 2000
    assert bill_at(api, now()) == [2000, 3000, 0, "UNPAID"]


def test_parents_that_are_shown_stand_at_the_moment_too(transactional_db, api, bill):
    api.patch("/billing/customers/C", {"currency": "ZAR", "balance": 500})
    api.patch("/billing/accounts/A", {"currency": "ZAR", "balance": 30})
    then = now()
    api.patch("/billing/customers/C", {"balance": 9})
    api.patch("/billing/accounts/A", {"balance": 8})
    for path in ("bills/B", "bills"):
        told = api.get(f"/billing/{path}?expand=customer,account&as_of={then}").json()
        [one] = told.get("data", [told])
        assert (one["customer"]["balance"], one["account"]["balance"]) == (500, 30)
    [one] = api.get(f"/billing/accounts?expand=customer&as_of={then}").json()["data"]
    assert (one["balance"], one["customer"]["balance"]) == (30, 500)


def test_what_came_after_is_absent(transactional_db, api):
    before = now()
    api.post("/billing/customers", {"external_reference": "C", "currency": "ZAR", "balance": 1})
    api.post("/billing/bills", {"external_reference": "B", "currency": "ZAR", "amount_due": 1, "customer": "C"})
    after = now()
    for path, code in (("customers/C", "customer_not_found"), ("bills/B", "bill_not_found")):
        absent = api.get(f"/billing/{path}?as_of={before}")
        assert (absent.status_code, absent.json()["code"]) == (404, code)
        assert api.get(f"/billing/{path}?as_of={after}").status_code == 200
    for path in ("customers", "bills", "entries"):
        assert api.get(f"/billing/{path}?as_of={before}").json()["data"] == []
        assert len(api.get(f"/billing/{path}?as_of={after}").json()["data"]) == 1


def test_entries_are_those_until_the_moment(transactional_db, api, bill):
    moments = []
    for amount in (1, 2, 3):
        api.patch("/billing/bills/B", {"amount_paid": amount})
        moments.append(now())
    for count, moment in enumerate(moments, start=1):
        found = api.get(f"/billing/entries?obligation={bill['id']}&as_of={moment}").json()["data"]
        assert [entry["total"] for entry in found] == list(range(count, 0, -1))


def test_a_date_means_the_end_of_that_day_in_the_billers_time_zone(transactional_db, api, biller):
    zone = ZoneInfo("Pacific/Kiritimati")  # fourteen hours ahead
    Biller.objects.filter(pk=biller.pk).update(timezone=zone.key)
    key_ring.forget()
    api.post("/billing/customers", {"external_reference": "C", "currency": "ZAR", "balance": 5})
    there = datetime.now(UTC).astimezone(zone).date()
    assert api.get(f"/billing/customers/C?as_of={there}").json()["balance"] == 5
    assert api.get(f"/billing/customers/C?as_of={there - timedelta(days=1)}").status_code == 404


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-02-30", "2026-13-01T00:00:00Z", "2026-01-01T25:00:00Z", "١٢", "20260101", "1e9"]
)
@pytest.mark.parametrize("path", ["customers", "accounts", "bills", "entries", "customers/C", "accounts/A", "bills/B"])
def test_a_malformed_moment_is_told_by_its_name(api, db, path, value):
    refused = api.get(f"/billing/{path}?as_of={value}")
    told = refused.json()
    assert (refused.status_code, told["code"], told["errors"][0]["parameter"]) == (400, "invalid_parameter", "as_of")


@pytest.mark.parametrize("moment", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_time_are_moments_too(api, db, moment):
    for path in ("customers", "bills", "entries"):
        assert api.get(f"/billing/{path}?as_of={moment}").status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        "bills?status=PAID",
        "bills?overdue=true",
        "bills?amount_paid_gte=1",
        "customers?balance_lte=1",
        "accounts?currency=ZAR",
    ],
)
def test_a_filter_that_asks_about_now_cannot_stand_beside_as_of(api, db, asked):
    refused = api.get(f"/billing/{asked}&as_of=2026-01-01")
    name = asked.partition("?")[2].partition("=")[0]
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, name)


def test_a_write_knows_no_as_of(api, db):
    refused = api.post("/billing/customers?as_of=2026-01-01", {"external_reference": "C"})
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter")


def test_nobody_learns_how_another_billers_records_stood(transactional_db, api, api_for, other, test_biller, bill):
    for stranger in (other, test_biller):
        for path in ("bills/B", "accounts/A", "customers/C", f"bills/{bill['id']}"):
            assert api_for(stranger).get(f"/billing/{path}?as_of=2999-01-01").status_code == 404
        assert api_for(stranger).get("/billing/bills?as_of=2999-01-01").json()["data"] == []


@pytest.mark.parametrize(
    "path",
    [
        "customers?limit=100",
        "accounts?limit=100&expand=customer",
        "bills?limit=100",
        "bills?limit=100&expand=customer,account",
        "bills?limit=100&sort=due_date",
        "entries?limit=100",
        "bills/B0",
        "bills/B0?expand=customer,account",
    ],
)
def test_asking_about_a_moment_sends_at_most_2_statements_however_long_the_list(transactional_db, api, path):
    counts = []
    joint = "&" if "?" in path else "?"
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            owner = {"external_reference": f"C{number}", "currency": "ZAR", "balance": 1}
            account = {"external_reference": f"A{number}", "customer": owner}
            bill = {"external_reference": f"B{number}", "currency": "ZAR", "amount_due": 1, "account": account}
            assert api.post("/billing/bills", {**bill, "amount_paid": 1}).status_code == 201
        with CaptureQueriesContext(connection) as captured:
            answer = api.get(f"/billing/{path}{joint}as_of=2999-01-01")
        assert answer.status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 2


def test_who_does_not_ask_about_a_moment_pays_nothing_for_it(transactional_db, api, bill):
    for path in ("bills", "bills/B", "customers/C", "accounts"):
        with CaptureQueriesContext(connection) as captured:
            assert api.get(f"/billing/{path}").status_code == 200
        assert not any("ledger_entry" in query["sql"] or "history" in query["sql"] for query in captured)


class Replay:
    """Records as plain Python keeps them: what each was after each change."""

    def __init__(self):
        self.bills, self.customers = {}, {}

    def state(self):
        bills = {
            name: (
                bill["paid"],
                bill["due"],
                "VOIDED" if bill["void"] else "PAID" if bill["paid"] >= bill["due"] else "UNPAID",
            )
            for name, bill in self.bills.items()
        }
        return bills, dict(self.customers)


def issue(chance, api, kept, number):
    """Create a bill under a customer with a balance."""
    due, paid = chance.randrange(1, 50), chance.randrange(60)
    owner = {"external_reference": f"C{number}", "currency": "ZAR", "balance": chance.randrange(-5, 5)}
    body = {"external_reference": f"B{number}", "currency": "ZAR", "amount_due": due, "amount_paid": paid}
    made = api.post("/billing/bills", {**body, "customer": owner})
    assert made.status_code == 201
    kept.bills[f"B{number}"] = {"id": made.json()["id"], "due": due, "paid": paid, "void": False, "taken": {}}
    kept.customers[f"C{number}"] = owner["balance"]


def set_balance(chance, api, kept, number):
    name, balance = chance.choice(sorted(kept.customers)), chance.randrange(-50, 50)
    assert api.patch(f"/billing/customers/{name}", {"balance": balance}).status_code == 200
    kept.customers[name] = balance


def set_amount(chance, api, kept, number):
    name, word = chance.choice(sorted(kept.bills)), chance.choice(["paid", "due"])
    amount = chance.randrange(0 if word == "paid" else 1, 60)
    if api.patch(f"/billing/bills/{name}", {f"amount_{word}": amount}).status_code == 200:
        kept.bills[name][word] = amount


def void(chance, api, kept, number):
    name = chance.choice(sorted(kept.bills))
    if api.post(f"/billing/bills/{name}/void", {}, Idempotency_Key=f"k{number}").status_code == 200:
        kept.bills[name]["void"] = True


def collect(chance, api, kept, number):
    bill, amount = kept.bills[chance.choice(sorted(kept.bills))], chance.randrange(1, 20)
    body = {"external_reference": f"P{number}", "currency": "ZAR", "method": "cash", "amount": amount}
    taken = api.post("/billing/payments", {**body, "obligation": bill["id"]}, Idempotency_Key=f"k{number}")
    if taken.status_code == 201:
        bill["paid"] += amount
        bill["taken"][f"P{number}"] = amount


def reverse(chance, api, kept, number):
    bill = kept.bills[chance.choice(sorted(kept.bills))]
    if not bill["taken"]:
        return
    reference = chance.choice(sorted(bill["taken"]))
    done = api.post(f"/billing/payments/{reference}/reverse", {"reason": "x"}, Idempotency_Key=f"k{number}")
    if done.status_code == 201:
        bill["paid"] -= bill["taken"].pop(reference)


CHANGES = [issue, set_balance, set_amount, set_amount, void, collect, collect, reverse]


@pytest.mark.parametrize("seed", range(4))
def test_at_each_moment_of_a_random_history_records_stood_as_a_plain_replay_says(transactional_db, api, seed):
    chance, kept, history = random.Random(seed), Replay(), []
    for number in range(60):
        change = chance.choice(CHANGES) if kept.bills else issue
        change(chance, api, kept, number)
        history.append((now(), kept.state()))
    for moment, (bills, customers) in history:
        found = api.get(f"/billing/bills?limit=100&as_of={moment}").json()["data"]
        told = {bill["external_reference"]: (bill["amount_paid"], bill["amount_due"], bill["status"]) for bill in found}
        assert told == bills
        for bill in found:
            due, paid = bill["amount_due"], bill["amount_paid"]
            assert (bill["amount_remaining"], bill["amount_overpaid"]) == (max(due - paid, 0), max(paid - due, 0))
        found = api.get(f"/billing/customers?limit=100&as_of={moment}").json()["data"]
        assert {customer["external_reference"]: customer["balance"] for customer in found} == customers
