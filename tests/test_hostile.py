"""Whatever is sent, the answer says what is wrong and where; nothing is written, and nothing breaks."""

import json

import pytest
from django.conf import settings

from api.parsing import MAX_DEPTH
from bills.models import Bill
from customers.models import Customer

SHARED = settings.BASE_DIR.parent / "shared" / "data" / "hostile"
BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "C"}}


@pytest.fixture
def bodies():
    return sorted((SHARED / "json" / "test_parsing").glob("*.json"))


@pytest.fixture
def naughty():
    lines = (SHARED / "blns.txt").read_text(encoding="utf-8").split("\n")
    return [line for line in lines if line and not line.startswith("#")]


if SHARED.is_dir():

    def test_no_body_of_the_parsing_suite_breaks_anything(api, bodies):
        assert len(bodies) == 318
        api.post("/billing/bills", BILL)
        for file in bodies:
            for method, path in (
                ("POST", "/billing/bills"),
                ("PUT", "/billing/bills/X"),
                ("PATCH", "/billing/bills/B"),
            ):
                response = api.call(method, path, file.read_bytes())
                # An empty object changes nothing, which PATCH may.
                fine = {200} if method == "PATCH" and file.name == "y_object_empty.json" else {400, 413}
                assert response.status_code in fine, (file.name, method, response.content)
                assert response.status_code == 200 or response.json()["code"] in {"invalid_json", "invalid_request"}
        assert (Bill.objects.count(), Customer.objects.count()) == (1, 1)

    def test_naughty_strings_are_kept_as_sent_or_refused(api, naughty):
        assert len(naughty) > 400
        for number, text in enumerate(naughty):
            fields = {"name": text[:255], "metadata": {text[:40]: text[:500]}}
            response = api.post("/billing/customers", {"external_reference": f"n{number}", **fields})
            assert response.status_code == 201, (text, response.content)
            kept = api.get(f"/billing/customers/n{number}").json()
            assert (kept["name"], kept["metadata"]) == (fields["name"], fields["metadata"])
            named = api.post("/billing/customers", {"external_reference": text})
            assert named.status_code in {201, 400, 409}
            if named.status_code == 201:
                assert named.json()["external_reference"] == text

    def test_naughty_strings_break_no_path_query_or_header(api, naughty):
        for text in naughty:
            for parameter in (
                "external_reference",
                "customer",
                "search",
                "cursor",
                "sort",
                "status",
                "metadata.k",
                "expand",
            ):
                response = api.client.get(
                    "/billing/bills", {parameter: text}, headers={"Authorization": f"Bearer {api.key}"}
                )
                assert response.status_code in {200, 400}, (parameter, text)
            header = "".join(character for character in text if 32 <= ord(character) < 127)[:100]
            asked = api.get("/billing/bills/none", If_None_Match=header, X_Request_Id=header)
            assert asked.status_code == 404
            sent = api.post("/billing/customers", {}, Idempotency_Key=header, If_Match=header)
            assert sent.status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"external_reference": "a\\u0000"}', "invalid_json"),
        (b'{"metadata": {"\\ud800": "x"}}', "invalid_json"),
        (b'{"external_reference": "a", "external_reference": "b"}', "invalid_json"),
        (b'{"amount_due": NaN}', "invalid_json"),
        (b"[" * 20_000 + b"]" * 20_000, "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        ('{"external_reference": "é"}'.encode("utf-16"), "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'"text"', "invalid_request"),
        (b"null", "invalid_request"),
        (b'{"amount_due": 1' + b"0" * 5000 + b"}", "invalid_json"),
    ],
)
def test_a_body_that_two_readers_could_understand_differently_is_refused(api, body, code):
    response = api.post("/billing/customers", body)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert Customer.objects.count() == 0


def test_bodies_are_at_most_32_levels_deep(api):
    def nested(levels):
        return b'{"x":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    assert api.post("/billing/customers", nested(MAX_DEPTH)).json()["code"] == "invalid_request"
    assert api.post("/billing/customers", nested(MAX_DEPTH + 1)).json()["code"] == "invalid_json"


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(api, settings):
    settings.API_MAX_BODY_BYTES = 200
    body = json.dumps({"external_reference": "c", "name": "x"})
    assert api.post("/billing/customers", body + " " * (200 - len(body))).status_code == 201
    refused = api.post("/billing/customers", body + " " * (201 - len(body)))
    assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/json; charset=nope", "multipart/form-data"]
)
def test_another_content_type_is_refused(api, kind):
    response = api.call("POST", "/billing/customers", b"{}", **{"Content-Type": kind})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("amount", [20.0, "2000", True, 0, -1, 1_000_000_000_000, None, [], {}, 1e3])
def test_money_is_a_json_integer_within_its_range(api, amount):
    response = api.post("/billing/bills", {**BILL, "amount_due": amount})
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == ["/amount_due"]
    assert Bill.objects.count() == 0


def test_amounts_reach_the_limit(api):
    assert api.post("/billing/bills", {**BILL, "amount_due": 999_999_999_999}).status_code == 201


@pytest.mark.parametrize(
    ("field", "fits", "breaks"),
    [
        ("external_reference", "x" * 255, "x" * 256),
        ("name", "x" * 255, "x" * 256),
        ("phone", "+" + "1" * 15, "+" + "1" * 16),
        ("email", "a@" + "b" * 60 + ".co", "a" * 250 + "@b.co"),
        ("metadata", {str(n): "x" * 500 for n in range(10)}, {str(n): "x" for n in range(11)}),
        ("metadata", {"k" * 40: "x"}, {"k" * 41: "x"}),
        ("metadata", {"k": "x" * 500}, {"k": "x" * 501}),
        ("balance", -999_999_999_999, -1_000_000_000_000),
        ("balance", 999_999_999_999, 1_000_000_000_000),
    ],
)
def test_every_limit_holds_at_n_and_refuses_n_plus_1(api, field, fits, breaks):
    base = {"external_reference": "c", "currency": "ZAR"}
    refused = api.post("/billing/customers", {**base, field: breaks})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"].startswith(f"/{field}")
    assert Customer.objects.count() == 0
    assert api.post("/billing/customers", {**base, field: fits}).status_code == 201


def test_metadata_cannot_grow_past_ten_keys_by_merging(api):
    api.post("/billing/customers", {"external_reference": "c", "metadata": {str(n): "x" for n in range(10)}})
    refused = api.patch("/billing/customers/c", {"metadata": {"more": "x"}})
    assert (refused.status_code, refused.json()["code"]) == (422, "customer_metadata_at_most_10_keys")
    assert api.patch("/billing/customers/c", {"metadata": {"more": "x", "0": None}}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/billing/bills", {**BILL, "colour": 1}, "unknown_field"),
        ("POST", "/billing/bills", {**BILL, "status": "PAID"}, "read_only"),
        ("POST", "/billing/bills", {**BILL, "customer": {"external_reference": "C", "id": "x"}}, "read_only"),
        ("PATCH", "/billing/bills/B", {"currency": "USD"}, "not_updatable"),
        ("PATCH", "/billing/bills/B", {"external_reference": "new"}, "not_updatable"),
        ("PATCH", "/billing/bills/B", {"customer": {"external_reference": "new"}}, "not_updatable"),
        ("PUT", "/billing/bills/B", {"amount_remaining": 0}, "read_only"),
    ],
)
def test_unknown_read_only_and_fixed_fields_are_errors(api, method, path, body, code):
    bill = api.post("/billing/bills", {**BILL, "external_reference": "B"}).json()
    response = api.call(method, path, body)
    assert response.status_code == 400
    assert code in [error["code"] for error in response.json()["errors"]]
    assert api.get("/billing/bills/B").json() == bill
