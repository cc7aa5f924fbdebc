"""ETag, If-Match and If-None-Match: contract, section 1."""

import pytest

BILL = {"external_reference": "B", "currency": "ZAR", "amount_due": 5000, "customer": {"external_reference": "C"}}
CHANGES = [("PATCH", "", {"amount_due": 9}), ("PUT", "", {"amount_due": 9}), ("POST", "/void", {})]


@pytest.fixture(autouse=True)
def _bill(api):
    """Make a bill B at version 2."""
    assert api.post("/billing/bills", BILL).headers["ETag"] == '"1"'
    assert api.patch("/billing/bills/B", {"description": "x"}).headers["ETag"] == '"2"'


def test_the_etag_is_the_rows_version_and_rises_with_every_change(api):
    for number, change in enumerate(({"amount_due": 7}, {"amount_paid": 1}, {"metadata": {"a": "b"}}), start=3):
        changed = api.patch("/billing/bills/B", change)
        assert changed.headers["ETag"] == api.get("/billing/bills/B").headers["ETag"] != f'"{number - 1}"'
        assert int(changed.headers["ETag"].strip('"')) >= number


def test_a_change_that_changes_nothing_keeps_the_etag(api, everything):
    before = everything()
    for method in (api.patch, api.put):
        same = method("/billing/bills/B", {"amount_due": 5000, "description": "x", "metadata": {}})
        assert (same.status_code, same.headers["ETag"]) == (200, '"2"')
    assert everything() == before


@pytest.mark.parametrize(("method", "suffix", "body"), CHANGES)
@pytest.mark.parametrize(
    "header", ['"1"', '"3"', 'W/"2"', '"x"', "2", '""', '"1", "3"', '"02x"', '"02"', f'"{"9" * 5000}"', "", ","]
)
def test_a_stale_weak_or_foreign_if_match_is_412_and_nothing_moves(api, everything, method, suffix, body, header):
    before = everything()
    refused = api.call(method, f"/billing/bills/B{suffix}", body, If_Match=header, Idempotency_Key="k")
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")
    assert everything() == before


@pytest.mark.parametrize(("method", "suffix", "body"), CHANGES)
@pytest.mark.parametrize("header", ['"2"', "*", ' "2" ', '"1", "2"', '"7","2"', 'W/"1", "2"'])
def test_a_current_if_match_passes(api, method, suffix, body, header):
    changed = api.call(method, f"/billing/bills/B{suffix}", body, If_Match=header, Idempotency_Key="k")
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"3"')


def test_a_stale_if_match_is_412_before_what_the_body_would_break(api, everything):
    before = everything()
    for change in ({"amount_due": 5000}, {"payment_rules": {"min_amount": 2, "max_amount": 1}}):
        assert api.patch("/billing/bills/B", change, If_Match='"1"').status_code == 412
    assert api.patch("/billing/bills/B", {"amount_due": 0}, If_Match='"1"').status_code == 400
    assert everything() == before


@pytest.mark.parametrize("header", ["*", '"1"'])
def test_a_put_that_would_create_fails_any_if_match(api, everything, header):
    before = everything()
    new = {key: value for key, value in BILL.items() if key != "external_reference"}
    refused = api.put("/billing/bills/new", new, If_Match=header)
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")
    assert everything() == before


def test_a_change_of_a_parent_in_the_same_call_is_guarded_too(api, everything):
    before = everything()
    refused = api.patch("/billing/bills/B", {"customer": {"name": "Jane"}}, If_Match='"1"')
    assert refused.status_code == 412
    assert everything() == before
    assert api.patch("/billing/bills/B", {"customer": {"name": "Jane"}}, If_Match='"2"').status_code == 200
    assert api.get("/billing/customers/C").json()["name"] == "Jane"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"2"', 304),
        ('W/"2"', 304),
        ("*", 304),
        ('"1", "2"', 304),
        ('"1", W/"2"', 304),
        ('"1"', 200),
        ("2", 200),
        ("", 200),
        ('"22"', 200),
    ],
)
def test_what_the_caller_has_already_is_304_without_a_body(api, header, status):
    response = api.get("/billing/bills/B", If_None_Match=header)
    assert (response.status_code, response.headers["ETag"]) == (status, '"2"')
    assert bool(response.content) == (status == 200)


@pytest.mark.parametrize("kind", ["customers", "accounts"])
def test_customers_and_accounts_have_etags_too(api, kind):
    body = {"external_reference": "X"} | ({"customer": "C"} if kind == "accounts" else {})
    assert api.post(f"/billing/{kind}", body).headers["ETag"] == '"1"'
    assert api.patch(f"/billing/{kind}/X", {"name": "x"}, If_Match='"9"').status_code == 412
    assert api.patch(f"/billing/{kind}/X", {"name": "x"}, If_Match='"1"').headers["ETag"] == '"2"'
    assert api.get(f"/billing/{kind}/X", If_None_Match='"2"').status_code == 304
