"""One class of failure at a time, all of that class at once: contract, section 1, errors."""

import pytest

BILL = {"external_reference": "new", "currency": "ZAR", "amount_due": 5}
UPSIDE_DOWN = {"min_amount": 2, "max_amount": 1}


@pytest.fixture(autouse=True)
def records(api):
    """A bill B of account A of customer C, and a customer D."""
    account = {"external_reference": "A", "customer": {"external_reference": "C"}}
    api.post("/billing/customers", {"external_reference": "D"})
    return api.post("/billing/bills", {**BILL, "external_reference": "B", "account": account}).json()


def told(response):
    return sorted((error["pointer"], error["code"]) for error in response.json()["errors"])


@pytest.mark.parametrize(
    ("method", "path", "body", "errors"),
    [
        (
            "POST",
            "/billing/bills",
            {},
            {
                "/external_reference": "required",
                "/currency": "required",
                "/amount_due": "required",
                "/customer": "required",
            },
        ),
        (
            "POST",
            "/billing/bills",
            {**BILL, "amount_due": 0, "id": "x", "colour": 1, "account": {"name": 1}},
            {
                "/amount_due": "out_of_range",
                "/id": "read_only",
                "/colour": "unknown_field",
                "/account/name": "invalid_type",
                "/account/external_reference": "required",
                "/account/customer": "required",
            },
        ),
        (
            "POST",
            "/billing/bills",
            {**BILL, "amount_due": "5", "customer": "C", "account": {"external_reference": "a", "customer": "C"}},
            {"/amount_due": "invalid_type", "/account/customer": "customer_given_twice"},
        ),
        (
            "POST",
            "/billing/bills",
            {**BILL, "customer": {"name": 1}, "account": {"external_reference": "a", "customer": {"email": 1}}},
            {
                "/customer/name": "invalid_type",
                "/customer/external_reference": "required",
                "/account/customer/email": "invalid_type",
                "/account/customer/external_reference": "required",
            },
        ),
        (
            "POST",
            "/billing/bills",
            {**BILL, "customer": None, "account": None, "due_date": 5},
            {"/customer": "null", "/account": "null", "/due_date": "invalid_date"},
        ),
        (
            "PUT",
            "/billing/bills/B",
            {"amount_due": 0, "customer": "C", "account": {"external_reference": "A", "customer": "C"}},
            {"/amount_due": "out_of_range", "/account/customer": "customer_given_twice"},
        ),
        (
            "PUT",
            "/billing/customers/C",
            {"external_reference": "D", "name": 1, "colour": 1},
            {"/external_reference": "reference_mismatch", "/name": "invalid_type", "/colour": "unknown_field"},
        ),
        (
            "PUT",
            "/billing/customers?external_reference=C",
            {"external_reference": 5, "name": 1},
            {"/external_reference": "invalid_type", "/name": "invalid_type"},
        ),
        (
            "PATCH",
            "/billing/bills/B",
            {"currency": "USD", "amount_due": 0, "customer": {"name": 1}, "account": {"customer": {}}},
            {
                "/currency": "not_updatable",
                "/amount_due": "out_of_range",
                "/customer/name": "invalid_type",
                "/account/customer": "customer_given_twice",
            },
        ),
        (
            "PATCH",
            "/billing/customers/C",
            {
                "metadata": {"": "x", "a/b~c": 1, "k" * 41: None, "fine": "x"},
                "payment_rules": {"min_amount": 0, "x": 1},
            },
            {
                "/metadata/": "invalid_metadata_key",
                "/metadata/a~1b~0c": "invalid_metadata_value",
                f"/metadata/{'k' * 41}": "invalid_metadata_key",
                "/payment_rules/min_amount": "out_of_range",
                "/payment_rules/x": "unknown_field",
            },
        ),
    ],
)
def test_everything_wrong_with_the_shape_is_told_at_once_and_nothing_else(api, everything, method, path, body, errors):
    before = everything()
    refused = api.call(method, path, body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert dict(told(refused)) == errors
    assert len(told(refused)) == len(errors)
    assert everything() == before


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_missing_parents_are_told_at_once_and_before_anything_of_what_is_there(api, everything, method):
    before = everything()
    path = "/billing/bills" + ("" if method == "POST" else "/B")
    broken = {**BILL, "external_reference": "B", "payment_rules": UPSIDE_DOWN}
    for parents, missing in (
        ({"customer": "x", "account": "y"}, [("/account", "account_not_found"), ("/customer", "customer_not_found")]),
        ({"account": {"external_reference": "A", "customer": "x"}}, [("/account/customer", "customer_not_found")]),
        ({"account": {"external_reference": "A"}, "customer": "x"}, [("/customer", "customer_not_found")]),
        ({"account": "y"}, [("/account", "account_not_found")]),
    ):
        refused = api.call(method, path, {**broken, **parents})
        assert (refused.status_code, told(refused)) == (422, missing), parents
    assert everything() == before


def test_taken_references_are_told_at_once_each_with_the_id_that_has_it(api, everything, records):
    before = everything()
    customer = {"external_reference": "C", "balance": 5}
    account = {"external_reference": "A", "balance": 5, "customer": customer}
    for body, taken in (
        (
            {**BILL, "external_reference": "B", "payment_rules": UPSIDE_DOWN, "account": account},
            {
                "/external_reference": records["id"],
                "/account/external_reference": records["account_id"],
                "/account/customer/external_reference": records["customer_id"],
            },
        ),
        (
            {**BILL, "customer": customer, "account": {"external_reference": "A"}},
            {
                "/customer/external_reference": records["customer_id"],
                "/account/external_reference": records["account_id"],
            },
        ),
        ({**BILL, "external_reference": "B", "account": "A", "customer": "D"}, {"/external_reference": records["id"]}),
    ):
        refused = api.post("/billing/bills", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "external_reference_taken")
        assert {error["pointer"]: error["existing_id"] for error in refused.json()["errors"]} == taken
        assert {error["code"] for error in refused.json()["errors"]} == {"external_reference_taken"}
    assert everything() == before


def test_broken_rules_are_told_at_once(api, everything):
    before = everything()
    customer = {"external_reference": "c", "balance": 5, "payment_rules": UPSIDE_DOWN}
    account = {"external_reference": "a", "balance": 5, "customer": customer}
    refused = api.post("/billing/bills", {**BILL, "payment_rules": UPSIDE_DOWN, "account": account})
    assert (refused.status_code, told(refused)) == (
        422,
        [
            ("", "bill_min_amount_above_max_amount"),
            ("/account", "account_balance_needs_currency"),
            ("/account/customer", "customer_balance_needs_currency"),
            ("/account/customer", "customer_min_amount_above_max_amount"),
        ],
    )
    refused = api.post("/billing/bills", {**BILL, "payment_rules": UPSIDE_DOWN, "account": "A", "customer": "D"})
    assert (refused.status_code, told(refused)) == (
        422,
        [("", "bill_min_amount_above_max_amount"), ("/customer", "account_of_another_customer")],
    )
    assert everything() == before


def test_the_problem_repeats_the_first_error_and_names_the_address(api):
    refused = api.post("/billing/bills", {**BILL, "customer": "x"})
    problem = refused.json()
    assert problem == {
        "type": "/problems/customer_not_found",
        "title": "A rule refuses this",
        "status": 422,
        "detail": "There is no customer “x”.",
        "instance": "/billing/bills",
        "code": "customer_not_found",
        "errors": [{"pointer": "/customer", "code": "customer_not_found", "detail": "There is no customer “x”."}],
    }


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/problems/not_found", "/health/live", "/health/ready"])
def test_what_needs_no_key_only_tells(nobody, path):
    assert nobody.call("HEAD", path).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused = nobody.call(method, path)
        assert refused.status_code == 405, method
        assert refused.headers["Allow"] == "GET, HEAD"
        if path.startswith(("/health", "/openapi")):
            assert refused.json()["code"] == "method_not_allowed"
