"""The feed numbers events without a gap, in an order that keeps each object's: contract, section 5."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from billers.acts import perform
from billers.models import Biller
from core import ids
from customers.models import Customer
from events import models
from events.models import Event, Numbering, Type

WRITERS, READERS, CHANGES = 20, 4, 15


def feed(api, after=0, **asked):
    query = "&".join(f"{name}={value}" for name, value in {"after": after, **asked}.items())
    response = api.get(f"/billing/events?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def enrol(api, *references):
    for reference in references:
        assert api.post("/billing/customers", {"external_reference": reference}).status_code == 201


def references(page):
    return [event["data"]["external_reference"] for event in page["data"]]


def test_the_feed_tells_what_happened_in_order_from_1_on(api):
    made = api.post("/billing/customers", {"external_reference": "C", "name": "Jo"}).json()
    api.patch("/billing/customers/C", {"name": "Jane"})
    page = feed(api)
    assert (set(page), page["next_after"]) == ({"data", "next_after"}, 2)
    created, updated = page["data"]
    assert set(created) == {"id", "type", "sequence", "created_at", "data"}
    assert [(event["sequence"], event["type"]) for event in page["data"]] == [
        (1, "customer.created"),
        (2, "customer.updated"),
    ]
    assert created["id"].startswith("evt_")
    assert datetime.fromisoformat(created["created_at"]).tzinfo == UTC
    assert updated["data"] == {"id": made["id"], "external_reference": "C", "name": "Jane"}


def test_the_writer_numbers_nothing(api):
    enrol(api, "C")
    assert list(Event.objects.values_list("sequence", flat=True)) == [None]
    assert not Numbering.objects.exists()


def test_the_feed_goes_on_after_a_sequence(api):
    enrol(api, "a", "b", "c", "d", "e")
    first = feed(api, limit=2)
    assert (references(first), first["next_after"]) == (["a", "b"], 2)
    second = feed(api, first["next_after"], limit=2)
    assert (references(second), second["next_after"]) == (["c", "d"], 4)
    last = feed(api, second["next_after"], limit=2)
    assert (references(last), last["next_after"]) == (["e"], 5)
    assert feed(api, 5) == {"data": [], "next_after": 5}
    assert feed(api, 99) == {"data": [], "next_after": 99}
    enrol(api, "f")
    assert references(feed(api, 5)) == ["f"]


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (100, 200), (101, 400), ("x", 400), ("", 400)])
def test_a_limit_is_1_to_100(api, limit, status):
    assert api.get(f"/billing/events?limit={limit}").status_code == status


def test_the_feed_gives_20_unless_told(api, biller):
    enrol(api, *map(str, range(21)))
    assert len(feed(api)["data"]) == 20


@pytest.mark.parametrize("after", ["-1", "x", "", "1.0", "%00", "²", "9" * 19, "1e3", "evt_1"])
def test_what_is_no_sequence_is_refused(api, after):
    refused = api.get(f"/billing/events?after={after}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")


def test_the_largest_sequence_is_one(api):
    assert feed(api, "9" * 18) == {"data": [], "next_after": int("9" * 18)}


def test_an_unknown_parameter_is_refused(api):
    assert api.get("/billing/events?cursor=x").json()["code"] == "unknown_parameter"


def test_a_read_key_reads_the_feed_and_so_gives_the_numbers(api, api_for, biller):
    enrol(api, "C")
    assert references(feed(api_for(biller, scope="read"))) == ["C"]


def test_each_biller_and_mode_counts_for_itself(api, api_for, other, test_biller):
    strangers = [api_for(other), api_for(test_biller)]
    for caller in (api, *strangers, api):
        name = f"{caller.key[:12]}{time.monotonic_ns()}"
        enrol(caller, name)
    assert [event["sequence"] for event in feed(api)["data"]] == [1, 2]
    for stranger in strangers:
        assert [event["sequence"] for event in feed(stranger)["data"]] == [1]


def test_a_chunk_is_numbered_at_a_time(api, biller, monkeypatch):
    monkeypatch.setattr(models, "CHUNK", 2)
    enrol(api, "a", "b", "c")
    assert Event.objects.pick_up(biller) == 2
    assert Event.objects.filter(sequence=None).count() == 1
    assert Event.objects.pick_up(biller) == 1
    assert Event.objects.pick_up(biller) == 0
    assert [event["sequence"] for event in feed(api)["data"]] == [1, 2, 3]


def test_every_type_that_the_code_tells_is_known(biller):
    assert set(Type.values) == {
        *(f"{kind}.{what}" for kind in ("customer", "account", "bill") for what in ("created", "updated")),
        "bill.paid",
        "bill.voided",
        "obligation.amount_applied",
        "payment.reversed",
        "import.completed",
    }


def test_an_event_of_another_name_than_its_records_is_told(biller):
    bill = ids.new_id("bill")
    perform(biller, "test", lambda act: act.leave(Event.of(act, Type.AMOUNT_APPLIED, bill, amount=5)))
    event = Event.objects.get()
    assert (event.type, event.body) == ("obligation.amount_applied", {"id": bill, "amount": 5})
    assert ids.encode("bill", event.object_id) == bill


@pytest.mark.django_db(transaction=True)
def test_the_feed_sends_2_statements_and_7_where_something_waits(api):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            feed(api, limit=100)
        return len(captured)

    feed(api)
    counts = []
    for names in (range(3), range(3, 30)):
        enrol(api, *map(str, names))
        counts.append((statements(), statements()))
    assert counts == [(8, 2), (6, 2)]  # the very first numbering of a biller makes its row


# --- With real threads and COMMITs ---


def in_threads(work, count):
    """Run the work so many times at once, each with a connection of its own."""

    def run(number):
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as threads:
        return [done.result() for done in [threads.submit(run, number) for number in range(count)]]


@pytest.fixture
def skewed_clocks(monkeypatch):
    """Give each thread the clock of another machine: its ids come from up to a minute ago or ahead."""
    told = threading.local()

    def uuid7():
        if not hasattr(told, "skew"):
            told.skew, told.last = (threading.get_ident() // 64 * 7919 % 121 - 60) * 10**9, 0
        told.last = stamp = max((time.time_ns() + told.skew) * 4096 // 1_000_000, told.last + 1)
        noise = int.from_bytes(ids.os.urandom(8), "big") >> 2
        return ids.uuid.UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | noise)

    monkeypatch.setattr(ids, "uuid7", uuid7)


OBJECTS = ["a", "b", "c"]


def count_up(biller, name):
    """Raise a customer's number by one, under its lock."""

    def write(act):
        number = int(Customer.objects.held(act, name).metadata.get("n", 0)) + 1
        Customer.objects.amend(act, name, metadata={"n": str(number)})

    perform(biller, "test", write)


def read_all(api, is_over):
    """Follow the feed until nothing comes after the last writer."""
    seen, after = [], 0
    while True:
        over = is_over()
        page = feed(api, after, limit=17)
        seen += page["data"]
        after = page["next_after"]
        if over and not page["data"]:
            return seen


def counted(events, name):
    """Return the numbers told of one customer, in the order of the feed."""
    of_it = [event["data"] for event in events if event["type"] == "customer.updated"]
    return [int(data["metadata"]["n"]) for data in of_it if data["external_reference"] == name]


@pytest.mark.django_db(transaction=True)
def test_20_writers_and_4_readers_leave_no_gap_and_keep_each_objects_order(api, biller, skewed_clocks):
    enrol(api, *OBJECTS)
    done = []

    def work(number):
        if number >= WRITERS:
            return read_all(api, lambda: len(done) == WRITERS)
        for change in range(CHANGES):
            count_up(biller, OBJECTS[(number + change) % len(OBJECTS)])
        return done.append(number)

    seen = in_threads(work, WRITERS + READERS)[WRITERS:]
    for events in seen:
        assert [event["sequence"] for event in events] == list(range(1, len(OBJECTS) + WRITERS * CHANGES + 1))
        assert events == seen[0]
        for name in OBJECTS:
            assert counted(events, name) == list(range(1, WRITERS * CHANGES // len(OBJECTS) + 1))
    # The ids alone would tell another order: the clocks of the writers differ.
    by_id = list(Event.objects.order_by("id").values_list("sequence", flat=True))
    assert by_id != sorted(by_id)


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_is_numbered_late_and_not_lost(api, biller):
    written, numbered = threading.Event(), threading.Event()

    def late(number):
        def write(act):
            Customer.objects.enrol(act, external_reference="late")
            act.finish()
            act._left.clear()
            written.set()
            assert numbered.wait(10)

        perform(biller, "test", write)

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(in_threads, late, 1)
        assert written.wait(10)
        enrol(api, "early")
        assert references(feed(api)) == ["early"]
        numbered.set()
        writer.result()
    assert [(e["sequence"], e["data"]["external_reference"]) for e in feed(api)["data"]] == [(1, "early"), (2, "late")]
    positions = dict(Event.objects.values_list("sequence", "position"))
    assert positions[2] < positions[1]


@pytest.mark.django_db(transaction=True)
def test_whoever_numbers_waits_for_the_one_who_does(api, biller):
    enrol(api, "a")
    Event.objects.pick_up(biller)
    enrol(api, "b")
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            assert Numbering.objects.select_for_update().get().last == 1
            waiting = threads.submit(in_threads, lambda _: Event.objects.pick_up(biller), 1)
            time.sleep(0.3)
            assert not waiting.done()
        assert waiting.result() == [1]


@pytest.mark.django_db(transaction=True)
def test_writers_never_wait_for_who_numbers(api, biller):
    enrol(api, "a")
    Event.objects.pick_up(biller)
    enrol(api, "b")
    with transaction.atomic():
        Event.objects.pick_up(biller)
        begun = time.monotonic()
        in_threads(lambda _: enrol(api, "c"), 1)
        assert time.monotonic() - begun < 2
    assert [event["sequence"] for event in feed(api)["data"]] == [1, 2, 3]
    assert Biller.objects.count() == 2
