"""Idempotency, concurrency, lists and the number of statements: contract, section 1."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.models import IdempotencyKey
from bills.models import Bill
from customers.models import Customer
from events.models import Event

COMPOSITE = {
    "external_reference": "B",
    "currency": "ZAR",
    "amount_due": 5000,
    "account": {"external_reference": "A", "customer": {"external_reference": "C", "name": "John"}},
}


def bills(api, count, **fields):
    api.put("/billing/customers/C", {})
    for number in range(count):
        body = {"external_reference": f"B{number:02d}", "currency": "ZAR", "amount_due": 100 + number, "customer": "C"}
        assert api.post("/billing/bills", {**body, **fields}).status_code == 201


def references(response):
    return [bill["external_reference"] for bill in response.json()["data"]]


def test_the_same_request_again_gets_the_first_answer(api):
    first = api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    reordered = dict(reversed(COMPOSITE.items()))
    again = api.post("/billing/bills", reordered, Idempotency_Key="k", If_Match='"99"')
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.headers["ETag"], again.headers["Location"]) == (first.headers["ETag"], first.headers["Location"])
    assert "Idempotent-Replayed" not in first.headers
    assert (Bill.objects.count(), Event.objects.count()) == (1, 3)


def test_a_replay_comes_before_if_match_is_judged(api):
    api.post("/billing/bills", COMPOSITE)
    first = api.patch("/billing/bills/B", {"amount_due": 7}, Idempotency_Key="k", If_Match='"1"')
    again = api.patch("/billing/bills/B", {"amount_due": 7}, Idempotency_Key="k", If_Match='"1"')
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


def test_another_request_under_the_key_is_refused(api):
    api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    for other in ({**COMPOSITE, "amount_due": 1}, COMPOSITE):
        path = "/billing/bills" if other != COMPOSITE else "/billing/customers"
        body = other if path.endswith("bills") else {"external_reference": "new"}
        refused = api.post(path, body, Idempotency_Key="k")
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert (Bill.objects.count(), Customer.objects.count()) == (1, 1)


def test_only_successes_are_kept(api):
    bad = {**COMPOSITE, "account": "none"}
    assert api.post("/billing/bills", bad, Idempotency_Key="k").status_code == 422
    assert IdempotencyKey.objects.count() == 0
    assert api.post("/billing/bills", COMPOSITE, Idempotency_Key="k").status_code == 201


@pytest.mark.parametrize(("key", "status"), [("a" * 255, 201), ("a" * 256, 400), ("", 400), ("a b", 400), ("a.b", 400)])
def test_an_idempotency_key_is_1_to_255_letters_digits_hyphens_underscores(api, key, status):
    assert api.post("/billing/bills", COMPOSITE, Idempotency_Key=key).status_code == status


def test_keys_are_kept_a_day(api):
    api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23))
    call_command("purge_idempotency_keys", verbosity=0)
    assert IdempotencyKey.objects.count() == 1
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    call_command("purge_idempotency_keys", verbosity=0)
    assert IdempotencyKey.objects.count() == 0


def test_a_stale_if_match_is_refused_and_a_current_one_passes(api):
    api.post("/billing/bills", COMPOSITE)
    for header in ('"2"', 'W/"1"', '"x"', "1"):
        refused = api.patch("/billing/bills/B", {"amount_due": 9}, If_Match=header)
        assert (refused.status_code, refused.json()["code"]) == (412, "stale"), header
    assert api.get("/billing/bills/B").json()["amount_due"] == 5000
    assert api.patch("/billing/bills/B", {"amount_due": 9}, If_Match='"7", "1"').headers["ETag"] == '"2"'
    assert api.patch("/billing/bills/B", {"amount_due": 8}, If_Match="*").headers["ETag"] == '"3"'
    assert api.put("/billing/bills/new", {}, If_Match="*").status_code == 412


def test_a_current_if_none_match_is_answered_304(api):
    api.post("/billing/bills", COMPOSITE)
    for header, status in (('"1"', 304), ('W/"1"', 304), ("*", 304), ('"2"', 200)):
        response = api.get("/billing/bills/B", If_None_Match=header)
        assert (response.status_code, response.headers["ETag"]) == (status, '"1"')
        assert bool(response.content) == (status == 200)


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "amount_due", "-amount_due", "due_date", "-due_date"])
def test_pages_follow_each_other_both_ways_with_nulls_last(api, sort):
    bills(api, 7)
    for number, day in ((1, "2026-01-03"), (3, "2026-01-01"), (5, "2026-01-02")):
        api.patch(f"/billing/bills/B{number:02d}", {"due_date": day})
    whole = references(api.get(f"/billing/bills?sort={sort}&limit=100"))
    assert len(whole) == 7
    if "due_date" in sort:
        expected = ["B03", "B05", "B01"]
        assert whole[:3] == (expected if sort == "due_date" else expected[::-1])
    pages, cursor = [], ""
    while True:
        page = api.get(f"/billing/bills?sort={sort}&limit=2{cursor}")
        pages.append(page)
        if page.json()["next_cursor"] is None:
            break
        assert page.headers["Next-Cursor"] == page.json()["next_cursor"]
        assert 'rel="next"' in page.headers["Link"]
        cursor = f"&cursor={page.json()['next_cursor']}"
    assert [reference for page in pages for reference in references(page)] == whole
    for before, page in pairwise(pages):
        back = api.get(f"/billing/bills?sort={sort}&limit=2&cursor={page.json()['previous_cursor']}")
        assert references(back) == references(before)
    assert pages[0].json()["previous_cursor"] is None


def test_a_page_is_stable_under_inserts(api):
    bills(api, 4)
    first = api.get("/billing/bills?limit=2").json()
    api.post("/billing/bills", {"external_reference": "late", "currency": "ZAR", "amount_due": 1, "customer": "C"})
    second = api.get(f"/billing/bills?limit=2&cursor={first['next_cursor']}")
    assert references(second) == ["B01", "B00"]


def test_a_cursor_of_another_order_is_refused(api):
    bills(api, 3)
    cursor = api.get("/billing/bills?limit=1").json()["next_cursor"]
    for query in (f"sort=amount_due&cursor={cursor}", "cursor=AAAA", "cursor=%00", f"cursor={cursor[:-4]}"):
        refused = api.get(f"/billing/bills?{query}")
        assert refused.status_code == 400, query


def test_filters_find_what_they_name(api):
    api.post("/billing/bills", COMPOSITE)
    bills(api, 2, due_date="2020-01-01", metadata={"route": "7"})
    api.patch("/billing/bills/B01", {"amount_paid": 500})
    customer = api.get("/billing/customers/C").json()["id"]
    for query, found in (
        ("customer=C", {"B", "B00", "B01"}),
        (f"customer={customer}", {"B", "B00", "B01"}),
        ("account=A", {"B"}),
        ("status=paid", {"B01"}),
        ("status=UNPAID&overdue=true", {"B00"}),
        ("overdue=false", {"B", "B01"}),
        ("amount_due_gte=100&amount_due_lte=100", {"B00"}),
        ("due_date_lte=2020-01-01", {"B00", "B01"}),
        ("metadata.route=7", {"B00", "B01"}),
        ("search=b0", {"B00", "B01"}),
        ("external_reference=B", {"B"}),
        ("currency=zar&created_at_gte=2020-01-01", {"B", "B00", "B01"}),
        ("customer=nobody", set()),
    ):
        assert set(references(api.get(f"/billing/bills?{query}"))) == found, query


def test_an_unknown_filter_is_refused_with_the_known_ones(api):
    refused = api.get("/billing/bills?colour=red")
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_parameter")
    assert "amount_due_gte" in refused.json()["detail"]
    for query in ("limit=0", "limit=101", "limit=x", "due_date_gte=2026-1-1", "status=late", "limit=1&limit=2"):
        assert api.get(f"/billing/bills?{query}").status_code == 400
    assert api.get("/billing/bills?limit=100").status_code == 200


@pytest.fixture
def statements(api, transactional_db):
    """Count the statements of a request, BEGIN and COMMIT included, once the key is known."""

    def count(method, path, body=None, **headers):
        api.get("/billing/entries")
        with CaptureQueriesContext(connection) as captured:
            response = api.call(method, path, body, **headers)
        assert response.status_code < 300, response.content
        return len(captured)

    return count


@pytest.mark.django_db(transaction=True)
def test_requests_send_no_more_statements_than_promised(api, statements):
    assert statements("POST", "/billing/bills", COMPOSITE, Idempotency_Key="k") <= 8
    account = {"external_reference": "A2", "balance": 1, "currency": "ZAR"}
    opening = {**COMPOSITE, "external_reference": "B2", "amount_paid": 1}
    opening["account"] = {**account, "customer": {"external_reference": "C2", "currency": "ZAR", "balance": 5}}
    assert statements("POST", "/billing/bills", opening, Idempotency_Key="k2") <= 9
    assert statements("PATCH", "/billing/bills/B", {"amount_paid": 1}) <= 7
    assert statements("PATCH", "/billing/bills/B", {"amount_paid": 2}, Idempotency_Key="k3") <= 9
    assert statements("GET", "/billing/bills/B") <= 2
    few = statements("GET", "/billing/bills?expand=customer,account")
    bills(api, 30)
    assert statements("GET", "/billing/bills?expand=customer,account&limit=100") == few <= 2
    filtered = "customer=C&status=unpaid&search=B&overdue=false&metadata.a=b&sort=-due_date"
    assert statements("GET", f"/billing/bills?{filtered}") <= 2
