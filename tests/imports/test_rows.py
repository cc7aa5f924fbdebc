"""What becomes of each row: the rules of PUT, said about files; contract, sections 1, 2 and 4."""

import io
import json

import pytest
from django.core.management import call_command
from django.db import connection
from sheets import row, sheet

from accounts.models import Account
from billers.models import Biller
from bills.models import Bill
from core.ids import decode
from core.money import MAX_AMOUNT
from customers.models import Customer
from events.models import Event
from imports.models import Import
from ledger.models import Entry


@pytest.fixture
def bill(bring):
    """A stored bill of 100 under account A1 of customer C1."""
    bring(sheet(row(account_external_reference="A1", bill_date="2026-01-05", due_date="2026-02-01")))
    return Bill.objects.get()


# --- Bills that exist ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"customer_external_reference": "C2"}, "bill_owner_fixed"),
        ({"account_external_reference": "A2"}, "bill_owner_fixed"),
        ({"currency": "USD"}, "bill_currency_fixed"),
        ({"bill_date": "2026-01-06"}, "bill_date_fixed"),
    ],
)
def test_what_is_fixed_stays(bring, bill, stored, change, code):
    before = stored()
    run = bring(sheet(row(amount_due=999, **change)))
    assert run.code == 2
    assert run.codes() == {2: [code]}
    assert stored() == before


def test_all_that_is_wrong_with_a_row_is_said_at_once(bring, bill):
    bad = row(amount_due="0", currency="USD", bill_date="2026-01-06", due_date="soon", customer_email="nobody")
    assert sorted(bring(sheet(bad)).codes()[2]) == [
        "bill_currency_fixed",
        "bill_date_fixed",
        "invalid_date",
        "invalid_email",
        "out_of_range",
    ]


def test_an_update_changes_what_is_told_with_one_version_and_one_entry(bring, bill):
    run = bring(sheet(row(amount_due=300, amount_paid=120, description="January", **{"metadata.meter": "7"})))
    assert (run.code, run.updated, run.customers) == (0, 1, {"created": 0, "updated": 0})
    changed = Bill.objects.get()
    assert (changed.amount_due, changed.amount_paid, changed.description) == (300, 120, "January")
    assert (changed.metadata, str(changed.due_date)) == ({"meter": "7"}, "2026-02-01")
    assert (changed.version, changed.entry_count) == (bill.version + 1, 1)
    assert [*Entry.objects.values_list("kind", "sequence", "amount", "total", "actor")] == [
        ("import", 1, 120, 120, "import_bills")
    ]


def test_a_void_bill_takes_metadata_alone(bring, bill, made, stored):
    made(Bill.objects.void, bill.pk)
    before = stored()
    assert bring(sheet(row(amount_due=101))).codes() == {2: ["bill_voided"]}
    assert stored() == before
    assert bring(sheet(row())).unchanged == 1
    assert bring(sheet(row(**{"metadata.note": "kept"}))).updated == 1
    assert Bill.objects.get().metadata == {"note": "kept"}


def test_metadata_merges_up_to_ten_keys(bring, bill):
    assert bring(sheet(row(**{f"metadata.k{n}": "v" for n in range(10)}))).updated == 1
    assert bring(sheet(row(**{"metadata.k9": "w"}))).updated == 1
    assert bring(sheet(row(**{"metadata.k10": "v"}))).codes() == {2: ["bill_metadata_at_most_10_keys"]}
    assert Bill.objects.get().metadata == {f"k{n}": "v" for n in range(9)} | {"k9": "w"}


# --- Their parents ---------------------------------------------------------------------------------------------------


def test_an_account_of_another_customer_is_refused(bring, bill):
    run = bring(sheet(row("B2", customer_external_reference="C2", account_external_reference="A1")))
    assert run.codes() == {2: ["account_of_another_customer"]}
    assert not Customer.objects.filter(external_reference="C2").exists()


def test_the_first_row_of_a_new_account_says_whose_it_is(bring):
    other = row("B2", customer_external_reference="C2", account_external_reference="A1")
    run = bring(sheet(row(account_external_reference="A1"), other))
    assert (run.code, run.codes()) == (1, {3: ["account_of_another_customer"]})
    assert "Line 2 gives the account to another customer." in run.errors[0]["_errors"]


def test_an_existing_account_may_be_named_alone_and_a_new_one_may_not(bring, bill):
    alone = row("B2", customer_external_reference=None, account_external_reference="A1")
    absent = row("B3", customer_external_reference=None, account_external_reference="A9")
    run = bring(sheet(alone, absent))
    assert (run.created, run.codes()) == (1, {3: ["required"]})
    assert Bill.objects.get(external_reference="B2").customer_id == bill.customer_id


def test_a_new_bill_needs_an_owner_a_currency_and_an_amount(bring):
    bare = {"external_reference": "B1", "currency": "", "amount_due": "", "customer_external_reference": ""}
    assert bring(sheet(bare)).codes() == {2: ["required", "required", "required"]}


def test_a_parent_that_is_described_must_be_named(bring):
    described = row(customer_external_reference="", customer_name="Ann", account_external_reference="A1")
    run = bring(sheet(described))
    assert "customer_external_reference: This field is required. (required)" in run.errors[0]["_errors"]


def test_a_refused_row_leaves_no_trace_on_its_parents(bring):
    run = bring(sheet(row(customer_name="Ann"), row("B2", amount_due="x", customer_name="Eve")))
    assert (run.code, run.warnings) == (1, [])
    assert Customer.objects.get().name == "Ann"


def test_each_field_of_a_parent_takes_its_own_last_row_and_the_warning_names_it(bring):
    run = bring(
        sheet(
            row("B1", customer_name="Ann", customer_email="ann@example.com"),
            row("B2", customer_name="Anna"),
            row("B3", **{"customer_metadata.tier": "gold"}),
        )
    )
    customer = Customer.objects.get()
    assert (customer.name, customer.email, customer.metadata) == ("Anna", "ann@example.com", {"tier": "gold"})
    assert run.warnings == ["Customer “C1”: name differs between lines; the last one is taken."]
    assert customer.version == 1


def test_balances_are_entries_of_the_import(bring):
    owing = {"customer_currency": "ZAR", "customer_balance": 500, "account_external_reference": "A1"}
    bring(sheet(row(**owing, account_currency="ZAR", account_balance=-20)))
    bring(sheet(row(**(owing | {"customer_balance": 350}))))
    assert (Customer.objects.get().balance, Account.objects.get().balance) == (350, -20)
    assert [*Entry.objects.order_by("id").values_list("obligation_kind", "kind", "sequence", "amount", "total")] == [
        ("customer", "import", 1, 500, 500),
        ("account", "import", 1, -20, -20),
        ("customer", "import", 2, -150, 350),
    ]
    call_command("check_ledger", stdout=io.StringIO())


def test_a_balance_needs_a_currency_from_any_row_or_from_before(bring):
    run = bring(sheet(row(customer_balance=5), row("B2", customer_external_reference="C2", customer_currency="ZAR")))
    assert run.codes() == {2: ["customer_balance_needs_currency"]}
    assert bring(sheet(row("B3", customer_external_reference="C2", customer_balance=5))).created == 1


def test_a_currency_stays_while_the_balance_is_not_zero(bring):
    bring(sheet(row(customer_currency="ZAR", customer_balance=5)))
    run = bring(sheet(row(customer_currency="USD")))
    assert run.codes() == {2: ["customer_currency_fixed_by_balance"]}
    assert bring(sheet(row(customer_balance=0))).customers["updated"] == 1
    assert bring(sheet(row(customer_currency="USD"))).customers["updated"] == 1


def test_a_currency_stays_while_a_payment_of_the_balance_stands(bring, api):
    bring(sheet(row(customer_currency="ZAR", customer_balance=5)))
    key = api.get("/billing/customers/C1").json()["id"]
    paid = {"external_reference": "T", "amount": 5, "currency": "ZAR", "method": "cash", "obligation": key}
    assert api.post("/billing/payments", paid, Idempotency_Key="pay").status_code == 201
    assert bring(sheet(row(customer_currency="USD"))).codes() == {2: ["customer_currency_fixed_by_payments"]}
    assert api.get("/billing/customers/C1").json()["currency"] == "ZAR"


def test_metadata_of_a_parent_holds_ten_keys_over_the_whole_file(bring):
    first = row(**{f"customer_metadata.k{n}": "v" for n in range(10)})
    assert bring(sheet(first)).code == 0
    run = bring(sheet(row(**{"customer_metadata.k10": "v"})))
    assert run.codes() == {2: ["customer_metadata_at_most_10_keys"]}


# --- Limits, at n and n + 1 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "good", "bad", "code"),
    [
        ("external_reference", "x" * 255, "x" * 256, "invalid_reference"),
        ("external_reference", "94/24615/657/109889", "B1 ", "invalid_reference"),
        ("external_reference", "17850-United Kingdom", "a\u200bb", "invalid_reference"),
        ("customer_external_reference", "x" * 255, "x" * 256, "invalid_reference"),
        ("account_external_reference", "x" * 255, "x" * 256, "invalid_reference"),
        ("amount_due", 1, 0, "out_of_range"),
        ("amount_due", MAX_AMOUNT, MAX_AMOUNT + 1, "out_of_range"),
        ("amount_due", "007", "7.0", "invalid_type"),
        ("amount_due", 7, "\u0667", "invalid_type"),
        ("amount_due", 7, "9" * 400, "out_of_range"),
        ("amount_paid", 0, -1, "out_of_range"),
        ("amount_paid", MAX_AMOUNT, MAX_AMOUNT + 1, "out_of_range"),
        ("currency", "ZAR", "zar", "invalid_currency"),
        ("currency", "KWD", "XAU", "invalid_currency"),
        ("bill_date", "2024-02-29", "2023-02-29", "invalid_date"),
        ("due_date", "9999-12-31", "10000-01-01", "invalid_date"),
        ("description", "d" * 500, "d" * 501, "too_long"),
        ("metadata.k", "v" * 500, "v" * 501, "invalid_metadata_value"),
        ("customer_name", "n" * 255, "n" * 256, "too_long"),
        ("account_name", "n" * 255, "n" * 256, "too_long"),
        ("customer_email", "a" * 64 + "@" + "b" * 59 + ".example.com", "@example.com", "invalid_email"),
        ("customer_email", "a@xn--bcher-kva.example", "a@" + "b." * 125 + "example", "too_long"),
        ("customer_phone", "+123456789012345", "+1234567890123456", "invalid_phone"),
        ("customer_phone", "+27821234567", "0821234567", "invalid_phone"),
    ],
)
def test_limits(bring, field, good, bad, code):
    beside = {"account_external_reference": "A1"} if field.startswith("account_name") else {}
    run = bring(sheet(row(**beside, **{field: bad}) if field != "external_reference" else row(bad, **beside)))
    assert code in run.codes()[2]
    assert not Bill.objects.exists()
    assert not Customer.objects.exists()
    run = bring(sheet(row(**beside, **{field: good}) if field != "external_reference" else row(good, **beside)))
    assert run.code == 0, run.errors


@pytest.mark.parametrize("parent", ["customer", "account"])
def test_balances_reach_as_far_as_credits(bring, parent):
    def owing(balance):
        told = {f"{parent}_currency": "ZAR", f"{parent}_balance": balance, "account_external_reference": "A1"}
        return sheet(row(**told))

    for beyond in (MAX_AMOUNT + 1, -MAX_AMOUNT - 1):
        assert bring(owing(beyond)).codes() == {2: ["out_of_range"]}
    assert bring(owing(-MAX_AMOUNT)).code == 0
    assert bring(owing(MAX_AMOUNT)).code == 0


@pytest.mark.parametrize(("length", "code"), [(40, 0), (41, 2)])
def test_a_metadata_key_has_forty_characters(bring, length, code):
    assert bring(sheet(row(**{"metadata." + "k" * length: "v"}))).code == code


def test_due_days_count_from_the_bills_date_and_end_with_the_calendar(bring):
    run = bring(sheet(row(bill_date="2026-01-31"), row("B2", bill_date="9999-12-31")), "--due-days", 30)
    assert (run.created, run.codes()) == (1, {3: ["out_of_range"]})
    assert str(Bill.objects.get().due_date) == "2026-03-02"
    assert bring(sheet(row()), "--due-days", 31).updated == 1
    assert str(Bill.objects.get().due_date) == "2026-03-03"


# --- What is told ----------------------------------------------------------------------------------------------------


def told():
    return [*Event.objects.order_by("id").values_list("type", flat=True)]


def test_an_import_tells_that_it_is_complete_and_with_events_what_became_of_each_row(bring):
    bring(sheet(row(account_external_reference="A1")))
    assert told() == ["import.completed"]
    completed = Event.objects.get()
    imported = Import.objects.get()
    assert (completed.object_id, completed.body["id"]) == (decode("imp", imported.pk), imported.pk)
    assert completed.body["created"] == 1

    Event.objects.all().delete()
    bring(sheet(row(amount_due=100, amount_paid=100, customer_name="Ann"), row("B2")), "--events")
    assert sorted(told()) == ["bill.created", "bill.paid", "bill.updated", "customer.updated", "import.completed"]
    bill = Bill.objects.get(external_reference="B1")
    updated = Event.objects.get(type="bill.updated")
    assert updated.object_id == decode("bill", bill.pk)
    assert updated.body == {"id": bill.pk, "external_reference": "B1", "amount_paid": 100}
    created = Event.objects.get(type="bill.created").body
    assert (created["external_reference"], created["amount_due"], created["currency"]) == ("B2", 100, "ZAR")
    assert Event.objects.get(type="customer.updated").body["name"] == "Ann"


def test_the_audit_trail_says_who_and_from_which_file(bring):
    bring(sheet(row()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pgh_label, pgh_context FROM bills_billhistory")
        ((label, context),) = cursor.fetchall()
    assert label == "insert"
    context = json.loads(context) if isinstance(context, str) else context
    assert context["actor"] == "import_bills"
    assert context["reason"] == f"{Import.objects.get().pk} bills.csv"


def test_test_mode_is_another_biller(bring):
    bring(sheet(row()), "--mode", "test")
    assert Bill.objects.get().biller == Biller.objects.get(reference="acme", mode="test")


def test_ids_rise_in_the_order_of_the_file(bring):
    bring(sheet(*(row(f"B{n}", customer_external_reference=f"C{n % 7}") for n in range(50))))
    assert [*Bill.objects.order_by("id").values_list("external_reference", flat=True)] == [f"B{n}" for n in range(50)]
