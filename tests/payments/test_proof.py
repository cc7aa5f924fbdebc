"""check_ledger on payments, where the guards were taken away to break them."""

import io

import pytest
from django.core.management import call_command
from django.db import connection

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(pay, undo, owe):
    """Two payments, the second undone; return their ids."""
    bill = owe(100)
    first, second = (pay(amount=amount, obligation=bill["id"]).json()["id"] for amount in (10, 20))
    undo(second)
    return first, second


def checked(*options):
    out = io.StringIO()
    try:
        call_command("check_ledger", *options, stdout=out)
    except SystemExit as left:
        return left.code, out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def broken(statement):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_sound_payments_are_counted(paid):
    assert checked() == (
        0,
        [
            "customer: 1 obligations, 0 entries",
            "account: 0 obligations, 0 entries",
            "bill: 1 obligations, 3 entries",
            "payment: 2 payments, 3 entries",
            "The ledger agrees.",
        ],
    )


@pytest.mark.parametrize(
    ("statement", "which", "what"),
    [
        ("UPDATE payments_payment SET amount = 11 WHERE amount = 10", 0, "differs from the sum of its entries"),
        ("DELETE FROM payments_reversal", 1, "differs from the sum of its entries"),
        ("UPDATE ledger_entry SET amount = -21 WHERE kind = 'reversal'", 1, "was reversed but left something"),
        ("DELETE FROM ledger_entry WHERE amount = 10", 0, "differs from the sum of its entries"),
    ],
)
def test_a_payment_that_differs_from_its_entries_is_named(paid, other, statement, which, what):
    broken(statement)
    code, lines = checked()
    assert code == 1
    place = lines.index(f"payment: 1 wrong, {what}:")
    assert lines[place + 1] == paid[which]
    assert checked("--biller", "other")[0] == 0
