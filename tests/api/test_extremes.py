"""Requests that HTTP allows and nobody sends by accident: never a 500 for anything a caller sends."""

import base64
import json
import time

import pytest

from bills.models import Bill
from customers.models import Customer

BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "C"}}
MOMENTS = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31T23:59:59.999999Z",
    "2026-01-01T00:00:00+23:59",
)
DAYS = ("0001-01-01", "9999-12-31")


@pytest.fixture
def bill(api):
    return api.post("/billing/bills", BILL).json()


def crafted(*parts):
    told = parts[0] if len(parts) == 1 else list(parts)
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


@pytest.mark.parametrize("tag", ["1" * 5000, "0" * 5000 + "1", "9" * 19, "01", "+1", "1_0"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_entity_tag_that_is_no_version_of_ours_is_stale(api, bill, everything, method, tag):
    before = everything()
    refused = api.call(method, "/billing/bills/B", {"description": "x"}, If_Match=f'"{tag}"')
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")
    assert api.get("/billing/bills/B", If_None_Match=f'"{tag}"').status_code == 200
    assert everything() == before


def test_a_cursor_that_somebody_made_up_is_refused_or_reads_as_an_empty_or_whole_page(api, bill):
    customer, absent = bill["customer_id"], "bcus_" + "0" * 22
    for sort, values in (
        ("-created_at", [*MOMENTS, "2026-01-01", "2026-01-01T00:00:00", "now", "infinity", 1, None, True, 1e400, {}]),
        ("name", ["\ud800", "\0", "", "x" * 100_000, "😀", None, 1, [], "\x7f"]),
        ("external_reference", ["\udfff", "C", None, 0]),
    ):
        for value in values:
            for pk in (customer, absent, "bcus_" + "z" * 22, "bill_" + "0" * 22, "", None, 1, []):
                for backwards in (0, 1, 2, -1, True, None, "0", 1.0):
                    cursor = crafted(sort, value, pk, backwards)
                    response = api.get(f"/billing/customers?sort={sort}&cursor={cursor}")
                    assert response.status_code in {200, 400}, (sort, value, pk, backwards)
                    assert response.status_code == 200 or response.json()["code"] == "invalid_cursor"
    for sort, values in (("amount_due", [1 << 63, -(1 << 63), 10**30, 1.5, "5", True]), ("due_date", [*DAYS, "x", 5])):
        for value in values:
            cursor = crafted(sort, value, bill["id"], 0)
            assert api.get(f"/billing/bills?sort={sort}&cursor={cursor}").status_code in {200, 400}, (sort, value)


@pytest.mark.parametrize("told", [None, 1, "text", {}, [], {"a": 1, "b": 2, "c": 3, "d": 4}, [[[[]]]], "x" * 4])
def test_a_cursor_of_another_shape_is_refused(api, bill, told):
    response = api.get(f"/billing/bills?cursor={crafted(told)}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "cursor", ["", "=", "%FF", "é", "a" * 100_001, "W10", "%5B" * 10_000, crafted([]) + "====", " ", "+"]
)
def test_a_cursor_that_cannot_be_read_is_refused(api, bill, cursor):
    response = api.get(f"/billing/bills?cursor={cursor}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("moment", MOMENTS)
def test_times_at_the_ends_of_the_calendar_are_times(api, bill, moment):
    moment = moment.replace("+", "%2B")
    answers = [api.get(f"/billing/bills?{name}={moment}") for name in ("created_at_gte", "created_at_lte")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sum(len(answer.json()["data"]) for answer in answers) == 1


@pytest.mark.parametrize("day", DAYS)
def test_dates_at_the_ends_of_the_calendar_are_dates(api, bill, day):
    assert api.patch("/billing/bills/B", {"due_date": day}).json()["due_date"] == day
    assert len(api.get(f"/billing/bills?due_date_gte={day}&due_date_lte={day}").json()["data"]) == 1
    assert api.get("/billing/bills/B").json()["overdue"] is (day == "0001-01-01")


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T25:00:00Z",
        "2026-01-01T00:00:00%2B99:99",
        "2026-02-30",
        "10000-01-01",
        "0000-01-01",
        "1",
    ],
)
def test_times_that_are_none_are_refused(api, bill, moment):
    response = api.get(f"/billing/bills?created_at_gte={moment}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    "query",
    [
        *(f"bills?{name}=" for name in ("customer", "account", "external_reference", "status", "currency", "search")),
        *(f"bills?{name}=" for name in ("overdue", "amount_due_gte", "due_date_lte", "created_at_gte")),
        "bills?customer=C&account=",
        "accounts?customer=",
        "entries?obligation=",
        "entries?payment=",
        "entries?kind=",
    ],
)
def test_a_filter_without_a_value_is_refused_rather_than_ignored(api, bill, query):
    """A caller whose variable is empty must not be answered with everybody's records."""
    response = api.get(f"/billing/{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")
    name = query.partition("?")[2].rpartition("&")[2].partition("=")[0]
    assert [error["parameter"] for error in response.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "query",
    [
        "bills?search=%20",
        "bills?customer=%20",
        "bills?external_reference=%20",
        "entries?obligation=%20",
        "entries?payment=+",
    ],
)
def test_a_filter_of_blanks_names_nothing(api, bill, query):
    api.patch("/billing/bills/B", {"amount_paid": 1})
    response = api.get(f"/billing/{query}")
    assert (response.status_code, response.json()["data"]) == (200, [])


def test_a_search_is_for_the_text_without_the_blanks_around_it(api, bill):
    assert len(api.get("/billing/bills?search=%20b%20").json()["data"]) == 1


def test_an_empty_text_is_a_value_of_metadata(api, bill):
    api.patch("/billing/bills/B", {"metadata": {"k": ""}})
    assert len(api.get("/billing/bills?metadata.k=").json()["data"]) == 1


def test_more_parameters_than_anybody_needs_are_refused(api, bill):
    many = "&".join(f"metadata.{number}=1" for number in range(1001))
    assert api.get(f"/billing/bills?{many}").status_code == 400
    assert api.get("/billing/bills?" + many[:8000].rpartition("&")[0]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b',"99999":0}',
        b'{"metadata":{' + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}}",
        b"[" + b"[],".join([b""] * 300_000) + b"[]]",
        b"[" * 31 + b"],[".join([b""] * 30_000) + b"]" * 31,
        b'{"name":"' + b"\\u0041" * 170_000 + b'"}',
        b'{"name":"' + b"a" * 1_000_000 + b'"}',
        b"0" * 1_000_000,
        b"-" * 1_000_000,
        b'{"amount_due":' + b"9" * 4300 + b"}",
    ],
)
def test_a_large_body_is_refused_in_a_moment(api, body):
    began = time.process_time()
    response = api.post("/billing/customers", body)
    assert response.status_code == 400
    assert time.process_time() - began < 5
    assert Customer.objects.count() == 0


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "application/jsonp", "image/*"])
def test_an_answer_in_another_form_is_406(api, bill, accept):
    response = api.get("/billing/bills", Accept=accept)
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/*", "application/json", "text/html,*/*;q=0.1", ";;;", "é", "a/b/c", "," * 999]
)
def test_any_accept_header_gets_an_answer_that_is_json(api, bill, accept):
    response = api.get("/billing/bills/B", Accept=accept)
    assert response.status_code in {200, 406}
    assert response.json()["status"] in {"UNPAID", 406}


@pytest.mark.parametrize(
    "kind",
    ["", "json", "application", "/", ";", "application/json;;;=", "é/é", "a/b;" * 2000, "application/json/x", "\0"],
)
def test_any_content_type_gets_a_problem_or_its_answer(api, everything, kind):
    response = api.call("POST", "/billing/customers", b"[]", **{"Content-Type": kind})
    assert response.status_code in {400, 415}
    assert response.json()["code"] in {"invalid_request", "unsupported_media_type"}
    assert Customer.objects.count() == 0


@pytest.mark.parametrize("length", ["-1", "x", "", "0"])
def test_a_content_length_that_lies_is_no_failure_of_ours(api, everything, length):
    before = everything()
    response = api.client.generic(
        "POST",
        "/billing/customers",
        b"{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {api.key}"},
        CONTENT_LENGTH=length,
    )
    assert response.status_code in {400, 413}
    assert response.headers["Content-Type"] == "application/problem+json"
    assert everything() == before


def test_a_void_whose_body_comes_without_a_length_is_refused_rather_than_taken_without_its_reason(api, bill):
    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": "k", "Transfer-Encoding": "chunked"}
    response = api.client.generic(
        "POST", "/billing/bills/B/void", b'{"reason": "x"}', "application/json", headers=headers, CONTENT_LENGTH=""
    )
    assert response.status_code == 400
    assert Bill.objects.get().voided_at is None
