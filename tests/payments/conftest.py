"""What tests of payments need: a partner that collects for the biller, and something to pay."""

import pytest
from django.db import connection

from billers.models import Enablement, Partner
from ledger.models import Entry
from payments.models import Payment, Reversal


@pytest.fixture
def partners(db):
    """One partner in live and test mode."""
    return Partner.objects.found(name="Corner Shops", reference="shops")


@pytest.fixture
def partner(partners, biller):
    Enablement.objects.enable(partners["live"], [biller])
    return partners["live"]


@pytest.fixture
def till(api_for, partner):
    """A caller with a write key of the partner."""
    return api_for(partner)


@pytest.fixture
def pay(till):
    """Pay with a new idempotency key each time."""
    count = iter(range(10**6))

    def paid(**payment):
        n = next(count)
        body = {"external_reference": f"T-{n}", "currency": "ZAR", "method": "cash", **payment}
        return till.post("/partner/payments", body, Idempotency_Key=f"pay-{n}")

    return paid


@pytest.fixture
def undo(till):
    """Reverse with a new idempotency key each time."""
    count = iter(range(10**6))

    def undone(key, reason="Wrong payer"):
        return till.post(f"/partner/payments/{key}/reverse", {"reason": reason}, Idempotency_Key=f"undo-{next(count)}")

    return undone


@pytest.fixture
def bill(api):
    """A bill of ZAR 20.00 of an account of a customer."""
    account = {"external_reference": "A", "customer": {"external_reference": "C", "name": "John Doe"}}
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 2000, "account": account}
    return api.post("/billing/bills", body).json()


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
