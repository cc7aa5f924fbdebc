"""What a partner settles: lines and totals of a day, each biller's own, equal to the ledger."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.tables import cell
from billers.models import Biller, Enablement, Partner
from core.days import begins, ends
from ledger.models import Entry
from payments import reporting, settlements


def table(response):
    """Return the rows of a CSV answer as dictionaries."""
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


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


def day(till, when, query=""):
    """Return the settlement of a day."""
    response = till.get(f"/partner/settlements/{when}{query}")
    assert response.status_code == 200, response.content
    return response.json()


def amounts(told):
    return [line["amount"] for line in told["lines"]]


@pytest.mark.parametrize(
    ("zone", "when", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Africa/Johannesburg", "2026-03-29", 24),
        ("America/Sao_Paulo", "2017-10-15", 23),  # midnight itself is skipped
        ("America/Havana", "2026-11-01", 25),  # and here there are two of it
        ("Pacific/Apia", "2011-12-30", 0),  # a day that was not
        ("Asia/Kathmandu", "2026-01-01", 24),
    ],
)
def test_a_day_has_the_hours_that_clocks_there_show(zone, when, hours):
    one = date.fromisoformat(when)
    since, until = begins(one, zone), ends(one, zone)
    assert until - since == timedelta(hours=hours)
    if hours:
        last = until - timedelta(microseconds=1)
        assert {moment.astimezone(ZoneInfo(zone)).date() for moment in (since, last)} == {one}
        assert (since - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < one
        assert until.astimezone(ZoneInfo(zone)).date() > one


@pytest.mark.parametrize(("when", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
def test_a_day_is_the_billers_own_also_where_clocks_change(till, pay, moved, biller, bill, when, hours):
    Biller.objects.filter(pk=biller.pk).update(timezone="Europe/Berlin")
    since = begins(date.fromisoformat(when), "Europe/Berlin")
    until = since + timedelta(hours=hours)
    instant = timedelta(microseconds=1)
    for amount, moment in enumerate((since - instant, since, until - instant, until), start=1):
        moved(pay(obligation=bill["id"], amount=amount).json()["id"], moment)
    told = day(till, when)
    assert amounts(told) == [2, 3]
    assert [(one["payments"], one["net"]) for one in told["totals"]] == [({"count": 2, "amount": 5}, 5)]


def test_a_reversal_counts_on_its_own_day(till, pay, undo, moved, bill):
    payment = pay(obligation=bill["id"], amount=700).json()
    undo(payment["id"])
    moved(payment["id"], datetime(2026, 5, 1, 12, tzinfo=UTC))
    moved(payment["id"], datetime(2026, 5, 3, 12, tzinfo=UTC), reversal=True)
    assert [amounts(day(till, f"2026-05-0{n}")) for n in range(1, 5)] == [[700], [], [-700], []]
    assert day(till, "2026-05-03")["totals"][0]["net"] == -700


def test_as_of_tells_only_what_was_there(till, pay, undo, moved, bill):
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    payment = pay(obligation=bill["id"], amount=700).json()
    undo(payment["id"])
    moved(payment["id"], noon)
    moved(payment["id"], noon + timedelta(hours=1), reversal=True)
    found = {
        moment: (amounts(told), [one["net"] for one in told["totals"]])
        for moment in ("11:59:59.999999", "12:00:00", "12:59:59.999999", "13:00:00")
        for told in [day(till, "2026-05-01", f"?as_of=2026-05-01T{moment}Z")]
    }
    assert found == {
        "11:59:59.999999": ([], []),
        "12:00:00": ([700], [700]),
        "12:59:59.999999": ([700], [700]),
        "13:00:00": ([700, -700], [0]),
    }
    table_rows = table(till.get("/partner/settlements/2026-05-01?as_of=2026-05-01T12:30:00Z", Accept="text/csv"))
    assert [row["amount"] for row in table_rows] == ["700", "700", "0", "700"]


def test_a_partner_sees_its_own_alone_and_its_test_data_apart(api_for, till, pay, partners, test_biller, biller, bill):
    pay(obligation=bill["id"], amount=10)
    stranger = Partner.objects.found(name="Bank", reference="bank")["live"]
    Enablement.objects.enable(stranger, [biller])
    Enablement.objects.enable(partners["test"], [test_biller])
    for other in (stranger, partners["test"]):
        told = api_for(other).get(f"/partner/settlements/{today()}").json()
        assert (told["lines"], told["totals"]) == ([], [])
    assert amounts(day(till, today())) == [10]


def test_what_was_collected_for_a_biller_stays_when_the_partner_no_longer_may(till, pay, partner, biller, bill):
    pay(obligation=bill["id"], amount=10)
    Enablement.objects.disable(partner, [biller], timezone.now())
    assert amounts(day(till, today())) == [10]
    assert amounts(day(till, today(), "?biller=acme")) == [10]


def test_one_biller_may_be_asked_for_and_an_unknown_one_is_told(till, api_for, pay, partner, other, bill):
    pay(obligation=bill["id"], amount=10)
    Enablement.objects.enable(partner, [other])
    theirs = api_for(other).post(
        "/billing/bills",
        {"external_reference": "B", "currency": "USD", "amount_due": 50, "customer": {"external_reference": "C"}},
    )
    pay(obligation=theirs.json()["id"], amount=20, currency="USD")
    told = day(till, today())
    assert [(line["biller"], line["amount"], line["currency"]) for line in told["lines"]] == [
        ("acme", 10, "ZAR"),
        ("other", 20, "USD"),
    ]
    assert [(one["biller"], one["currency"], one["net"]) for one in told["totals"]] == [
        ("acme", "ZAR", 10),
        ("other", "USD", 20),
    ]
    assert amounts(day(till, today(), "?biller=other")) == [20]
    for name in ("nobody", "", "ACME"):
        refused = till.get(f"/partner/settlements/{today()}?biller={name}")
        assert (refused.status_code, refused.json()["code"]) == (404, "biller_not_found")


def test_each_biller_has_the_day_of_its_own_time_zone(till, api_for, pay, moved, partner, biller, other, bill):
    Enablement.objects.enable(partner, [other])
    Biller.objects.filter(pk=other.pk).update(timezone="Pacific/Auckland")
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 50, "customer": {"external_reference": "C"}}
    theirs = api_for(other).post("/billing/bills", body).json()
    for obligation, amount in ((bill["id"], 1), (theirs["id"], 2)):
        moved(pay(obligation=obligation, amount=amount).json()["id"], datetime(2026, 5, 1, 20, tzinfo=UTC))
    assert amounts(day(till, "2026-05-01")) == [1]
    assert amounts(day(till, "2026-05-02")) == [2]


@pytest.mark.parametrize(
    "when", ["today", "2026-02-30", "2026-1-1", "20260101", "2026-01-01T00:00:00Z", "\u0662026-01-01"]
)
def test_a_malformed_date_is_told_by_its_name(till, when):
    refused = till.get(f"/partner/settlements/{when}")
    told = refused.json()
    assert (refused.status_code, told["code"], told["errors"][0]["parameter"]) == (400, "invalid_parameter", "date")


@pytest.mark.parametrize(
    "query", ["as_of=", "as_of=2026-01-01", "as_of=now", "limit=0", "limit=1001", "cursor=x", "x=1"]
)
def test_a_malformed_parameter_is_told_by_its_name(till, query):
    refused = till.get(f"/partner/settlements/{today()}?{query}")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.parametrize("when", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_time_are_days_too(till, pay, bill, when):
    pay(obligation=bill["id"], amount=10)
    assert day(till, when)["lines"] == []
    assert day(till, when, "?as_of=0001-01-01T00:00:00%2B14:00")["lines"] == []
    assert day(till, when, "?as_of=9999-12-31T23:59:59.999999Z")["lines"] == []


@pytest.mark.parametrize(
    "cursor", ["", "a", "W10", "WzEsMiwzXQ", "WyJhIiwiMjAyNi0wMS0wMSIsImIiXQ", "%00", "é", "a" * 9999]
)
def test_a_cursor_of_something_else_is_refused(till, cursor):
    refused = till.get(f"/partner/settlements/{today()}?cursor={cursor}")
    assert refused.status_code == 400
    assert refused.json()["code"] in {"invalid_cursor", "invalid_parameter"}


def test_pages_hold_every_line_once_and_the_totals_of_the_whole_day(till, pay, undo, bill):
    for n in range(7):
        undo(pay(obligation=bill["id"], amount=n + 1).json()["id"])
    whole = day(till, today())
    lines, query = [], "?limit=3"
    while True:
        told = day(till, today(), query)
        assert told["totals"] == whole["totals"]
        lines += told["lines"]
        if told["next_cursor"] is None:
            break
        query = f"?limit=3&cursor={told['next_cursor']}"
    assert lines == whole["lines"]
    assert len(lines) == 14


def test_a_page_reads_each_billers_lines_in_order_and_the_table_too(
    till, api_for, pay, partner, other, bill, monkeypatch
):
    monkeypatch.setattr(settlements, "_CHUNK", 2)
    Enablement.objects.enable(partner, [other])
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 50, "customer": {"external_reference": "C"}}
    theirs = api_for(other).post("/billing/bills", body).json()
    for n in range(1, 4):
        pay(obligation=theirs["id"], amount=n + 10)
        pay(obligation=bill["id"], amount=n)
    assert amounts(day(till, today())) == [1, 2, 3, 11, 12, 13]
    rows = table(till.get(f"/partner/settlements/{today()}", Accept="text/csv"))
    assert [int(row["amount"]) for row in rows if not row["kind"].startswith("total")] == [1, 2, 3, 11, 12, 13]


def test_the_sums_of_a_day_are_those_of_the_ledger(till, pay, undo, moved, bill, biller):
    for n in range(12):
        payment = pay(obligation=bill["id"], amount=n + 1).json()
        moved(payment["id"], datetime(2026, 5, 1 + n % 3, 12, n, tzinfo=UTC))
        if n % 2:
            undo(payment["id"])
            moved(payment["id"], datetime(2026, 5, 2 + n % 3, 13, n, tzinfo=UTC), reversal=True)
    for n in range(1, 7):
        one = date(2026, 5, n)
        entries = Entry.objects.for_biller(biller).filter(created_at__range=(begins(one, "UTC"), ends(one, "UTC")))
        by_kind = {kind: [e.amount for e in entries if e.kind == kind] for kind in ("payment", "reversal")}
        for told in day(till, one)["totals"] or [
            {"payments": {"count": 0, "amount": 0}, "reversals": {"count": 0, "amount": 0}, "net": 0}
        ]:
            assert {kind: {"count": len(by_kind[kind]), "amount": sum(by_kind[kind])} for kind in by_kind} == {
                "payment": told["payments"],
                "reversal": told["reversals"],
            }
            assert told["net"] == sum(sum(found) for found in by_kind.values())


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_a_day_sends_as_many_statements_however_many_lines_it_has(till, pay, undo, bill, accept):
    counts = []
    for size in (3, 27):
        for _ in range(size):
            undo(pay(obligation=bill["id"], amount=1).json()["id"])
        with CaptureQueriesContext(connection) as captured:
            response = till.get(f"/partner/settlements/{today()}", Accept=accept)
            assert len(response.content if accept != "text/csv" else b"".join(response.streaming_content)) > 100
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+CMD", "'+CMD"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-", "'-"),
        ("-\u0665", "'-\u0665"),
        ("-5\n", "'-5\n"),
        (-5, "-5"),
        ("-5", "-5"),
        ("+27.50", "+27.50"),
        ("plain", "plain"),
        ("a=b", "a=b"),
        (None, ""),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_gets_a_quote_and_a_number_does_not(value, shown):
    assert cell(value) == shown


def test_a_reference_that_a_spreadsheet_would_run_is_quoted_in_the_table(till, pay, bill):
    pay(obligation=bill["id"], amount=10, external_reference="-2-3")
    rows = table(till.get(f"/partner/settlements/{today()}", Accept="text/csv"))
    assert rows[0]["external_reference"] == "'-2-3"


def test_what_is_neither_json_nor_csv_is_not_acceptable(till):
    assert till.get(f"/partner/settlements/{today()}", Accept="application/xml").status_code == 406
    refused = till.get("/partner/settlements/nonsense", Accept="text/csv")
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json")


def test_a_table_takes_no_pages(till):
    assert till.get(f"/partner/settlements/{today()}?limit=1", Accept="text/csv").status_code == 400
    assert reporting.MOST_LINES == 1000
