"""What tests of payments need: a partner at its till, and something to pay."""

from itertools import count

import pytest
from django.db import connection

from ledger.models import Entry
from payments.models import Payment, Reversal


@pytest.fixture
def till(partner_api):
    """A caller with a write key of the partner."""
    return partner_api


@pytest.fixture
def pay(till):
    """Take a payment at the till, each under a reference and an idempotency key of its own."""
    numbers = count()

    def paid(caller=till, path="/partner/payments", **payment):
        number = next(numbers)
        body = {"external_reference": f"T-{number}", "currency": "ZAR", "method": "cash", **payment}
        return caller.post(path, body, Idempotency_Key=f"pay-{number}")

    return paid


@pytest.fixture
def undo(till):
    """Reverse a payment at the till, each time under an idempotency key of its own."""
    numbers = count()

    def undone(key, caller=till, path="/partner/payments", reason="Wrong payer"):
        return caller.post(f"{path}/{key}/reverse", {"reason": reason}, Idempotency_Key=f"undo-{next(numbers)}")

    return undone


@pytest.fixture
def owe(api):
    """Make a bill, under a customer of its own unless told otherwise; return it."""
    numbers = count()

    def owed(amount_due=2000, **fields):
        number = next(numbers)
        owner = {"customer": {"external_reference": f"C-{number}", "name": "John Doe"}}
        owner = owner if not fields.keys() & {"customer", "account"} else {}
        body = {"external_reference": f"B-{number}", "currency": "ZAR", "amount_due": amount_due, **owner, **fields}
        created = api.post("/billing/bills", body)
        assert created.status_code == 201, created.content
        return created.json()

    return owed


@pytest.fixture
def refused():
    """Assert that an answer is a refusal of this status with exactly these reasons."""

    def check(response, status, *reasons):
        told = response.json()
        code = "invalid_request" if status == 400 else reasons[0][0]
        assert (response.status_code, told["code"]) == (status, code), told
        assert [(error["code"], error["pointer"]) for error in told["errors"]] == list(reasons)

    return check


@pytest.fixture
def bill(owe):
    """A bill of ZAR 20.00."""
    return owe()


@pytest.fixture
def moved():
    """Move a payment, or its reversal, with the entries to another moment: what no caller could do."""

    def to(payment_id, moment, *, reversal=False):
        rows = Reversal.objects.filter(payment_id=payment_id) if reversal else Payment.objects.filter(pk=payment_id)
        entries = Entry.objects.filter(payment_id=payment_id, kind="reversal" if reversal else "payment")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for switch in ("DISABLE", "ENABLE"):
                for table in ("payments_payment", "payments_reversal", "ledger_entry"):
                    cursor.execute(f"ALTER TABLE {table} {switch} TRIGGER USER")
                if switch == "DISABLE":
                    assert rows.update(created_at=moment) == 1
                    assert entries.update(created_at=moment)
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    return to
