"""What a partner settles: lines and totals of a day, each biller's own, equal to the ledger."""

import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billers.models import Biller, Enablement
from ledger.models import Entry
from payments.models import Payment


def table(response):
    """Return the rows of a CSV answer as dictionaries."""
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


@pytest.fixture
def moved():
    """Move a payment or reversal, with its entries, to another moment: what no caller could do."""

    def to(key, moment):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table, column in (("payments_payment", "id"), ("payments_reversal", "id")):
                cursor.execute(f"UPDATE {table} SET created_at = %s WHERE {column} = %s", [moment, key])
            cursor.execute("SET LOCAL session_replication_role = origin")

    return lambda key, moment: to(Payment._meta.pk.get_db_prep_value(key, connection) if "_" in key else key, moment)


def today():
    return datetime.now(UTC).date().isoformat()


def test_a_day_holds_each_payment_and_each_reversal_as_a_negative_line(till, pay, undo, bill):
    first = pay(obligation=bill["id"], amount=500).json()
    second = pay(obligation=bill["id"], amount=300, method="card").json()
    undone = undo(first["id"]).json()
    told = till.get(f"/partner/settlements/{today()}").json()
    assert told["date"] == today()
    assert [(line["payment_id"], line["kind"], line["amount"], line["method"]) for line in told["lines"]] == [
        (first["id"], "payment", 500, "cash"),
        (second["id"], "payment", 300, "card"),
        (first["id"], "reversal", -500, "cash"),
    ]
    assert told["lines"][2] == {
        "payment_id": first["id"],
        "external_reference": "T-0",
        "biller": "acme",
        "kind": "reversal",
        "amount": -500,
        "currency": "ZAR",
        "method": "cash",
        "created_at": undone["created_at"],
    }
    assert told["totals"] == [
        {
            "biller": "acme",
            "currency": "ZAR",
            "payments": {"count": 2, "amount": 800},
            "reversals": {"count": 1, "amount": -500},
            "net": 300,
        }
    ]
    assert told["next_cursor"] is None


def test_the_same_day_as_csv_holds_the_lines_and_then_what_they_come_to(till, pay, undo, bill):
    first = pay(obligation=bill["id"], amount=500).json()
    undo(first["id"])
    response = till.get(f"/partner/settlements/{today()}", Accept="text/csv")
    assert response.headers["Vary"] == "Accept"
    rows = table(response)
    assert [(row["kind"], row["amount"], row["currency"], row["count"]) for row in rows] == [
        ("payment", "500", "ZAR", "1"),
        ("reversal", "-500", "ZAR", "1"),
        ("total_payments", "500", "ZAR", "1"),
        ("total_reversals", "-500", "ZAR", "1"),
        ("total_net", "0", "ZAR", "2"),
    ]
    assert rows[0]["payment_id"] == first["id"]
    assert rows[0]["created_at"] == first["created_at"]
