"""Every limit at n and n + 1, every field with every kind of wrong value, and the order in which refusals are told."""

import pytest

from api.fields import Amount, Currency, Day, Email, Flag, Metadata, Parent, Phone, Reference, Text
from api.serializers import Shape
from billing_project.urls import urlpatterns
from bills.models import Bill
from customers.models import Customer

MOST = 999_999_999_999
BILL = {"external_reference": "new", "currency": "ZAR", "amount_due": 5, "customer": "C"}
CUSTOMER = {"external_reference": "new", "currency": "ZAR"}
ACCOUNT = {"external_reference": "new", "currency": "ZAR", "customer": "C"}
NEW = {"customers": CUSTOMER, "accounts": ACCOUNT, "bills": BILL}
OLD = {"customers": "C", "accounts": "A", "bills": "B"}


@pytest.fixture
def records(api):
    """A bill B of account A of customer C, each at version 1."""
    account = {"external_reference": "A", "customer": {"external_reference": "C"}}
    made = api.post(
        "/billing/bills", {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "account": account}
    )
    assert made.status_code == 201
    return made.json()


def told(response):
    return sorted((error["pointer"], error["code"]) for error in response.json()["errors"])


# --- Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "field", "fits", "breaks", "code"),
    [
        ("customers", "external_reference", "x", "", "invalid_reference"),
        ("customers", "external_reference", "é" * 255, "é" * 256, "too_long"),
        ("customers", "external_reference", "a b", "a ", "invalid_reference"),
        ("customers", "external_reference", "a/b?c#d%e", " a", "invalid_reference"),
        ("customers", "external_reference", "a~", "a\n", "invalid_reference"),
        ("customers", "external_reference", "€", "a\x7f", "invalid_reference"),
        ("customers", "external_reference", "😀", "a\u200b", "invalid_reference"),
        ("customers", "name", "x" * 255, "x" * 256, "too_long"),
        ("customers", "name", "😀" * 255, "😀" * 256, "too_long"),
        ("customers", "phone", "+" + "1" * 15, "+" + "1" * 16, "too_long"),
        ("customers", "phone", "+11", "+1", "invalid_phone"),
        ("customers", "phone", "+27821234567", "+07821234567", "invalid_phone"),
        ("customers", "phone", "+27821234567", "27821234567", "invalid_phone"),
        ("customers", "phone", "+27821234567", "+2782123456\u0667", "invalid_phone"),
        (
            "customers",
            "email",
            "a@" + ".".join(["b" * 62] * 3) + "." + "c" * 62,
            "a" * 243 + "@example.com",
            "too_long",
        ),
        ("customers", "email", "jo@example.com", "jo@", "invalid_email"),
        ("customers", "email", "jo@example.com", "", "invalid_email"),
        ("customers", "balance", -MOST, -MOST - 1, "out_of_range"),
        ("customers", "balance", MOST, MOST + 1, "out_of_range"),
        ("customers", "currency", "KWD", "XXX", "invalid_currency"),
        ("customers", "currency", "JPY", "XAU", "invalid_currency"),
        ("customers", "currency", "ZAR", "zar", "invalid_currency"),
        ("customers", "currency", "ZAR", "ZA", "invalid_currency"),
        ("accounts", "name", "x" * 255, "x" * 256, "too_long"),
        ("accounts", "balance", -MOST, -MOST - 1, "out_of_range"),
        ("accounts", "balance", MOST, MOST + 1, "out_of_range"),
        ("bills", "amount_due", 1, 0, "out_of_range"),
        ("bills", "amount_due", MOST, MOST + 1, "out_of_range"),
        ("bills", "amount_paid", 0, -1, "out_of_range"),
        ("bills", "amount_paid", MOST, MOST + 1, "out_of_range"),
        ("bills", "description", "x" * 500, "x" * 501, "too_long"),
        ("bills", "due_date", "2028-02-29", "2027-02-29", "invalid_date"),
        ("bills", "due_date", "0001-01-01", "0000-01-01", "invalid_date"),
        ("bills", "due_date", "9999-12-31", "10000-01-01", "invalid_date"),
        ("bills", "bill_date", "2026-01-02", "2026-1-2", "invalid_date"),
        ("bills", "bill_date", "2026-01-02", "20260102", "invalid_date"),
        ("bills", "bill_date", "2026-01-02", "2026-01-02T00:00:00Z", "invalid_date"),
        ("bills", "bill_date", "2026-01-02", "2026-01-0\u0662", "invalid_date"),
    ],
)
def test_every_limit_of_a_field_holds_at_n_and_refuses_n_plus_1(
    api, everything, records, kind, field, fits, breaks, code
):
    before = everything()
    refused = api.post(f"/billing/{kind}", {**NEW[kind], field: breaks})
    assert (refused.status_code, told(refused)) == (400, [(f"/{field}", code)])
    assert everything() == before
    accepted = api.post(f"/billing/{kind}", {**NEW[kind], field: fits})
    assert (accepted.status_code, accepted.json()[field]) == (201, fits)


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize(
    ("fits", "breaks", "pointer", "code"),
    [
        ({str(n): "x" * 500 for n in range(10)}, {str(n): "x" for n in range(11)}, "", "too_many_keys"),
        ({"k" * 40: "x"}, {"k" * 41: "x"}, "/" + "k" * 41, "invalid_metadata_key"),
        ({"k": "x"}, {"": "x"}, "/", "invalid_metadata_key"),
        ({"k": "😀" * 500}, {"k": "x" * 501}, "/k", "invalid_metadata_value"),
        ({"k": ""}, {"k": 1}, "/k", "invalid_metadata_value"),
        ({"a/b~c": "x"}, {"a/b~c": {}}, "/a~1b~0c", "invalid_metadata_value"),
        ({}, {"k": None}, "/k", "invalid_metadata_value"),
    ],
)
def test_every_limit_of_metadata_holds_at_n_and_refuses_n_plus_1(
    api, everything, records, kind, fits, breaks, pointer, code
):
    before = everything()
    refused = api.post(f"/billing/{kind}", {**NEW[kind], "metadata": breaks})
    assert (refused.status_code, told(refused)) == (400, [(f"/metadata{pointer}", code)])
    assert everything() == before
    accepted = api.post(f"/billing/{kind}", {**NEW[kind], "metadata": fits})
    assert (accepted.status_code, accepted.json()["metadata"]) == (201, fits)


@pytest.mark.parametrize("kind", NEW)
def test_metadata_merges_a_null_removes_and_the_whole_stays_within_ten_keys(api, everything, records, kind):
    path = f"/billing/{kind}/{OLD[kind]}"
    ten = {str(n): "x" for n in range(10)}
    assert api.patch(path, {"metadata": ten}).json()["metadata"] == ten
    before = everything()
    for change in (api.patch, api.put):
        refused = change(path, {"metadata": {"more": "x"}})
        code = f"{kind.removesuffix('s')}_metadata_at_most_10_keys"
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert everything() == before
    swapped = api.patch(path, {"metadata": {"more": "x", "0": None, "none": None}}).json()["metadata"]
    assert swapped == {**{str(n): "x" for n in range(1, 10)}, "more": "x"}
    assert api.put(path, {"metadata": {"more": None}}).json()["metadata"] == {str(n): "x" for n in range(1, 10)}


@pytest.mark.parametrize("kind", NEW)
def test_payment_rules_are_amounts_of_1_to_the_limit_in_order(api, everything, records, kind):
    before = everything()
    for rules, errors in (
        ({"min_amount": 0}, [("/payment_rules/min_amount", "out_of_range")]),
        ({"max_amount": MOST + 1}, [("/payment_rules/max_amount", "out_of_range")]),
        ({"min_amount": "1"}, [("/payment_rules/min_amount", "invalid_type")]),
        ({"underpayment_allowed": 1}, [("/payment_rules/underpayment_allowed", "invalid_type")]),
        (
            {"overpayment_allowed": "no", "min": 1},
            [
                ("/payment_rules/min", "unknown_field"),
                ("/payment_rules/overpayment_allowed", "invalid_type"),
            ],
        ),
    ):
        refused = api.post(f"/billing/{kind}", {**NEW[kind], "payment_rules": rules})
        assert (refused.status_code, told(refused)) == (400, errors)
    crossed = api.post(f"/billing/{kind}", {**NEW[kind], "payment_rules": {"min_amount": 2, "max_amount": 1}})
    code = f"{kind.removesuffix('s')}_min_amount_above_max_amount"
    assert (crossed.status_code, crossed.json()["code"]) == (422, code)
    assert everything() == before
    rules = {"min_amount": 1, "max_amount": MOST, "underpayment_allowed": False, "overpayment_allowed": True}
    made = api.post(f"/billing/{kind}", {**NEW[kind], "payment_rules": rules})
    assert (made.status_code, made.json()["payment_rules"]) == (201, rules)


# --- Every field of every shape ---------------------------------------------------------------------------------------

WRONG = (None, True, 1, 1.5, "x", [], {}, ["x"], {"x": 1}, -(10**15))


def is_valid(field, value):
    """Tell, apart from the code under test, whether a value of the table may stand in a field."""
    if value is None:
        return field.allow_null
    if isinstance(field, Amount):
        return type(value) is int and field.least <= value <= field.most
    if isinstance(field, Metadata | Shape):
        return value == {}
    if isinstance(field, Flag):
        return value is True
    return isinstance(value, str) and not isinstance(field, Email | Phone | Currency | Day)


def codes_of(field, value):
    """Return the codes documented for a wrong value of a field."""
    own = {Currency: "invalid_currency", Day: "invalid_date"}
    if value is None:
        return {"null"}
    if isinstance(value, dict) and isinstance(field, Parent | Shape):
        return {"required", "unknown_field"}
    if isinstance(value, dict) and isinstance(field, Metadata):
        return {"invalid_metadata_value"}
    if isinstance(value, str):
        own |= {Email: "invalid_email", Phone: "invalid_phone"}
    if type(value) is int:
        own[Amount] = "out_of_range"
    return {own.get(type(field), "invalid_type")}


def shapes():
    """Return every request body of the API's records, with how to send it, read from the routes."""
    for pattern in urlpatterns:
        actions = getattr(pattern.callback, "actions", {})
        view = getattr(pattern.callback, "cls", None)
        path = str(pattern.pattern)
        for method, action in actions.items():
            attribute = {"create": "create_shape", "partial_update": "patch_shape", "void": "void_shape"}
            attribute |= {"upsert": "put_shape"} if "<" in path else {}
            kind = path.split("/")[1]
            # Webhook endpoints have no reference to be addressed by: tests/events/test_endpoints.py has their table.
            if action in attribute and kind in NEW:
                address = "/" + path.replace("<str:key>", "new" if action == "upsert" else OLD[kind])
                yield method.upper(), address, getattr(view, attribute[action]), kind


def fields_of(shape, pointer="", depth=3):
    """Return every field of a shape and of the shapes in it: its place and the field."""
    for name, field in shape.fields.items():
        yield (*pointer, name), field
        inner = field.shape if isinstance(field, Parent) else field if isinstance(field, Shape) else None
        if inner is not None and depth:
            yield from fields_of(inner, (*pointer, name), depth - 1)


CASES = [
    pytest.param(method, address, kind, place, field, id=f"{method} {kind} {'/'.join(place)}")
    for method, address, shape, kind in shapes()
    for place, field in fields_of(shape, ())
]


def test_the_table_holds_every_field_of_every_shape():
    assert {(case.values[0], case.values[2]) for case in CASES} == {
        *((method, kind) for method in ("POST", "PUT", "PATCH") for kind in NEW)
    }
    assert len(CASES) > 150
    assert {type(case.values[4]).__name__ for case in CASES} >= {
        kind.__name__ for kind in (Amount, Currency, Day, Email, Flag, Metadata, Parent, Phone, Reference, Text)
    }


def body_with(method, kind, place, value):
    """Return a body that is right but for one value, deep in its parents perhaps."""
    body = dict(NEW[kind]) if method in {"POST", "PUT"} else {}
    inner = body
    for depth, name in enumerate(place[:-1]):
        if name == "account" and depth == 0 and method != "PATCH":
            body.pop("customer", None)
        part = {} if method == "PATCH" or name == "payment_rules" else {"external_reference": f"parent{depth}"}
        if name == "account" and method != "PATCH" and place[depth + 1] != "customer":
            part["customer"] = "C"
        inner[name] = part
        inner = part
    inner[place[-1]] = value
    return body


@pytest.mark.parametrize(("method", "address", "kind", "place", "field"), CASES)
def test_a_wrong_value_is_a_400_that_names_its_place(api, everything, records, method, address, kind, place, field):
    if address.endswith("/void"):
        method = "POST"
    before = everything()
    pointer = "/" + "/".join(place)
    wrong = [value for value in WRONG if not is_valid(field, value)]
    assert len(wrong) >= 5
    for value in wrong:
        body = {place[0]: value} if address.endswith("/void") else body_with(method, kind, place, value)
        response = api.call(method, address, body, Idempotency_Key="limits")
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request"), (value, response.content)
        errors = told(response)
        assert all(at == pointer or at.startswith(f"{pointer}/") for at, _ in errors), (value, errors)
        assert {code for _, code in errors} <= codes_of(field, value), (value, errors)
        assert all(error["detail"] for error in response.json()["errors"])
    assert everything() == before


# --- Fields that are not the caller's ---------------------------------------------------------------------------------

OURS = {
    "customers": ("id", "created_at", "updated_at"),
    "accounts": ("id", "created_at", "updated_at", "customer_id"),
    "bills": (
        *("id", "created_at", "updated_at", "customer_id", "account_id", "status", "overdue"),
        *("amount_remaining", "amount_overpaid", "voided_at", "void_reason"),
    ),
}
UNKNOWN = ("colour", "biller", "biller_id", "mode", "version", "entry_count", "pk", "ID", "", "__class__", "a/b")
FIXED = {
    "customers": ("external_reference",),
    "accounts": ("external_reference",),
    "bills": ("external_reference", "currency", "bill_date"),
}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("kind", NEW)
def test_fields_of_ours_and_unknown_fields_are_refused_all_at_once(api, everything, records, kind, method):
    before = everything()
    path = {"POST": f"/billing/{kind}", "PUT": f"/billing/{kind}/new", "PATCH": f"/billing/{kind}/{OLD[kind]}"}[method]
    body = {} if method == "PATCH" else NEW[kind]
    ours = dict.fromkeys((*OURS[kind], *UNKNOWN), "x")
    response = api.call(method, path, {**body, **ours})
    assert response.status_code == 400
    expected = [(f"/{name}", "read_only") for name in OURS[kind]]
    expected += [("/" + name.replace("/", "~1"), "unknown_field") for name in UNKNOWN]
    assert told(response) == sorted(expected)
    assert everything() == before


def test_every_field_of_an_answer_is_either_accepted_or_refused_as_ours(api, records):
    for kind, key in OLD.items():
        answer = api.get(f"/billing/{kind}/{key}").json()
        refused = api.put(f"/billing/{kind}/{key}", answer)
        assert {pointer[1:] for pointer, code in told(refused) if code == "read_only"} == set(OURS[kind])
        assert {code for _, code in told(refused)} <= {"read_only"}


@pytest.mark.parametrize("kind", NEW)
def test_fixed_fields_are_refused_by_patch(api, everything, records, kind):
    before = everything()
    response = api.patch(f"/billing/{kind}/{OLD[kind]}", dict.fromkeys(FIXED[kind], "x"))
    assert (response.status_code, told(response)) == (
        400,
        sorted((f"/{name}", "not_updatable") for name in FIXED[kind]),
    )
    assert everything() == before


@pytest.mark.parametrize(
    ("method", "path", "body", "errors"),
    [
        (
            "POST",
            "/billing/bills",
            {
                **{name: value for name, value in BILL.items() if name != "customer"},
                "account": {
                    "external_reference": "a",
                    "id": "x",
                    "colour": 1,
                    "customer": {"external_reference": "c", "created_at": "x", "size": 1},
                },
            },
            [
                ("/account/colour", "unknown_field"),
                ("/account/customer/created_at", "read_only"),
                ("/account/customer/size", "unknown_field"),
                ("/account/id", "read_only"),
            ],
        ),
        (
            "PATCH",
            "/billing/bills/B",
            {"account": {"external_reference": "a", "customer": {"external_reference": "c", "id": "x"}}},
            [
                ("/account/customer/external_reference", "not_updatable"),
                ("/account/customer/id", "read_only"),
                ("/account/external_reference", "not_updatable"),
            ],
        ),
        (
            "PATCH",
            "/billing/accounts/A",
            {"customer": {"external_reference": "c", "colour": 1}},
            [("/customer/colour", "unknown_field"), ("/customer/external_reference", "not_updatable")],
        ),
        ("PATCH", "/billing/accounts/A", {"customer": "C"}, [("/customer", "invalid_type")]),
        ("PATCH", "/billing/bills/B", {"customer": "C"}, [("/customer", "invalid_type")]),
        ("PUT", "/billing/bills/B", {"customer": {}}, [("/customer/external_reference", "required")]),
    ],
)
def test_nested_objects_are_as_strict_as_the_whole(api, everything, records, method, path, body, errors):
    before = everything()
    response = api.call(method, path, body)
    assert (response.status_code, told(response)) == (400, errors)
    assert everything() == before


def test_a_void_takes_a_reason_and_nothing_else(api, everything, records):
    before = everything()
    for body, errors in (
        ({"reason": "x" * 501}, [("/reason", "too_long")]),
        ({"colour": 1}, [("/colour", "unknown_field")]),
        ({"status": "VOIDED"}, [("/status", "unknown_field")]),
    ):
        refused = api.post("/billing/bills/B/void", body, Idempotency_Key="k")
        assert (refused.status_code, told(refused)) == (400, errors)
    assert everything() == before
    voided = api.post("/billing/bills/B/void", {"reason": "x" * 500}, Idempotency_Key="k")
    assert (voided.status_code, voided.json()["void_reason"]) == (200, "x" * 500)


@pytest.mark.parametrize(
    ("kind", "required"),
    [
        ("customers", ["/external_reference"]),
        ("accounts", ["/customer", "/external_reference"]),
        ("bills", ["/amount_due", "/currency", "/customer", "/external_reference"]),
    ],
)
def test_everything_that_is_required_is_named_at_once(api, everything, kind, required):
    before = everything()
    response = api.post(f"/billing/{kind}", {})
    assert (response.status_code, told(response)) == (400, [(pointer, "required") for pointer in required])
    assert everything() == before


def test_a_bill_needs_an_owner_and_a_new_account_its_customer(api, everything, records):
    before = everything()
    orphan = {name: value for name, value in BILL.items() if name != "customer"}
    refused = api.post("/billing/bills", orphan)
    assert (refused.status_code, told(refused)) == (400, [("/customer", "required")])
    refused = api.post("/billing/bills", {**orphan, "account": {"external_reference": "a"}})
    assert (refused.status_code, told(refused)) == (400, [("/account/customer", "required")])
    twice = {"external_reference": "a", "customer": "C"}
    refused = api.post("/billing/bills", {**BILL, "account": twice})
    assert (refused.status_code, told(refused)) == (400, [("/account/customer", "customer_given_twice")])
    assert everything() == before


# --- One class of failure at a time, all of that class at once --------------------------------------------------------


def test_shape_then_parents_then_taken_references_then_business_rules(api, everything, records):
    before = everything()
    # Wrong in every way at once; each step mends what was told.
    body = {
        "external_reference": "B",  # taken
        "currency": "ZAR",
        "amount_due": 0,  # shape
        "bill_date": "x",  # shape
        "payment_rules": {"min_amount": 2, "max_amount": 1},  # business
        "account": {"external_reference": "A", "balance": 5, "customer": "nobody"},  # taken, business, parent
    }
    refused = api.post("/billing/bills", body)
    assert (refused.status_code, told(refused)) == (
        400,
        [("/amount_due", "out_of_range"), ("/bill_date", "invalid_date")],
    )
    body |= {"amount_due": 5, "bill_date": "2026-01-01"}
    refused = api.post("/billing/bills", body)
    assert (refused.status_code, told(refused)) == (422, [("/account/customer", "customer_not_found")])
    body["account"] = {**body["account"], "customer": "C"}
    refused = api.post("/billing/bills", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "external_reference_taken")
    assert {error["pointer"]: error["existing_id"] for error in refused.json()["errors"]} == {
        "/external_reference": records["id"],
        "/account/external_reference": records["account_id"],
    }
    body |= {"external_reference": "B2", "account": {**body["account"], "external_reference": "A2"}}
    refused = api.post("/billing/bills", body)
    assert (refused.status_code, told(refused)) == (
        422,
        [("", "bill_min_amount_above_max_amount"), ("/account", "account_balance_needs_currency")],
    )
    assert everything() == before
    body |= {"payment_rules": {}, "account": {**body["account"], "currency": "ZAR"}}
    assert api.post("/billing/bills", body).status_code == 201


def test_a_taken_reference_is_told_before_a_broken_rule(api, everything, records):
    api.post("/billing/customers", {"external_reference": "other"})
    before = everything()
    refused = api.post("/billing/customers", {"external_reference": "C", "balance": 5})
    assert (refused.status_code, told(refused)) == (409, [("/external_reference", "external_reference_taken")])
    assert refused.json()["errors"][0]["existing_id"] == records["customer_id"]
    bill = {**BILL, "external_reference": "B", "account": "A", "customer": "other"}
    refused = api.post("/billing/bills", bill)
    assert (refused.status_code, told(refused)) == (409, [("/external_reference", "external_reference_taken")])
    assert everything() == before


def test_a_put_that_creates_names_everything_it_lacks(api, everything):
    before = everything()
    refused = api.put("/billing/bills/new", {"description": "x"})
    assert (refused.status_code, told(refused)) == (
        400,
        [("/amount_due", "required"), ("/currency", "required"), ("/customer", "required")],
    )
    refused = api.put("/billing/accounts/new", {})
    assert (refused.status_code, told(refused)) == (400, [("/customer", "required")])
    refused = api.put("/billing/customers/new", {"external_reference": "old"})
    assert (refused.status_code, told(refused)) == (400, [("/external_reference", "reference_mismatch")])
    assert everything() == before


@pytest.mark.parametrize("kind", ["customers", "accounts"])
def test_a_balance_needs_a_currency_and_keeps_it_while_it_is_not_0(api, everything, records, kind):
    path, one = f"/billing/{kind}/{OLD[kind]}", kind.removesuffix("s")
    before = everything()
    refused = api.patch(path, {"balance": 5})
    assert (refused.status_code, refused.json()["code"]) == (422, f"{one}_balance_needs_currency")
    assert everything() == before
    assert api.patch(path, {"balance": 5, "currency": "ZAR"}).json()["balance"] == 5
    before = everything()
    for change, code in (
        ({"currency": "USD"}, f"{one}_currency_fixed_by_balance"),
        ({"balance": None}, f"{one}_balance_not_zero"),
    ):
        refused = api.patch(path, change)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert everything() == before
    assert api.patch(path, {"balance": 0}).status_code == 200
    assert api.patch(path, {"currency": "USD"}).json()["currency"] == "USD"
    assert api.patch(path, {"balance": None}).json()["balance"] is None


def test_amounts_add_up_to_the_limit_and_no_further(api, records):
    assert api.patch("/billing/bills/B", {"amount_due": MOST, "amount_paid": MOST}).json()["status"] == "PAID"
    assert api.patch("/billing/bills/B", {"amount_paid": MOST + 1}).status_code == 400
    assert Bill.objects.get().amount_paid == MOST
    assert Customer.objects.get().balance is None
