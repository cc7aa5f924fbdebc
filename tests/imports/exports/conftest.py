"""Exports read over a connection of their own, so what they read has to be committed."""

import io
import json
import time
from datetime import date

import pytest
from django.core.management import call_command
from django.db import connection
from tabled import issued

from billers.acts import perform
from billers.models import Biller
from bills.models import Bill


@pytest.fixture
def pair(no_table_open):
    return Biller.objects.found(name="Acme Water", reference="acme")


@pytest.fixture
def biller(pair):
    return pair["live"]


@pytest.fixture
def other(transactional_db):
    return Biller.objects.found(name="Other School", reference="other")["live"]


@pytest.fixture
def records(api, biller, partner_api):
    """Some of everything, in every state, much of it text that a spreadsheet would run."""
    owner = {"external_reference": "=C;1", "name": "=HYPERLINK(1)", "email": "+jo@example.com"}
    account = {"external_reference": "-A", "name": "\tMain", "currency": "JPY", "balance": -7, "customer": owner}
    account |= {"metadata": {"route": "@7"}}
    bill = issued(
        *(biller, "B-1"),
        account=account,
        customer=None,
        description="-1+1",
        metadata={"route ": "'=x", "b": "x"},
    )
    for reference in ("C-2", "C-3"):
        customer = {"external_reference": reference, "name": reference, "phone": "+27821234567"}
        assert api.post("/billing/customers", customer).status_code == 201
    assert api.post("/billing/accounts", {"external_reference": "A-2", "customer": "C-2"}).status_code == 201
    late = issued(biller, "+B", customer="C-2", due_date=date(2026, 3, 1), amount_paid=30)
    void = issued(biller, "V", customer="C-2")
    perform(biller, "test", lambda act: Bill.objects.void(act, void.pk, reason="=1"))
    paid = {"obligation": bill.pk, "amount": 10, "currency": "ZAR", "method": "cash", "external_reference": "-P"}
    assert api.post("/billing/payments", paid, Idempotency_Key="1").status_code == 201
    assert api.post("/billing/payments/-P/reverse", {"reason": "@"}, Idempotency_Key="2").status_code == 201
    parts = [{"obligation": bill.pk, "amount": 3}, {"obligation": late.pk, "amount": 4}]
    several = {"external_reference": "P2", "amount": 7, "currency": "ZAR", "method": "eft", "allocations": parts}
    several |= {"metadata": {"till": "=7"}, "paid_at": "2026-01-31T10:00:00.25+02:00"}
    assert partner_api.post("/partner/payments", several, Idempotency_Key="3").status_code == 201


@pytest.fixture
def export(tmp_path):
    """Run an export into a file; return its bytes and its report."""

    def export(kind, *options, reference="acme", name="out.csv"):
        path, out = tmp_path / name, io.StringIO()
        options = ["--biller", reference, "-o", str(path), "--json", *options]
        call_command(f"export_{kind}", *options, stdout=out, stderr=io.StringIO())
        return path.read_bytes(), json.loads(out.getvalue())

    return export


@pytest.fixture
def copying(transactional_db):
    """Return the processes of the database that write a table at the moment."""

    def copying():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY (%'"
            )
            return [pid for (pid,) in cursor.fetchall()]

    return copying


@pytest.fixture
def ended(copying):
    """Tell whether no process of the database writes a table any more, soon: one that is left ends by itself."""

    def ended(within=20):
        until = time.monotonic() + within
        while copying() and time.monotonic() < until:
            time.sleep(0.05)
        return copying() == []

    return ended
