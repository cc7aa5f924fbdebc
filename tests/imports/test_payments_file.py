"""Files of payments that the biller took itself: each by the verb of the API; contract, sections 3 and 4."""

import json

import pytest
from sheets import row, sheet

from accounts.models import Account
from billers.acts import perform
from bills.models import Bill
from core.money import MAX_AMOUNT
from customers.models import Customer
from events.models import Event
from ledger.models import Entry
from payments.models import Payment


def payment(reference="P1", **fields):
    usual = {"external_reference": reference, "amount": 100, "currency": "ZAR", "method": "eft"}
    usual |= {} if fields.keys() & {"obligation", "allocations"} else {"bill_external_reference": "B1"}
    return {name: value for name, value in (usual | fields).items() if value is not None}


@pytest.fixture
def owing(bring):
    """Two bills of 100 under account A1 of customer C1, which owes 500 itself."""
    parents = {"account_external_reference": "A1", "customer_currency": "ZAR", "customer_balance": 500}
    assert bring(sheet(*(row(f"B{n}", due_date=f"2026-0{n}-01", **parents) for n in (1, 2)))).code == 0


@pytest.fixture
def paid(bring, owing):
    """Import rows of payments."""
    return lambda *rows, options=(): bring(sheet(*rows), *options, kind="payments", name="payments.csv")


@pytest.fixture
def moved(stored):
    """Everything that a run might move, payments too."""
    return lambda: stored() | {"Payment": [*Payment.objects.order_by("pk").values_list()]}


def amounts():
    bills = Bill.objects.order_by("external_reference").values_list("amount_paid", flat=True)
    return [*bills, Customer.objects.get().balance]


def test_a_row_pays_a_bill(paid):
    run = paid(payment(amount=60, paid_at="2026-01-05T10:00:00+02:00", **{"metadata.slip": "17"}))
    assert (run.code, run.created, run.totals) == (0, 1, {"ZAR": {"amount": 60}})
    taken = Payment.objects.get()
    assert (taken.external_reference, taken.amount, taken.method, taken.metadata) == ("P1", 60, "eft", {"slip": "17"})
    assert (taken.paid_at.isoformat(), taken.actor, taken.partner_id) == (
        "2026-01-05T08:00:00+00:00",
        "import_payments",
        None,
    )
    assert taken.amount_remaining == 40
    assert amounts() == [60, 0, 500]
    assert [*Entry.objects.filter(kind="payment").values_list("amount", "total", "actor")] == [
        (60, 60, "import_payments")
    ]


def test_a_row_pays_a_balance_a_share_of_each_or_the_oldest_first(paid):
    first, second = (bill.pk for bill in Bill.objects.order_by("external_reference"))
    shares = [{"obligation": first, "amount": 10}, {"obligation": second, "amount": 20}]
    run = paid(
        payment("P1", bill_external_reference="", customer_external_reference="C1"),
        payment("P2", obligation=second, amount=30),
        payment("P3", allocations=json.dumps(shares), amount=30),
        payment(
            "P4",
            bill_external_reference="",
            account_external_reference="A1",
            allocations="oldest_first",
            amount=100,
        ),
    )
    assert (run.code, run.created, run.totals) == (0, 4, {"ZAR": {"amount": 260}})
    assert amounts() == [100, 60, 400]


def test_the_same_file_twice_pays_once_and_says_so(paid, moved):
    rows = [payment("P1", amount=40), payment("P2", bill_external_reference="B2", **{"metadata.slip": "17"})]
    paid(*rows)
    before = moved()
    run = paid(*rows)
    assert (run.code, run.created, run.unchanged, run.totals) == (0, 0, 2, {"ZAR": {"amount": 140}})
    assert moved() == before


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 41},
        {"currency": "USD"},
        {"method": "cash"},
        {"bill_external_reference": "B2"},
        {"paid_at": "2026-01-05T10:00:00Z"},
        {"metadata.slip": "18"},
        {"bill_external_reference": "", "obligation": "", "allocations": '[{"obligation": "bill_x", "amount": 40}]'},
    ],
)
def test_a_payment_that_exists_is_never_changed(paid, moved, change):
    paid(payment(amount=40, paid_at="2026-01-05T08:00:00Z", **{"metadata.slip": "17"}))
    before = moved()
    run = paid(payment(amount=40) | change)
    assert (run.code, run.codes()) == (2, {2: ["reference_reused"]})
    assert moved() == before


@pytest.mark.parametrize(
    ("told", "column", "code"),
    [
        ({"amount": 0}, "amount", "out_of_range"),
        ({"amount": MAX_AMOUNT + 1}, "amount", "out_of_range"),
        ({"amount": ""}, "amount", "required"),
        ({"amount": 101}, "amount", "overpayment_not_allowed"),
        ({"currency": "USD"}, "currency", "currency_mismatch"),
        ({"method": "barter"}, "method", "invalid_choice"),
        ({"method": ""}, "method", "required"),
        ({"paid_at": "yesterday"}, "paid_at", "invalid_time"),
        ({"external_reference": "P 1"}, "external_reference", "invalid_reference"),
        ({"external_reference": "p" * 65}, "external_reference", "invalid_reference"),
        ({"bill_external_reference": "B9"}, "bill_external_reference", "obligation_not_found"),
        ({"bill_external_reference": ""}, "obligation", "required"),
        ({"customer_external_reference": "C1"}, "obligation", "ambiguous_payment"),
        ({"allocations": "newest_first"}, "allocations", "invalid_allocations"),
        ({"allocations": "[" * 5000}, "allocations", "invalid_allocations"),
        ({"obligation": "bill_nothing", "bill_external_reference": ""}, "obligation", "obligation_not_found"),
        ({"partner": "shop"}, "partner", "payment_not_found"),
        ({"metadata.card": "4111 1111 1111 1111"}, "metadata.card", "card_number"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_refused_payment_moves_nothing_and_the_others_are_taken(paid, moved, told, column, code, options):
    before = moved()
    run = paid(payment("P0", bill_external_reference="B2"), payment() | told, options=options)
    assert (run.code, run.created, run.rejected) == (1, 1, 1)
    assert run.codes() == {3: [code]}
    assert run.errors[0]["_errors"].startswith(f"{column}: ")
    if options:
        assert moved() == before
    else:
        assert amounts() == [0, 100, 500]


def test_ten_keys_of_metadata_are_taken_and_eleven_refused(paid):
    ten = {f"metadata.k{number}": "v" for number in range(10)}
    run = paid(payment("P0", **ten, amount=50), payment("P1", **ten, **{"metadata.k10": "v"}, amount=50))
    assert (run.created, run.codes()) == (1, {3: ["payment_metadata_at_most_10_keys"]})


def test_a_row_finds_what_the_rows_before_it_have_paid(paid, moved):
    rows = [payment("P1", amount=100), payment("P2", bill_external_reference="B2"), payment("P3", amount=1)]
    before = moved()
    dry = paid(*rows, options=["--dry-run"])
    assert moved() == before
    run = paid(*rows)
    assert dry.report == run.report
    assert (run.created, run.codes()) == (2, {4: ["obligation_settled"]})


def test_a_partners_payment_is_known_and_never_taken_again(paid, moved, partner_api):
    bill = Bill.objects.get(external_reference="B1")
    body = {"external_reference": "T-1", "amount": 100, "currency": "ZAR", "method": "eft", "obligation": bill.pk}
    assert partner_api.post("/partner/payments", body, Idempotency_Key="t1").status_code == 201
    before = moved()
    partner = Payment.objects.get().partner.reference
    run = paid(payment("T-1", partner=partner), payment("T-1", amount=7, partner=partner))
    assert (run.unchanged, run.created) == (1, 0)
    assert run.codes() == {3: ["duplicate_in_file"]}
    assert moved() == before


def test_the_api_answers_a_repeated_payment_with_the_one_from_the_file(paid, api):
    paid(payment(amount=40, paid_at="2026-01-05T08:00:00Z", **{"metadata.slip": "17"}))
    body = {
        "external_reference": "P1",
        "amount": 40,
        "currency": "ZAR",
        "method": "eft",
        "obligation": Bill.objects.get(external_reference="B1").pk,
        "paid_at": "2026-01-05T10:00:00+02:00",
        "metadata": {"slip": "17"},
    }
    answer = api.post("/billing/payments", body, Idempotency_Key="again")
    assert (answer.status_code, answer.json()["id"]) == (200, Payment.objects.get().pk)


def test_events_of_payments_are_told_when_asked_for(paid):
    paid(payment("P1"))
    assert not Event.objects.exclude(type="import.completed").exists()
    paid(payment("P2", bill_external_reference="B2"), options=["--events"])
    told = Event.objects.exclude(type="import.completed").order_by("pk").values_list("type", flat=True)
    assert [*told] == ["obligation.amount_applied", "bill.paid"]


def test_a_foreign_bill_is_no_bill(paid, other, moved):
    perform(
        other,
        "api:test",
        lambda act: Bill.objects.put(act, "B7", customer={"external_reference": "X"}, currency="ZAR", amount_due=100),
    )
    before = moved()
    foreign = Bill.objects.get(external_reference="B7").pk
    run = paid(payment("P1", bill_external_reference="B7"), payment("P2", obligation=foreign))
    assert run.codes() == {2: ["obligation_not_found"], 3: ["obligation_not_found"]}
    assert moved() == before
    assert Account.objects.count() == 1


@pytest.mark.parametrize("options", [("--on-error", "abort"), ("--max-errors", "0")])
def test_nothing_is_paid_where_one_payment_would_be_refused(paid, moved, options):
    before = moved()
    run = paid(payment("P1"), payment("P2", amount=1), options=options)
    assert (run.code, run.created, run.codes()) == (2, 0, {3: ["obligation_settled"]})
    assert moved() == before
    assert paid(payment("P1"), options=options).created == 1
