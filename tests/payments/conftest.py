"""What tests of payments need: a partner that collects for the biller, and something to pay."""

import pytest

from billers.models import Enablement, Partner


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
