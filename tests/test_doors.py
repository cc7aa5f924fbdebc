"""Every endpoint and every kind of caller; a route or a method that is missing from the table fails the build."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.authentication import Caller
from billers.models import ApiKey
from billing_project.urls import urlpatterns
from bills.models import Bill
from customers.models import Customer
from imports.models import Import, Piece, What

NEW = {"external_reference": "door", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "doorman"}}
PAYMENT = {"external_reference": "door", "obligation": "$payable", "amount": 1, "currency": "ZAR", "method": "cash"}
SHEET = b"external_reference,currency,amount_due,customer_external_reference\nDOOR,ZAR,5,C\n"
DOORS = {
    "billing/customers": {"GET": None, "POST": {"external_reference": "door"}, "PUT": {"name": "x"}},
    "billing/customers/<str:key>": {"GET": None, "PUT": {"name": "x"}, "PATCH": {"name": "x"}},
    "billing/accounts": {
        "GET": None,
        "POST": {"external_reference": "door", "customer": "C"},
        "PUT": {"customer": "C", "name": "x"},
    },
    "billing/accounts/<str:key>": {"GET": None, "PUT": {"customer": "C", "name": "x"}, "PATCH": {"name": "x"}},
    "billing/bills": {"GET": None, "POST": NEW, "PUT": {"description": "x"}},
    "billing/bills/<str:key>": {"GET": None, "PUT": {"description": "x"}, "PATCH": {"description": "x"}},
    "billing/bills/<str:key>/void": {"POST": {}},
    "billing/customers/<str:key>/payer_reference": {"GET": None, "POST": {}},
    "billing/accounts/<str:key>/payer_reference": {"GET": None, "POST": {}},
    "billing/bills/<str:key>/payer_reference": {"GET": None, "POST": {}},
    "billing/entries": {"GET": None},
    "partner/billers": {"GET": None},
    "billing/reports/ageing": {"GET": None},
    "billing/reports/collections": {"GET": None},
    "partner/settlements/<str:date>": {"GET": None},
    "billing/payments": {"GET": None, "POST": PAYMENT},
    "billing/payments/<str:key>": {"GET": None},
    "billing/payments/<str:key>/reverse": {"POST": {"reason": "x"}},
    "partner/obligations": {"GET": None},
    "partner/payments": {"GET": None, "POST": PAYMENT},
    "partner/payments/<str:key>": {"GET": None},
    "partner/payments/<str:key>/reverse": {"POST": {"reason": "x"}},
    "billing/events": {"GET": None},
    "billing/webhook_endpoints": {"GET": None, "POST": {"url": "https://door.example/"}},
    "billing/webhook_endpoints/<str:key>": {"GET": None, "PATCH": {"description": "x"}},
    "billing/webhook_endpoints/<str:key>/rotate": {"POST": {}},
    "billing/deliveries": {"GET": None},
    "billing/deliveries/<str:key>": {"GET": None},
    "billing/deliveries/<str:key>/redeliver": {"POST": {}},
    "billing/imports": {"GET": None, "POST": SHEET},
    "billing/imports/<str:key>": {"GET": None},
    "billing/imports/<str:key>/cancel": {"POST": {}},
    "billing/imports/<str:key>/errors": {"GET": None},
}
OPEN = {"", "openapi.json", "docs", "problems/<slug:code>", "health/live", "health/ready"}
CONSOLE = "admin/"
NOWHERE = "^(?:billing|partner)(?:/|$)"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CASES = [(route, method) for route, methods in DOORS.items() for method in methods]
SIDES = {"billing": "biller", "partner": "partner"}
"""Whose keys open what begins with the word."""
BY_NAME = [(route, method) for route, method in CASES if "<str:key>" in route and method != "PUT"]
BY_PARTNERS = [case for case in BY_NAME if case[0].startswith("partner")]
BY_NAME = [case for case in BY_NAME if case not in BY_PARTNERS]
NAMES = {"customers": "C", "accounts": "A", "bills": "B", "payments": "P"}
NAMED_BY_US = {"webhook_endpoints", "deliveries", "imports"}
STRANGERS = pytest.mark.parametrize("stranger", ["other", "test_biller"])


def path_of(route, names=NAMES):
    path = route.replace("<str:date>", "2026-01-31")
    asked = "?biller=acme&reference=B" if route == "partner/obligations" else ""
    return "/" + path.replace("<str:key>", names.get(route.split("/")[1], "nothing")) + asked


def knock(caller, route, method, names=NAMES, **headers):
    path = path_of(route, names)
    if method == "PUT" and "<" not in route:
        path += f"?external_reference={names[route.split('/')[1]]}"
    body = DOORS[route][method]
    if body is SHEET:
        path, headers = f"{path}?kind=bills", {"Content_Type": "text/csv", **headers}
    if body is PAYMENT:
        body = {**body, "obligation": PAYABLE[0]}
    return caller.call(method, path, body, **{"Idempotency_Key": "door", **headers})


PAYABLE = ["bacc_0000000000000000000000"]
"""What payments of the table pay, once the records are there."""


def side_of(route):
    return SIDES[route.partition("/")[0]]


def ours(records):
    """Return the names of the records that only we name."""
    return {kind: name for kind, name in records.items() if kind in NAMED_BY_US}


def absent(name):
    """Return an id of the same kind that nothing has."""
    return name[:-1] + ("0" if name[-1] != "0" else "1")


@pytest.fixture
def records(api, partner_api):
    account = {
        "external_reference": "A",
        "currency": "ZAR",
        "balance": 7,
        "customer": {"external_reference": "C", "name": "Secret Name"},
    }
    bill = api.post(
        "/billing/bills", {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "account": account}
    )
    PAYABLE[:] = [bill.json()["account_id"]]
    for name in ("customers/C", "accounts/A", "bills/B"):
        api.post(f"/billing/{name}/payer_reference")
    payment = {**PAYMENT, "external_reference": "P", "obligation": PAYABLE[0]}
    paid = api.post("/billing/payments", payment, Idempotency_Key="paid").json()
    partner_api.post("/partner/payments", payment, Idempotency_Key="paid")
    endpoint = api.post("/billing/webhook_endpoints", {"url": "https://door.example/"}).json()
    api.get("/billing/events")
    delivery = api.get("/billing/deliveries").json()["data"][0]
    sent = api.call("POST", "/billing/imports?kind=bills", b"nothing,of,ours\n", Content_Type="text/csv").json()
    refused = Import.objects.get(pk=sent["id"])
    Piece.objects.keep(refused, What.REFUSED, [b"_line,_errors\r\n"])
    return {
        "imports": sent["id"],
        "bills": bill.json()["id"],
        "accounts": bill.json()["account_id"],
        "customers": bill.json()["customer_id"],
        "payments": paid["id"],
        "webhook_endpoints": endpoint["id"],
        "deliveries": delivery["id"],
    }


@pytest.fixture
def owner(request, route):
    """Whose keys open the door."""
    return request.getfixturevalue(side_of(route))


@pytest.fixture
def caller(api_for, owner):
    """A caller with a write key that opens the door."""
    return api_for(owner)


@pytest.fixture
def intruder(request, api_for, stranger):
    """A caller with a key of another biller, or of the same biller's test mode."""
    return api_for(request.getfixturevalue(stranger))


def test_every_route_and_method_is_in_the_table():
    offered = {}
    for pattern in urlpatterns:
        actions = getattr(pattern.callback, "actions", None)
        offered[str(pattern.pattern)] = actions and {method.upper() for method in actions} - {"HEAD"}
    assert {route: methods for route, methods in offered.items() if methods} == {
        route: set(methods) for route, methods in DOORS.items()
    }
    assert {route for route, methods in offered.items() if not methods} == OPEN | {CONSOLE, NOWHERE}


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/problems/not_found", "/health/live", "/health/ready"])
def test_documents_and_health_need_no_key(nobody, db, path):
    assert nobody.get(path).status_code == 200


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_proper_key_opens_the_door(caller, records, route, method):
    created = method == "POST" and ("<" not in route or "reverse" in route)
    later = "redeliver" in route or (route == "billing/imports" and method == "POST")
    expected = 202 if later else 201 if created else 200
    assert knock(caller, route, method, {**NAMES, **ours(records)}).status_code == expected


@pytest.mark.parametrize(("route", "method"), CASES)
def test_without_a_valid_key_nothing_opens(nobody, caller, everything, records, route, method):
    before = everything()
    public = ApiKey.public(caller.key)
    for header, code in (
        (None, "api_key_required"),
        ("", "api_key_required"),
        ("garbage", "api_key_required"),
        ("Basic dXNlcjpwYXNz", "api_key_required"),
        (f"Token {caller.key}", "api_key_required"),
        (caller.key, "api_key_required"),
        ("Bearer", "api_key_required"),
        ("Bearer sk_unknown_key", "invalid_api_key"),
        (f"Bearer {public}", "invalid_api_key"),
        (f"Bearer {public}_wrong", "invalid_api_key"),
        (f"Bearer {caller.key}x", "invalid_api_key"),
        (f"Bearer {caller.key[:-1]}", "invalid_api_key"),
        (f"Bearer {caller.key} {caller.key}", "invalid_api_key"),
        ("Bearer é", "invalid_api_key"),
        ("Bearer \0", "invalid_api_key"),
        (f"Bearer {'x' * 5000}", "invalid_api_key"),
    ):
        headers = {} if header is None else {"Authorization": header}
        response = nobody.call(method, path_of(route), DOORS[route][method], Idempotency_Key="door", **headers)
        assert (response.status_code, response.json()["code"]) == (401, code), header
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "Secret" not in response.content.decode()
    assert everything() == before


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_revoked_or_expired_key_opens_nothing(api_for, owner, everything, records, route, method):
    before = everything()
    revoked, expired = api_for(owner), api_for(owner, expires_at=timezone.now() - timedelta(seconds=1))
    ApiKey.objects.filter(public_part=ApiKey.public(revoked.key)).revoke(timezone.now())
    for caller, code in ((revoked, "api_key_revoked"), (expired, "api_key_expired")):
        response = knock(caller, route, method)
        assert (response.status_code, response.json()["code"]) == (403, code)
    assert everything() == before


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_read_key_reads_and_does_not_write(api_for, owner, everything, records, route, method):
    before = everything()
    response = knock(api_for(owner, scope="read"), route, method, {**NAMES, **ours(records)})
    assert response.status_code == (200 if method == "GET" else 403)
    assert method == "GET" or response.json()["code"] == "api_key_out_of_scope"
    assert everything() == before


@pytest.mark.parametrize("mode", ["live", "test"])
@pytest.mark.parametrize("scope", ["read", "write"])
@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_key_of_the_other_side_opens_nothing_and_is_told_whose_it_is(
    api_for, pair, partners, everything, records, route, method, scope, mode
):
    before = everything()
    wrong, told = {
        "biller": (partners, "The API key is a partner's; this address takes a biller's."),
        "partner": (pair, "The API key is a biller's; this address takes a partner's."),
    }[side_of(route)]
    caller = api_for(wrong[mode], scope=scope)
    for names in (NAMES, records):
        refused = knock(caller, route, method, {**NAMES, **names})
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["detail"]) == (403, "api_key_out_of_scope", told)
    assert everything() == before


@pytest.mark.parametrize("owner", ["partner", "test_partner", "other_partner"])
def test_an_unknown_key_is_401_on_either_side_whoever_it_resembles(request, api_for, nobody, owner):
    key = api_for(request.getfixturevalue(owner)).key
    for route in DOORS:
        refused = nobody.get(path_of(route), Authorization=f"Bearer {key[:-1]}{'a' if key[-1] != 'a' else 'b'}")
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")


@STRANGERS
@pytest.mark.parametrize(("route", "method"), BY_NAME)
def test_what_belongs_to_another_biller_or_mode_is_answered_as_absent(
    intruder, everything, records, route, method, stranger
):
    before = everything()
    nothing = {kind: absent(name) for kind, name in records.items()}
    kind = route.split("/")[1]
    for headers in ({}, {"If_Match": '"1"'}, {"If_Match": "*"}, {"If_Match": '"9"'}, {"If_None_Match": '"1"'}):
        theirs = knock(intruder, route, method, records, **headers)
        nobodys = knock(intruder, route, method, nothing, **headers)
        assert theirs.status_code == nobodys.status_code == 404, headers
        told = theirs.content.decode().replace(records[kind], "it")
        assert told == nobodys.content.decode().replace(nothing[kind], "it")
        assert set(theirs.headers) == set(nobodys.headers)
    assert knock(intruder, route, method).status_code == 404  # by the biller's own reference
    assert everything() == before


@pytest.mark.parametrize("stranger", ["other_partner", "test_partner"])
@pytest.mark.parametrize(("route", "method"), BY_PARTNERS)
def test_what_another_partner_took_is_answered_as_absent(
    api_for, request, partner_api, everything, records, route, method, stranger
):
    intruder = api_for(request.getfixturevalue(stranger))
    taken = partner_api.get("/partner/payments/P").json()["id"]
    before = everything()
    theirs, nobodys = (knock(intruder, route, method, {"payments": name}) for name in (taken, absent(taken)))
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content.decode().replace(taken, "it") == nobodys.content.decode().replace(absent(taken), "it")
    assert everything() == before
    assert intruder.get("/partner/payments").json()["data"] == []
    assert intruder.get("/partner/payments/P").status_code == 404


@STRANGERS
def test_a_put_under_another_billers_id_or_reference_makes_a_row_of_ones_own(api, intruder, records, stranger):
    theirs = {path: api.get(path).content for path in (f"/billing/{kind}/{key}" for kind, key in records.items())}
    for name in ("C", records["customers"]):
        made = intruder.put(f"/billing/customers/{name}", {"name": "Mine"})
        assert (made.status_code, made.json()["external_reference"]) == (201, name)
        assert made.json()["id"] not in records.values()
    assert {path: api.get(path).content for path in theirs} == theirs


@STRANGERS
def test_another_billers_parents_in_a_body_are_answered_as_absent(intruder, everything, records, stranger):
    before = everything()
    bill = {"external_reference": "x", "currency": "ZAR", "amount_due": 1}
    for field, kind in (("customer", "customers"), ("account", "accounts")):
        answers = []
        for name in (records[kind], absent(records[kind]), NAMES[kind]):
            refused = intruder.post("/billing/bills", {**bill, field: name})
            assert (refused.status_code, refused.json()["code"]) == (422, f"{field}_not_found")
            answers.append(refused.content.decode().replace(f"“{name}”", "it"))
        assert len(set(answers)) == 1
    for body, code in (
        ({"account": {"external_reference": "a", "customer": records["customers"]}}, "customer_not_found"),
        ({"account": {"external_reference": "a"}, "customer": records["customers"]}, "customer_not_found"),
        ({"account": records["accounts"], "customer": records["customers"]}, "account_not_found"),
    ):
        refused = intruder.post("/billing/bills", {**bill, **body})
        put = intruder.put("/billing/bills/x", {**bill, **body})
        for answer in (refused, put):
            assert (answer.status_code, code in [error["code"] for error in answer.json()["errors"]]) == (422, True)
    account = {"external_reference": "a", "customer": records["customers"]}
    assert intruder.post("/billing/accounts", account).status_code == 422
    assert intruder.put("/billing/accounts/a", account).status_code == 422
    assert everything() == before


@STRANGERS
def test_another_billers_child_under_ones_own_parent_is_absent(api_for, intruder, records, stranger):
    intruder.put("/billing/customers/C", {})
    bill = {"external_reference": "x", "currency": "ZAR", "amount_due": 1, "customer": "C"}
    refused = intruder.post("/billing/bills", {**bill, "account": records["accounts"]})
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [
        ("/account", "account_not_found")
    ]
    assert intruder.get("/billing/bills").json()["data"] == []


@STRANGERS
def test_lists_filters_and_cursors_reach_no_other_billers_rows(api, intruder, records, stranger):
    event = api.get(f"/billing/deliveries/{records['deliveries']}").json()["event_id"]
    for query in (
        "bills?",
        f"bills?customer={records['customers']}",
        "bills?customer=C",
        f"bills?account={records['accounts']}",
        "bills?account=A",
        "bills?external_reference=B",
        "bills?search=B",
        "bills?amount_due_gte=1",
        f"accounts?customer={records['customers']}",
        "accounts?expand=customer",
        "customers?search=Secret",
        "entries?kind=opening",
        f"entries?kind=opening&obligation={records['accounts']}",
        "webhook_endpoints?enabled=true",
        f"deliveries?endpoint={records['webhook_endpoints']}&event={event}",
        "deliveries?state=pending&limit=1",
        "imports?status=queued&kind=bills",
        "events?limit=1",
    ):
        assert intruder.get(f"/billing/{query}").json()["data"] == [], query
        mine = query.replace("amount_due_gte=1", "amount_due_gte=5")
        assert len(api.get(f"/billing/{mine}").json()["data"]) == 1, query
    api.post("/billing/customers", {"external_reference": "C2"})
    for sort in ("", "&sort=created_at", "&sort=name"):
        cursor = api.get(f"/billing/customers?limit=1{sort}").json()["next_cursor"]
        page = intruder.get(f"/billing/customers?limit=1{sort}&cursor={cursor}")
        assert (page.status_code, page.json()["data"]) == (200, [])


@STRANGERS
def test_an_idempotency_key_belongs_to_one_biller_in_one_mode(api, intruder, stranger):
    first = api.post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="same")
    same = intruder.post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="same")
    assert (first.status_code, same.status_code) == (201, 201)
    assert "Idempotent-Replayed" not in same.headers
    assert first.json()["id"] != same.json()["id"]
    different = intruder.post("/billing/customers", {"external_reference": "d"}, Idempotency_Key="other")
    assert different.status_code == 201
    assert Customer.objects.count() == 3


def test_an_idempotency_key_belongs_to_one_caller_whoever_else_uses_the_same(api, partner, partners, biller):
    scopes = {Caller("key_x", owner, "write", None).scope_id for owner in (biller, *partners.values())}
    assert len(scopes) == 3
    assert Caller("key_y", partner, "read", None).scope_id in scopes


def test_two_keys_of_one_biller_share_its_idempotency_keys(api, api_for, biller):
    first = api.post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="same")
    again = api_for(biller).post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="same")
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (201, first.content, "true")


def test_live_and_test_keys_look_different(api, api_for, test_biller):
    assert api_for(test_biller).key.startswith("sk_test_")
    assert api.key.startswith("sk_")
    assert not api.key.startswith("sk_test_")


@pytest.mark.parametrize("debug", [True, False])
def test_a_method_that_is_not_offered_is_405_and_nothing_can_be_deleted(
    api, partner_api, everything, records, settings, debug
):
    settings.DEBUG = debug
    before = everything()
    for route, offered in DOORS.items():
        caller = {"biller": api, "partner": partner_api}[side_of(route)]
        for method in set(METHODS) - set(offered):
            response = caller.call(method, path_of(route))
            assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed"), (route, method)
            assert set(response.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == set(offered), (route, method)
    assert everything() == before
    assert Bill.objects.count() == 1


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/billing",
        "/billing/",
        "/billing/bills/",
        "/billing/bills/B/",
        "/billing/bills/B/void/",
        "/billing/bills/B/pay",
        "/billing/nothing",
        "/billing//bills",
        "/billing/bills.json",
        "/billing/v1/bills",
        "/partner",
        "/partner/",
        "/partner/x",
        "/partner/billers/",
        "/partner/billers/acme",
        "/partner/bills",
        "/billing/billers",
        "/billing/%00",
        "/billing/bills/%0A/void/x",
    ],
)
def test_an_unknown_path_or_a_trailing_slash_is_a_404_problem(api, records, settings, debug, path, method):
    settings.DEBUG = debug
    response = api.call(method, path)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
    assert response.json()["code"] == "not_found"
    assert response.json()["status"] == 404
