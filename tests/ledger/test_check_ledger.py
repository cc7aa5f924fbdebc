"""check_ledger, on a ledger whose guards were taken away to break it."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from ledger.models import Entry


@pytest.fixture
def bill(biller):
    """A bill of 100 with 30 paid and then 50, under a customer who owes 70."""

    def issue(act):
        return Bill.objects.issue(
            act,
            external_reference="B1",
            currency="ZAR",
            amount_due=100,
            amount_paid=30,
            customer={"external_reference": "C1", "currency": "ZAR", "balance": 70},
        )

    bill = perform(biller, "api:test", issue)
    perform(biller, "api:test", lambda act: Bill.objects.amend(act, bill.pk, amount_paid=50))
    return bill


def checked(*options):
    """Run the command; return its exit code and its lines."""
    out, code = io.StringIO(), 0
    try:
        call_command("check_ledger", *options, stdout=out)
    except SystemExit as left:
        code = left.code
    return code, out.getvalue().splitlines()


def broken(statement, *values):
    """Change what no door can change, as a damaged disk or a superuser would; put the guards back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_a_sound_ledger_is_counted_and_passes(bill):
    assert checked() == (
        0,
        [
            "customer: 1 obligations, 1 entries",
            "account: 0 obligations, 0 entries",
            "bill: 1 obligations, 2 entries",
            "payment: 0 payments, 0 entries",
            "The ledger agrees.",
        ],
    )


def test_an_amount_that_differs_from_its_entries_is_named(bill):
    broken("UPDATE bills_bill SET amount_paid = 51")
    code, lines = checked()
    assert code == 1
    assert lines[-3:-1] == ["bill: 1 wrong, differs from the sum of its entries:", bill.pk]


def test_a_balance_that_differs_from_its_entries_is_named(bill):
    broken("UPDATE customers_customer SET balance = 71")
    code, lines = checked()
    assert code == 1
    assert bill.customer_id in lines


def test_a_count_that_differs_from_its_entries_is_named(bill):
    broken("UPDATE bills_bill SET entry_count = 3")
    code, lines = checked()
    assert code == 1
    assert bill.pk in lines


def test_a_broken_running_total_is_named(bill):
    broken("UPDATE ledger_entry SET total = 31 WHERE sequence = 1 AND obligation_kind = 'bill'")
    code, lines = checked()
    assert code == 1
    assert lines[-3:-1] == ["bill: 1 wrong, its running total is broken:", bill.pk]


def test_a_gap_in_the_sequence_is_named(bill):
    broken("UPDATE ledger_entry SET sequence = 3 WHERE sequence = 2")
    code, lines = checked()
    assert code == 1
    assert lines[-3:-1] == ["bill: 1 wrong, its running total is broken:", bill.pk]


def test_an_entry_about_nothing_is_named(bill):
    broken("DELETE FROM bills_bill")
    code, lines = checked()
    assert code == 1
    assert lines[-3:-1] == ["bill: 1 wrong, has entries but does not exist:", bill.pk]


def test_an_entry_about_no_known_kind_is_named(bill):
    broken("UPDATE ledger_entry SET obligation_kind = 'pledge' WHERE sequence = 2")
    code, lines = checked()
    assert code == 1
    assert Entry.objects.get(sequence=2).pk in lines


def test_one_biller_is_checked_alone(bill):
    Biller.objects.found(name="Other", reference="other")
    broken("UPDATE bills_bill SET amount_paid = 51")
    assert checked("--biller", "other")[0] == 0
    assert checked("--biller", "acme")[0] == 1


def test_an_unknown_biller_is_one_line(db):
    with pytest.raises(CommandError, match="There is no biller “nobody”"):
        call_command("check_ledger", "--biller", "nobody")
