"""Every endpoint and every kind of caller; a route that is missing from the table fails the build."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billers.models import ApiKey
from billing_project.urls import urlpatterns
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry

NEW = {"external_reference": "door", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "doorman"}}
DOORS = {
    "billing/customers": {"GET": None, "POST": {"external_reference": "door"}, "PUT": {}},
    "billing/customers/<str:key>": {"GET": None, "PUT": {}, "PATCH": {"name": "x"}},
    "billing/accounts": {"GET": None, "POST": {"external_reference": "door", "customer": "C"}, "PUT": {}},
    "billing/accounts/<str:key>": {"GET": None, "PUT": {}, "PATCH": {"name": "x"}},
    "billing/bills": {"GET": None, "POST": NEW, "PUT": {}},
    "billing/bills/<str:key>": {"GET": None, "PUT": {}, "PATCH": {"description": "x"}},
    "billing/bills/<str:key>/void": {"POST": {}},
    "billing/entries": {"GET": None},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CASES = [(route, method) for route, methods in DOORS.items() for method in methods]
NAMES = {"customers": "C", "accounts": "A", "bills": "B", "entries": ""}


def path_of(route, ids=None):
    collection = route.split("/")[1]
    name = ids[collection] if ids else NAMES[collection]
    return "/" + route.replace("<str:key>", name)


def knock(caller, route, method, ids=None):
    path = path_of(route, ids)
    if method == "PUT" and "<" not in route:
        path += f"?external_reference={NAMES[route.split('/')[1]]}"
    return caller.call(method, path, DOORS[route][method], Idempotency_Key="door")


@pytest.fixture
def records(api):
    account = {"external_reference": "A", "customer": {"external_reference": "C", "name": "Secret Name"}}
    bill = api.post(
        "/billing/bills", {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "account": account}
    )
    return {"bills": bill.json()["id"], "accounts": bill.json()["account_id"], "customers": bill.json()["customer_id"]}


def test_every_route_of_the_api_is_in_the_table():
    routes = {str(pattern.pattern) for pattern in urlpatterns}
    assert {route for route in routes if route.startswith(("billing/", "partner/"))} == set(DOORS)


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_proper_key_opens_the_door(api, records, route, method):
    assert knock(api, route, method).status_code in {200, 201}


@pytest.mark.parametrize(("route", "method"), CASES)
def test_without_a_valid_key_nothing_opens(nobody, api_for, biller, records, route, method):
    for header in (
        None,
        "garbage",
        "Basic dXNlcjpwYXNz",
        "Bearer",
        "Bearer sk_unknown_key",
        "Bearer é",
        f"Bearer {'x' * 500}",
    ):
        nobody.key = None
        headers = {"Authorization": header} if header else {}
        path = path_of(route)
        response = nobody.call(method, path, DOORS[route][method], **headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.headers["Content-Type"] == "application/problem+json"
    revoked, expired = api_for(biller), api_for(biller, expires_at=timezone.now() - timedelta(seconds=1))
    ApiKey.objects.filter(public_part=ApiKey.public(revoked.key)).revoke(timezone.now())
    assert knock(revoked, route, method).json()["code"] == "api_key_revoked"
    assert knock(expired, route, method).json()["code"] == "api_key_expired"
    assert knock(expired, route, method).status_code == 403


@pytest.mark.parametrize(("route", "method"), CASES)
def test_a_read_key_reads_and_does_not_write(api_for, biller, records, route, method):
    before = [Customer.objects.count(), Bill.objects.count(), Entry.objects.count()]
    response = knock(api_for(biller, scope="read"), route, method)
    assert response.status_code == (200 if method == "GET" else 403)
    assert method == "GET" or response.json()["code"] == "api_key_out_of_scope"
    assert [Customer.objects.count(), Bill.objects.count(), Entry.objects.count()] == before


@pytest.mark.parametrize("stranger", ["other", "test_biller"])
@pytest.mark.parametrize(("route", "method"), [case for case in CASES if "<" in case[0] and case[1] != "PUT"])
def test_what_belongs_to_another_biller_or_mode_looks_absent(request, api_for, records, route, method, stranger):
    caller = api_for(request.getfixturevalue(stranger))
    foreign = knock(caller, route, method, records)
    absent = knock(
        caller, route, method, {name: one[:-1] + ("0" if one[-1] != "0" else "1") for name, one in records.items()}
    )
    assert foreign.status_code == absent.status_code == 404
    blank = [
        response.content.decode().replace(records[route.split("/")[1]][5:-1], "") for response in (foreign, absent)
    ]
    assert len(blank[0]) == len(blank[1])
    assert "Secret" not in foreign.content.decode()


@pytest.mark.parametrize("stranger", ["other", "test_biller"])
def test_another_billers_parents_cannot_be_named_filtered_or_listed(request, api, api_for, records, stranger):
    caller = api_for(request.getfixturevalue(stranger))
    for parent in ({"customer": records["customers"]}, {"account": records["accounts"]}, {"customer": "C"}):
        body = {"external_reference": "x", "currency": "ZAR", "amount_due": 1, **parent}
        assert caller.post("/billing/bills", body).status_code == 422
    for query in (
        "",
        f"?customer={records['customers']}",
        "?customer=C",
        f"?account={records['accounts']}",
        "?search=B",
    ):
        assert caller.get(f"/billing/bills{query}").json()["data"] == []
    assert caller.get(f"/billing/entries?obligation={records['bills']}").json()["data"] == []
    assert Bill.objects.count() == 1


def test_an_idempotency_key_belongs_to_one_biller_in_one_mode(api, api_for, other, test_biller):
    bodies = {
        caller: caller.post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="same")
        for caller in (api, api_for(other), api_for(test_biller))
    }
    assert [response.status_code for response in bodies.values()] == [201, 201, 201]
    assert len({response.json()["id"] for response in bodies.values()}) == 3


@pytest.mark.parametrize("debug", [True, False])
def test_there_is_no_delete_and_nothing_but_problems_where_nothing_is(api, records, settings, debug):
    settings.DEBUG = debug
    for route, offered in DOORS.items():
        for method in set(METHODS) - set(offered):
            assert api.call(method, path_of(route)).status_code == 405, (route, method)
    for path in (
        "/billing",
        "/billing/",
        "/billing/bills/",
        "/billing/bills/B/",
        "/billing/nothing",
        "/partner",
        "/partner/x",
    ):
        response = api.get(path)
        assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json"), path
