"""What a biller's money comes to: ageing and collections, equal to the bills and to the ledger."""

import csv
import io
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from api.authentication import key_ring
from billers.models import Biller
from bills.models import Bill
from core.days import begins
from ledger.models import Entry
from payments import reporting


def report(api, name, query=""):
    response = api.get(f"/billing/reports/{name}{query}")
    assert response.status_code == 200, response.content
    return response.json()


def table(api, name, query=""):
    """Return the rows of a report as CSV."""
    response = api.get(f"/billing/reports/{name}{query}", Accept="text/csv")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode())))


def buckets(told, currency="ZAR"):
    [row] = [row for row in told["data"] if row["currency"] == currency]
    return {bucket["bucket"]: (bucket["bills"], bucket["amount"]) for bucket in row["buckets"]}


def test_each_bill_is_in_the_bucket_of_its_days_at_the_edges_of_each(api, owe, biller):
    today = biller.today()
    edges = [-1, 0, 1, 30, 31, 60, 61, 90, 91, 5000]
    for amount, days in enumerate(edges):
        owe(2**amount, due_date=(today - timedelta(days=days)).isoformat())
    owe(2**10)
    told = report(api, "ageing")
    assert told["date"] == today.isoformat()
    assert buckets(told) == {
        "no_due_date": (1, 1024),
        "current": (2, 1 + 2),
        "1_30": (2, 4 + 8),
        "31_60": (2, 16 + 32),
        "61_90": (2, 64 + 128),
        "over_90": (2, 256 + 512),
    }
    assert (told["data"][0]["bills"], told["data"][0]["amount"]) == (11, 2**11 - 1)


def test_today_is_the_billers_own(api, owe, biller):
    Biller.objects.filter(pk=biller.pk).update(timezone="Pacific/Kiritimati")
    key_ring.forget()
    there = Biller.objects.get(pk=biller.pk).today()
    owe(5, due_date=there.isoformat())
    owe(7, due_date=(there - timedelta(days=1)).isoformat())
    told = report(api, "ageing")
    assert told["date"] == there.isoformat()
    assert (buckets(told)["current"], buckets(told)["1_30"]) == ((1, 5), (1, 7))


def test_only_what_remains_of_unpaid_bills_is_owed_by_currency(api, owe):
    owe(100, amount_paid=30)
    owe(100, amount_paid=100)
    void = owe(100)
    api.post(f"/billing/bills/{void['id']}/void", {}, Idempotency_Key="v")
    owe(50, currency="JPY")
    told = report(api, "ageing")
    assert [(row["currency"], row["bills"], row["amount"]) for row in told["data"]] == [("JPY", 1, 50), ("ZAR", 1, 70)]
    assert buckets(told)["no_due_date"] == (1, 70)


def test_ageing_is_the_sum_of_the_bills_whatever_they_are(api, owe, biller):
    chance = random.Random(5)
    today = biller.today()
    for _ in range(40):
        days = chance.choice([None, *range(-40, 130, 7)])
        due = {} if days is None else {"due_date": (today - timedelta(days=days)).isoformat()}
        owe(chance.randrange(1, 100), amount_paid=chance.randrange(60), currency=chance.choice(["ZAR", "USD"]), **due)
    told = report(api, "ageing")
    for row in told["data"]:
        unpaid = Bill.objects.for_biller(biller).filter(status="UNPAID", currency=row["currency"])
        assert (row["bills"], row["amount"]) == (len(unpaid), sum(bill.owed for bill in unpaid))
        overdue = [bill for bill in unpaid if bill.due_date and bill.due_date < today]
        late = [bucket for bucket in row["buckets"] if bucket["bucket"] not in {"no_due_date", "current"}]
        assert sum(bucket["amount"] for bucket in late) == sum(bill.owed for bill in overdue)


def test_ageing_as_csv_has_a_row_for_each_bucket(api, owe):
    owe(100)
    rows = table(api, "ageing")
    assert rows[:2] == [["currency", "bucket", "bills", "amount"], ["ZAR", "no_due_date", "1", "100"]]
    assert len(rows) == 7


def test_collections_are_by_day_partner_and_method_and_a_reversal_counts_on_its_own_day(
    api, owe, pay, undo, moved, biller
):
    bill = owe(9000)
    first = pay(obligation=bill["id"], amount=100).json()
    second = pay(obligation=bill["id"], amount=20, method="card").json()
    own = pay(api, "/billing/payments", obligation=bill["id"], amount=3).json()
    undo(first["id"])
    for payment in (first, second, own):
        moved(payment["id"], datetime(2026, 5, 1, 12, tzinfo=UTC))
    moved(first["id"], datetime(2026, 5, 3, 12, tzinfo=UTC), reversal=True)
    told = report(api, "collections", "?from=2026-05-01&to=2026-05-31")
    assert (told["from"], told["to"], told["as_of"]) == ("2026-05-01", "2026-05-31", None)
    assert [tuple(row[key] for key in ("day", "partner", "method", "net")) for row in told["data"]] == [
        ("2026-05-01", None, "cash", 3),
        ("2026-05-01", "corner", "card", 20),
        ("2026-05-01", "corner", "cash", 100),
        ("2026-05-03", "corner", "cash", -100),
    ]
    assert told["data"][3] == {
        "day": "2026-05-03",
        "partner": "corner",
        "method": "cash",
        "currency": "ZAR",
        "payments": {"count": 0, "amount": 0},
        "reversals": {"count": 1, "amount": -100},
        "net": -100,
    }
    assert table(api, "collections", "?from=2026-05-02&to=2026-05-03") == [
        ["day", "partner", "method", "currency", "payments", "paid", "reversals", "reversed", "net"],
        ["2026-05-03", "corner", "cash", "ZAR", "0", "0", "1", "-100", "-100"],
    ]


def test_collections_are_told_apart_by_what_is_asked_for(api, owe, pay, biller):
    bill = owe(9000)
    for amount, method in ((1, "cash"), (2, "card"), (4, "cash")):
        pay(obligation=bill["id"], amount=amount, method=method)
    keys = ("day", "partner", "method", "net")
    today = biller.today().isoformat()

    def told(group):
        return [tuple(row[key] for key in keys) for row in report(api, "collections", f"?group={group}")["data"]]

    assert told("method") == [(None, None, "card", 2), (None, None, "cash", 5)]
    assert told("partner") == [(None, "corner", None, 7)]
    assert told("method,day") == [(today, None, "card", 2), (today, None, "cash", 5)]
    assert table(api, "collections", "?group=day")[0][:2] == ["day", "currency"]


@pytest.mark.parametrize(("when", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_of_collections_is_the_billers_own_where_clocks_change(api, owe, pay, moved, biller, when, hours):
    Biller.objects.filter(pk=biller.pk).update(timezone="Europe/Berlin")
    key_ring.forget()
    bill = owe(9000)
    one = date.fromisoformat(when)
    since = begins(one, "Europe/Berlin")
    instant = timedelta(microseconds=1)
    moments = (since - instant, since, since + timedelta(hours=hours) - instant, since + timedelta(hours=hours))
    for amount, moment in zip((1, 2, 4, 8), moments, strict=True):
        moved(pay(obligation=bill["id"], amount=amount).json()["id"], moment)
    around = f"?from={one - timedelta(days=1)}&to={one + timedelta(days=1)}&group=day"
    assert [row["net"] for row in report(api, "collections", around)["data"]] == [1, 6, 8]
    assert [row["net"] for row in report(api, "collections", f"?from={one}&to={one}")["data"]] == [6]


def test_collections_as_of_a_moment_know_nothing_later(api, owe, pay, undo, moved):
    payment = pay(obligation=owe(9000)["id"], amount=100).json()
    undo(payment["id"])
    moved(payment["id"], datetime(2026, 5, 1, 12, tzinfo=UTC))
    moved(payment["id"], datetime(2026, 5, 1, 13, tzinfo=UTC), reversal=True)
    period = "?from=2026-05-01&to=2026-05-31&group=day"
    nets = {
        as_of: [row["net"] for row in report(api, "collections", f"{period}&as_of={as_of}")["data"]]
        for as_of in ("2026-05-01T11:59:59Z", "2026-05-01T12:00:00Z", "2026-04-30", "2026-05-01", "9999-12-31")
    }
    assert nets == {
        "2026-05-01T11:59:59Z": [],
        "2026-05-01T12:00:00Z": [100],
        "2026-04-30": [],
        "2026-05-01": [0],
        "9999-12-31": [0],
    }


def test_the_sums_of_collections_are_those_of_the_ledger(api, owe, pay, undo, biller):
    bill = owe(9000)
    for amount in range(1, 9):
        payment = pay(obligation=bill["id"], amount=amount, method=["cash", "eft"][amount % 2]).json()
        if amount % 3 == 0:
            undo(payment["id"])
    [row] = report(api, "collections", "?group=day")["data"]
    entries = Entry.objects.for_biller(biller).filter(payment_id__isnull=False)
    for kind in ("payment", "reversal"):
        posted = [entry.amount for entry in entries if entry.kind == kind]
        assert row[f"{kind}s"] == {"count": len(posted), "amount": sum(posted)}
    assert row["net"] == Bill.objects.get(pk=bill["id"]).amount_paid


def test_nobody_reads_another_billers_reports(api_for, owe, pay, other, test_biller):
    pay(obligation=owe(9000)["id"], amount=100)
    for stranger in (other, test_biller):
        for name in ("ageing", "collections"):
            assert report(api_for(stranger), name)["data"] == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("from=", "from"),
        ("to=tomorrow", "to"),
        ("from=2026-02-30", "from"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("group=", "group"),
        ("group=day,hour", "group"),
        ("as_of=x", "as_of"),
        ("limit=5", "limit"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_name(api, query, name):
    refused = api.get(f"/billing/reports/collections?{query}")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, name)
    assert api.get(f"/billing/reports/ageing?{query}").status_code == 400


def test_any_period_may_be_asked_for(api, owe, pay):
    pay(obligation=owe(9000)["id"], amount=100)
    [row] = report(api, "collections", "?from=0001-01-01&to=9999-12-31")["data"]
    assert row["net"] == 100
    for period in ("?from=0001-01-01&to=0001-01-01", "?from=9999-12-31&to=9999-12-31"):
        assert report(api, "collections", period)["data"] == []


def test_more_rows_than_a_document_should_hold_are_for_the_table(api, owe, pay, monkeypatch):
    bill = owe(9000)
    for method in ("cash", "card", "eft"):
        pay(obligation=bill["id"], amount=1, method=method)
    monkeypatch.setattr(reporting, "MOST_ROWS", 3)
    assert len(report(api, "collections")["data"]) == 3
    monkeypatch.setattr(reporting, "MOST_ROWS", 2)
    refused = api.get("/billing/reports/collections")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (400, "group")
    assert len(table(api, "collections")) == 4


@pytest.mark.parametrize("name", ["ageing", "collections"])
def test_a_report_sends_as_many_statements_however_much_it_counts(api, owe, pay, name):
    counts = []
    for size in (3, 27):
        for _ in range(size):
            pay(obligation=owe(9)["id"], amount=1)
        with CaptureQueriesContext(connection) as captured:
            assert report(api, name)["data"]
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 5
