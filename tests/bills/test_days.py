"""Today is a day of the biller's: bill_date, overdue and their filters. Contract, sections 1 and 2."""

from datetime import UTC, datetime

import pytest
import time_machine

from billers.models import Biller

MIDNIGHT_APART = datetime(2026, 3, 10, 11, 30, tzinfo=UTC)
"""The 11th in Kiritimati (UTC+14), the 10th in UTC, the 9th at UTC-12."""
TODAY = {"Pacific/Kiritimati": "2026-03-11", "UTC": "2026-03-10", "Etc/GMT+12": "2026-03-09"}


@pytest.fixture(params=TODAY)
def zone(request):
    return request.param


@pytest.fixture
def zoned(api_for, db, zone):
    """A caller of a biller in this zone, at the moment when it is three days on Earth."""
    biller = Biller.objects.found(name="Zoned", reference="zoned", timezone=zone)["live"]
    caller = api_for(biller)
    with time_machine.travel(MIDNIGHT_APART, tick=False):
        yield caller


def issue(caller, reference, **fields):
    customer = {"customer": {"external_reference": f"C-{reference}"}}
    body = {"external_reference": reference, "currency": "ZAR", "amount_due": 5, **customer, **fields}
    made = caller.post("/billing/bills", body)
    assert made.status_code == 201, made.content
    return made.json()


def references(caller, query):
    return {bill["external_reference"] for bill in caller.get(f"/billing/bills?{query}").json()["data"]}


def test_a_bill_is_dated_today_where_its_biller_is(zoned, zone):
    assert issue(zoned, "B")["bill_date"] == TODAY[zone]
    put = zoned.put("/billing/bills/P", {"currency": "ZAR", "amount_due": 5, "customer": "C-B"})
    assert (put.status_code, put.json()["bill_date"]) == (201, TODAY[zone])
    assert issue(zoned, "D", bill_date="2020-02-29")["bill_date"] == "2020-02-29"


def test_a_bill_is_overdue_from_the_day_after_its_due_date_where_its_biller_is(zoned, zone):
    days = ["2026-03-08", "2026-03-09", "2026-03-10", "2026-03-11", None]
    late = {str(day) for day in days if day and day < TODAY[zone]}
    for day in days:
        assert issue(zoned, str(day), due_date=day)["overdue"] == (str(day) in late)
        assert zoned.get(f"/billing/bills/{day}").json()["overdue"] == (str(day) in late)
    assert references(zoned, "overdue=true") == late
    assert references(zoned, "overdue=false") == {str(day) for day in days} - late
    for bill in zoned.get("/billing/bills").json()["data"]:
        assert bill["overdue"] == (bill["external_reference"] in late)
        assert bill["status"] == "UNPAID"


def test_only_what_is_unpaid_is_overdue(zoned):
    for reference in ("unpaid", "part", "paid", "void"):
        issue(zoned, reference, due_date="2026-01-01")
    zoned.patch("/billing/bills/part", {"amount_paid": 4})
    assert zoned.patch("/billing/bills/paid", {"amount_paid": 5}).json()["overdue"] is False
    assert zoned.post("/billing/bills/void/void", {}, Idempotency_Key="void").json()["overdue"] is False
    assert references(zoned, "overdue=true") == {"unpaid", "part"}
    assert references(zoned, "overdue=false&due_date_lte=2026-01-01") == {"paid", "void"}
    assert zoned.patch("/billing/bills/paid", {"amount_paid": 3}).json()["overdue"] is True


def test_a_bill_becomes_overdue_by_the_clock_alone(api_for, db, everything):
    caller = api_for(Biller.objects.found(name="Zoned", reference="zoned", timezone="Africa/Johannesburg")["live"])
    with time_machine.travel(datetime(2026, 3, 10, 21, 59, 59, tzinfo=UTC), tick=False):
        before = issue(caller, "B", due_date="2026-03-10")
    written = everything()
    with time_machine.travel(datetime(2026, 3, 10, 22, 0, 0, tzinfo=UTC), tick=False):
        after = caller.get("/billing/bills/B").json()
    assert (before["overdue"], after["overdue"]) == (False, True)
    assert {name for name in before if before[name] != after[name]} == {"overdue"}
    assert everything() == written


def test_clocks_that_change_do_not_move_the_day(api_for, db):
    """New York's 8 March 2026 has 23 hours."""
    caller = api_for(Biller.objects.found(name="Zoned", reference="zoned", timezone="America/New_York")["live"])
    for moment, day in (((8, 4, 59), "2026-03-07"), ((8, 5, 0), "2026-03-08"), ((9, 3, 59), "2026-03-08")):
        with time_machine.travel(datetime(2026, 3, *moment, tzinfo=UTC), tick=False):
            assert issue(caller, f"B{moment[1]}", customer={"external_reference": str(moment)})["bill_date"] == day


def test_times_are_told_in_utc_whatever_the_zone(zoned):
    bill = issue(zoned, "B")
    assert bill["created_at"].endswith("Z")
    assert bill["updated_at"].endswith("Z")
