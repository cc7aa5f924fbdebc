"""Real files, with figures computed independently of the product."""

import pytest
from django.core.management import call_command
from django.db.models import Count, Max, Min, Q, Sum

from accounts.models import Account
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event

UCI = (
    *("--amounts", "major", "--currency", "GBP", "--due-days", "30", "--date-format", "%Y-%m-%dT%H:%M:%S"),
    *("--map", "external_reference=InvoiceNo", "--map", "bill_date=InvoiceDate", "--map", "amount_due=TotalGBP"),
    *("--map", "customer_external_reference=CustomerID", "--map", "account_external_reference={CustomerID}-{Country}"),
    *("--map", "customer_name=Customer {CustomerID}", "--ignore-unknown"),
)
CHINOOK = (
    *("--map", "external_reference=bill_external_reference", "--map", "amount_due=amount_due_minor"),
    *("--map", "amount_paid=amount_paid_minor", "--map", "account_external_reference=account_reference"),
    "--ignore-unknown",
)
FIGURES = {
    "USD": (91, 52306, 23867),
    "EUR": (126, 71216, 33716),
    "CAD": (56, 30396, 16533),
    "BRL": (35, 19010, 8759),
    "GBP": (21, 11286, 6385),
    "CZK": (14, 9024, 3962),
    "INR": (13, 7526, 3366),
    "CLP": (7, 4662, 3172),
    "ARS": (7, 3762, 2227),
    "AUD": (7, 3762, 1534),
    "DKK": (7, 3762, 2227),
    "HUF": (7, 4562, 3522),
    "NOK": (7, 3962, 1436),
    "PLN": (7, 3762, 2722),
    "SEK": (7, 3862, 1634),
}


@pytest.fixture
def errors(tmp_path):
    return tmp_path / "errors.csv"


def test_the_retailers_invoices_give_the_golden_figures_and_a_second_run_changes_nothing(bring, shared, errors, stored):
    file = shared / "uci_online_retail/invoices.csv"
    run = bring(file, *UCI, "--errors", errors)
    assert run.code == 1
    assert run.report == {
        "read": 25900,
        "created": 18528,
        "updated": 0,
        "unchanged": 0,
        "rejected": 7372,
        "customers": {"created": 4337, "updated": 0},
        "accounts": {"created": 4345, "updated": 0},
        "totals": {"GBP": {"amount_due": 890872663, "amount_paid": 0}},
        "warnings": [],
    }
    kept = Bill.objects.aggregate(n=Count("pk"), due=Sum("amount_due"), least=Min("amount_due"), most=Max("amount_due"))
    assert kept == {"n": 18528, "due": 890872663, "least": 38, "most": 16846960}
    assert (Customer.objects.count(), Account.objects.count(), len(run.errors)) == (4337, 4345, 7372)
    bill = Bill.objects.select_related("customer", "account").get(external_reference="536365")
    assert (bill.amount_due, str(bill.bill_date), str(bill.due_date)) == (13912, "2010-12-01", "2010-12-31")
    assert (bill.customer.name, bill.account.external_reference) == ("Customer 17850", "17850-United Kingdom")

    before = stored()
    again = bring(file, *UCI, "--errors", errors)
    assert (again.code, again.created, again.updated, again.unchanged, again.rejected) == (1, 0, 0, 18528, 7372)
    assert again.totals == run.totals
    assert stored() == before
    assert [*Event.objects.values_list("type", flat=True)] == ["import.completed"] * 2


def test_the_first_reasons_of_the_refused_invoices_are_those_counted_by_hand(bring, shared, errors):
    run = bring(shared / "uci_online_retail/invoices.csv", *UCI, "--errors", errors, "--dry-run")
    counts = {"cancelled": 0, "no customer": 0, "zero": 0, "decimals": 0}
    for row in run.errors:
        why = row["_errors"]
        if row["InvoiceNo"].startswith("C"):
            assert "amount_due: " in why
            counts["cancelled"] += 1
        elif not row["CustomerID"]:
            assert "Name a customer or an account. (required)" in why
            counts["no customer"] += 1
        elif float(row["TotalGBP"]) == 0:
            assert "(out_of_range)" in why
            counts["zero"] += 1
        else:
            assert "(too_many_decimals)" in why
            counts["decimals"] += 1
    assert counts == {"cancelled": 3836, "no customer": 3528, "zero": 4, "decimals": 4}


def test_the_music_shops_bills_give_the_golden_figures(bring, shared, errors):
    Biller.objects.found(name="Chinook", reference="chinook")
    run = bring(shared / "chinook/bills.csv", *CHINOOK, "--errors", errors, reference="chinook")
    assert (run.code, run.read, run.created, run.rejected) == (0, 412, 412, 0)
    assert run.totals == {code: {"amount_due": due, "amount_paid": paid} for code, (_, due, paid) in FIGURES.items()}
    assert (run.customers["created"], run.accounts["created"]) == (59, 59)
    assert dict(Bill.objects.values_list("currency").annotate(n=Count("pk"))) == {c: f[0] for c, f in FIGURES.items()}
    assert Bill.objects.aggregate(
        paid=Count("pk", filter=Q(status="PAID")),
        unpaid=Count("pk", filter=Q(status="UNPAID")),
        part=Count("pk", filter=Q(status="UNPAID", amount_paid__gt=0)),
    ) == {"paid": 137, "unpaid": 275, "part": 138}
    assert not errors.exists()
    call_command("check_ledger", "--biller", "chinook")
    again = bring(shared / "chinook/bills.csv", *CHINOOK, "--errors", errors, reference="chinook")
    assert (again.code, again.created, again.updated, again.unchanged) == (0, 0, 0, 412)
