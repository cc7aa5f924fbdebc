"""Whatever is sent, the answer says what is wrong and where; nothing is written, and nothing breaks."""

import json
import re
from urllib.parse import quote

import pytest
from django.conf import settings

from api.parsing import MAX_DEPTH
from bills.models import Bill
from customers.models import Customer

SHARED = settings.BASE_DIR.parent / "shared" / "data" / "hostile"
BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "C"}}
DOORS = (("POST", "/billing/bills"), ("PUT", "/billing/bills/X"), ("PATCH", "/billing/bills/B"))
PARAMETERS = (
    "account",
    "amount_due_gte",
    "bill_date_lte",
    "colour",
    "created_at_gte",
    "currency",
    "cursor",
    "customer",
    "expand",
    "external_reference",
    "limit",
    "metadata.k",
    "overdue",
    "search",
    "sort",
    "status",
)


PAYMENT = {"external_reference": "T", "amount": 1, "currency": "ZAR", "method": "cash"}
TILL = (("POST", "/partner/payments"), ("POST", "/partner/payments/T/reverse"))


@pytest.fixture
def bill(api):
    made = api.post("/billing/bills", BILL)
    assert made.status_code == 201
    return made.json()["id"]


@pytest.fixture
def payment(bill, partner_api):
    """A payment that a partner took."""
    taken = partner_api.post("/partner/payments", {**PAYMENT, "obligation": bill}, Idempotency_Key="payment")
    assert taken.status_code == 201
    return taken.json()["id"]


def refused(response):
    """Tell whether a response is a problem that says what is wrong."""
    told = response.json()
    return (
        400 <= response.status_code < 500
        and response.headers["Content-Type"] == "application/problem+json"
        and told["status"] == response.status_code
        and bool(told["code"] and told["detail"])
    )


# Where the shared data is absent these tests are left out; a line at the end of the run says so (conftest.py).
if SHARED.is_dir():
    BODIES = sorted((SHARED / "json" / "test_parsing").glob("*.json"))
    NAUGHTY = [
        line
        for line in (SHARED / "blns.txt").read_text(encoding="utf-8").split("\n")
        if line and not line.startswith("#")
    ]

    # Valid JSON that two readers could still understand differently, or that no record can keep.
    REFUSED = re.compile(rb'\\u0000|\\u[dD][89a-fA-F]|^\{"a":"b","a":')

    @pytest.mark.parametrize(("method", "path"), DOORS)
    def test_no_body_of_the_parsing_suite_breaks_or_writes_anything(api, everything, bill, method, path):
        assert len(BODIES) == 318
        before = everything()
        for file in BODIES:
            response = api.call(method, path, file.read_bytes())
            if method == "PATCH" and file.name == "y_object_empty.json":
                assert response.status_code == 200  # what changes nothing writes nothing
                continue
            assert refused(response), (file.name, response.content)
            assert response.status_code == 400
            if file.name.startswith("n_"):
                assert response.json()["code"] == "invalid_json", file.name
            elif file.name.startswith("y_") and not REFUSED.search(file.read_bytes()):
                assert response.json()["code"] == "invalid_request", file.name
        assert everything() == before

    def test_no_body_of_the_parsing_suite_pays_or_reverses(partner_api, everything, payment):
        before = everything()
        for method, path in TILL:
            for file in BODIES:
                response = partner_api.call(method, path, file.read_bytes(), Idempotency_Key=file.stem[:40])
                assert (response.status_code, refused(response)) == (400, True), (file.name, response.content)
        assert everything() == before

    def test_naughty_strings_break_no_payment_and_no_lookup(partner_api, everything, bill, payment):
        before = everything()
        for number, text in enumerate(NAUGHTY):
            field = ("obligation", "payer", "currency", "method", "paid_at", "amount")[number % 6]
            owed = {"allocations": "oldest_first"} if field == "payer" else {"obligation": bill}
            wrong = {**PAYMENT, "external_reference": f"n{number}", **owed, field: text}
            response = partner_api.post("/partner/payments", wrong, Idempotency_Key=f"n{number}")
            assert refused(response), (field, text, response.content)
            by = ("reference", "payer_reference", "phone")[number % 3]
            for query in (f"biller=acme&{by}={quote(text)}", f"biller={quote(text)}&reference=C"):
                assert refused(partner_api.get(f"/partner/obligations?{query}")), (query, text)
            name = ("biller", "method", "reversed", "amount_gte", "created_at_lte", "cursor")[number % 6]
            found = partner_api.get(f"/partner/payments?{name}={quote(text)}")
            assert found.status_code == 200 or refused(found), (name, text)
            path = quote(text, safe="")
            assert refused(partner_api.get(f"/partner/payments/{path}")), text
            assert refused(partner_api.get(f"/partner/settlements/{path}")), text
        assert everything() == before

    def test_naughty_strings_are_kept_as_sent_or_refused_in_bodies(api):
        assert len(NAUGHTY) > 500
        for number, text in enumerate(NAUGHTY):
            texts = {"description": text[:500], "metadata": {text[:40]: "value", f"k{number}": text[:500]}}
            customer = {"external_reference": f"c{number:03d}", "name": text[:255]}
            bill = {**BILL, "external_reference": f"n{number}", **texts, "customer": customer}
            made = api.post("/billing/bills", bill)
            assert made.status_code == 201, (text, made.content)
            assert {name: made.json()[name] for name in texts} == texts
        names = Customer.objects.order_by("external_reference").values_list("name", flat=True)
        assert list(names) == [text[:255] for text in NAUGHTY]

    def test_naughty_references_are_found_again_as_sent_or_refused(api):
        accepted = 0
        for text in dict.fromkeys(NAUGHTY):
            made = api.post("/billing/customers", {"external_reference": text})
            path = quote(text, safe="")
            if made.status_code == 400:
                assert [(error["pointer"], error["code"]) for error in made.json()["errors"]] in (
                    [("/external_reference", "invalid_reference")],
                    [("/external_reference", "too_long")],
                )
                assert api.put(f"/billing/customers?external_reference={path}", {}).status_code == 400
                assert api.get(f"/billing/customers?external_reference={path}").json()["data"] == []
                continue
            assert (made.status_code, made.json()["external_reference"]) == (201, text)
            accepted += 1
            [found] = api.get(f"/billing/customers?external_reference={path}").json()["data"]
            assert found == made.json()
            if "/" not in text and text not in {".", ".."}:
                assert api.get(f"/billing/customers/{path}").json() == found, text
        assert accepted == Customer.objects.count() > 400

    @pytest.mark.usefixtures("bill")
    def test_naughty_strings_break_no_filter_search_or_cursor(api, everything):
        before = everything()
        # The strings of one kind stand together, so each parameter meets each kind.
        for number, text in enumerate(NAUGHTY):
            for parameter in {PARAMETERS[number % len(PARAMETERS)], ("cursor", "search", "customer")[number % 3]}:
                response = api.get(f"/billing/bills?{parameter}={quote(text)}")
                assert response.status_code == 200 or refused(response), (parameter, text, response.content)
                if response.status_code == 200 and parameter not in {"search", "colour", "expand", "limit", "sort"}:
                    assert len(response.json()["data"]) in {0, 1}
            unknown = api.get(f"/billing/bills?{quote(text, safe='')}=x")
            assert refused(unknown), text
        assert everything() == before

    @pytest.mark.usefixtures("bill")
    def test_naughty_strings_break_no_header(api, everything):
        before = everything()
        for number, text in enumerate(NAUGHTY):
            header = text.encode().decode("latin-1").replace("\r", "").replace("\n", "")
            asked = api.patch("/billing/bills/none", {}, If_Match=header, X_Request_Id=header)
            assert (asked.status_code, asked.json()["code"]) == (404, "bill_not_found"), text
            assert re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", asked.headers["X-Request-Id"])
            assert refused(api.post("/billing/customers", {}, Idempotency_Key=header)), text
            alone = {
                0: {"If-None-Match": header},
                1: {"Accept": header},
                2: {"Authorization": f"Bearer {header}"},
                3: {"Content-Type": header},
            }[number % 4]
            assert api.call("GET", "/billing/bills/B", **alone).status_code in {200, 401, 406}, text
            assert refused(api.call("POST", "/billing/customers", b"[]", **alone)), text
        assert everything() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"description": "a\\u0000"}', "invalid_json"),
        (b'{"description": "a\x00"}', "invalid_json"),
        (b'{"metadata": {"a\\u0000": "x"}}', "invalid_json"),
        (b'{"metadata": {"\\ud800": "x"}}', "invalid_json"),
        (b'{"metadata": {"k": "\\udfff"}}', "invalid_json"),
        (b'{"metadata": {"k": "\xed\xa0\x80"}}', "invalid_json"),
        (b'{"amount_due": 1, "amount_due": 1}', "invalid_json"),
        (b'{"metadata": {"k": "1", "k": "2"}}', "invalid_json"),
        (b'{"amount_due": NaN}', "invalid_json"),
        (b'{"amount_due": Infinity}', "invalid_json"),
        (b'{"amount_due": -Infinity}', "invalid_json"),
        (b'{"amount_due": 01}', "invalid_json"),
        (b'{"amount_due": 0x10}', "invalid_json"),
        (b'{"amount_due": 1' + b"0" * 5000 + b"}", "invalid_json"),
        (b'{"amount_due": 1' + b"0" * 30 + b"}", "invalid_request"),
        (b'{"amount_due": 1e400}', "invalid_request"),
        (b"[" * 20_000 + b"]" * 20_000, "invalid_json"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "invalid_json"),
        (b"[" * 20_000, "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        ('{"description": "é"}'.encode("utf-16"), "invalid_json"),
        ('{"description": "é"}'.encode("utf-16-le"), "invalid_json"),
        ('{"description": "é"}'.encode("utf-32"), "invalid_json"),
        ('{"description": "é"}'.encode("latin-1"), "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"", "invalid_json"),
        (b" ", "invalid_json"),
        (b"{}{}", "invalid_json"),
        (b"{} // done", "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'"text"', "invalid_request"),
        (b"null", "invalid_request"),
        (b"[]", "invalid_request"),
        (b"[{}]", "invalid_request"),
        (b"5", "invalid_request"),
        (b"true", "invalid_request"),
    ],
)
def test_a_body_that_two_readers_could_understand_differently_is_refused(api, everything, bill, body, code):
    before = everything()
    for method, path in DOORS:
        response = api.call(method, path, body)
        assert (response.status_code, response.json()["code"]) == (400, code), method
        assert refused(response)
    assert everything() == before


def test_a_pair_of_surrogates_is_one_character_and_is_kept(api):
    made = api.post("/billing/customers", b'{"external_reference": "c", "name": "\\ud83d\\ude00"}')
    assert (made.status_code, made.json()["name"]) == (201, "😀")


@pytest.mark.parametrize("shape", ["objects", "lists"])
def test_bodies_are_at_most_32_levels_deep(api, shape):
    def nested(levels):
        if shape == "objects":
            return b'{"x":' * (levels - 1) + b"{}" + b"}" * (levels - 1)
        return b'{"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert MAX_DEPTH == 32
    assert api.post("/billing/customers", nested(32)).json()["code"] == "invalid_request"
    assert api.post("/billing/customers", nested(33)).json()["code"] == "invalid_json"


def test_many_brackets_that_are_not_deep_are_no_depth(api):
    response = api.post("/billing/customers", {"external_reference": "c", "name": "[{" * 40})
    assert (response.status_code, response.json()["name"]) == (201, "[{" * 40)


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(api):
    body = json.dumps({"external_reference": "c", "name": "x"})
    limit = settings.API_MAX_BODY_BYTES
    assert limit == 1024 * 1024
    too_large = api.post("/billing/customers", body + " " * (limit + 1 - len(body)))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "request_too_large")
    assert Customer.objects.count() == 0
    assert api.post("/billing/customers", body + " " * (limit - len(body))).status_code == 201


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/html",
        "application/xml",
        "application/json; charset=nope",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "nonsense",
        "/",
        "",
    ],
)
def test_another_content_type_is_refused(api, everything, bill, kind):
    before = everything()
    for method, path in DOORS:
        response = api.call(method, path, b'{"description": "x"}', **{"Content-Type": kind})
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type"), method
    assert everything() == before


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_in_utf_8_is_accepted_however_it_is_written(api, kind):
    body = {"external_reference": "c", "name": "é"}
    made = api.call("POST", "/billing/customers", json.dumps(body, ensure_ascii=False), **{"Content-Type": kind})
    assert (made.status_code, made.json()["name"]) == (201, "é")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png"])
def test_a_caller_that_takes_no_json_is_told_406(api, bill, accept):
    response = api.get("/billing/bills/B", Accept=accept)
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "amount", [20.0, 1.5, 1e3, "2000", True, False, 0, -1, 1_000_000_000_000, 1 << 63, None, [], {}]
)
def test_money_is_a_json_integer_within_its_range(api, everything, bill, amount):
    before = everything()
    for method, path in DOORS:
        new = {} if method == "PATCH" else {**BILL, "external_reference": "X"}
        response = api.call(method, path, {**new, "amount_due": amount})
        assert response.status_code == 400
        assert [error["pointer"] for error in response.json()["errors"]] == ["/amount_due"]
    assert everything() == before


@pytest.mark.parametrize(
    "query",
    [
        "%00",
        "search=%00",
        "external_reference=%00",
        "customer=a%00b",
        "metadata.k=%00",
        "metadata.%00=x",
        "search=%ff%fe",
        "amount_due_gte=NaN",
        "amount_due_gte=1e3",
        "amount_due_gte=" + "9" * 40,
        "amount_due_gte=٣",
        "due_date_gte=2026-02-30",
        "due_date_gte=2026-W01-1",
        "created_at_gte=99999-01-01",
        "created_at_gte=2026-01-01T25:00:00Z",
        "created_at_gte=0001-01-01T00:00:00%2B14:00",
        "created_at_lte=9999-12-31T23:59:59-14:00",
        "updated_at_gte=now",
        "limit=-1",
        "limit=1.0",
        "limit=٣",
        "cursor=" + "A" * 10_000,
        "cursor=%F0%9F%98%80",
        "search=" + "x" * 101,
        "sort=-",
        "sort=--created_at",
        "sort=id",
        "sort=biller__name",
        "sort=created_at;DROP",
        "expand=biller",
        "expand=",
        "customer__biller__name=x",
        "biller=x",
        "metadata.=x",
        "status=UNPAID,PAID",
    ],
)
def test_no_query_breaks_anything(api, everything, bill, query):
    before = everything()
    response = api.get(f"/billing/bills?{query}")
    harmless = "search=%ff", "created_at_gte=0001", "created_at_lte=9999"
    assert refused(response) or (response.status_code == 200 and query.startswith(harmless)), response.content
    assert everything() == before


@pytest.mark.parametrize(
    "key",
    ["%00", "a%00b", "%0A", "%20a", "a%20", "%ff%fe", "%ed%a0%80", "x" * 256, "bill_", "bill_" + "z" * 22, "%2e%2e"],
)
def test_no_path_breaks_anything(api, everything, bill, key):
    before = everything()
    for method in ("GET", "PATCH"):
        assert refused(api.call(method, f"/billing/bills/{key}", None if method == "GET" else {})), method
    voided = api.post(f"/billing/bills/{key}/void", {}, Idempotency_Key="k")
    assert (voided.status_code, voided.json()["code"]) == (404, "bill_not_found")
    assert everything() == before
    assert Bill.objects.count() == 1
