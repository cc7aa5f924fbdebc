"""How many statements a request sends, BEGIN and COMMIT counted, once its key is known."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db(transaction=True)

COMPOSITE = {
    "external_reference": "B",
    "currency": "ZAR",
    "amount_due": 5000,
    "account": {"external_reference": "A", "customer": {"external_reference": "C", "name": "John"}},
}
OPENING = {
    **COMPOSITE,
    "amount_paid": 1,
    "account": {
        "external_reference": "A",
        "currency": "ZAR",
        "balance": 7,
        "customer": {"external_reference": "C", "currency": "ZAR", "balance": 5},
    },
}


@pytest.fixture
def statements(transactional_db, api):
    """Send a request and return its statements."""

    def sent(method, path, body=None, **headers):
        assert api.get("/billing/entries").status_code == 200  # from now on the key is known
        with CaptureQueriesContext(connection) as captured:
            response = api.call(method, path, body, **headers)
        assert response.status_code in {200, 201}, response.content
        return [query["sql"] for query in captured.captured_queries]

    return sent


def test_begin_and_commit_are_counted(statements):
    sent = statements("POST", "/billing/bills", COMPOSITE)
    assert (sent[0], sent[-1]) == ("BEGIN", "COMMIT")
    assert sum(one.count("INSERT INTO") for one in sent) == 4


def test_the_first_request_of_a_key_asks_for_it_and_the_next_does_not(transactional_db, api):
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            assert api.get("/billing/entries").status_code == 200
        counts.append(sum("billers_apikey" in query["sql"] for query in captured.captured_queries))
    assert counts[0] > 0
    assert counts[1] == 0


@pytest.mark.parametrize("path", ["customers/C", "accounts/A", "bills/B", "bills/B?expand=customer,account"])
def test_a_get_sends_at_most_2(statements, api, path):
    api.post("/billing/bills", COMPOSITE)
    assert len(statements("GET", f"/billing/{path}")) <= 2


@pytest.mark.parametrize(
    "path",
    [
        "customers?limit=100",
        "customers?limit=100&sort=-name",
        "customers?limit=100&search=c&created_at_gte=2020-01-01",
        "accounts?limit=100",
        "accounts?limit=100&expand=customer&sort=name",
        "bills?limit=100",
        "bills?limit=100&expand=customer,account",
        "bills?limit=100&customer=C0&account=A0",
        "bills?limit=100&sort=-due_date&status=unpaid&search=b&overdue=false&metadata.a=b",
        "entries?limit=100",
        "entries?limit=100&kind=opening",
        "webhook_endpoints?limit=100",
        "deliveries?limit=100",
        "deliveries?limit=100&state=pending&created_at_gte=2020-01-01",
    ],
)
def test_a_list_sends_at_most_2_however_long_it_is(statements, api, path):
    counts = []
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            owner = {"external_reference": f"C{number}", "name": f"Name {number}", "currency": "ZAR", "balance": 1}
            account = {"external_reference": f"A{number}", "name": "Home", "customer": owner}
            bill = {"external_reference": f"B{number}", "currency": "ZAR", "amount_due": 1, "account": account}
            assert api.post("/billing/bills", {**bill, "metadata": {"a": "b"}}).status_code == 201
            if "webhook" in path or ("deliveries" in path and not number):
                made = api.post("/billing/webhook_endpoints", {"url": "https://x.example/", "events": ["bill.created"]})
                api.patch(f"/billing/webhook_endpoints/{made.json()['id']}", {"enabled": "deliveries" in path})
        api.get("/billing/events")
        counts.append(len(statements("GET", f"/billing/{path}")))
    assert counts[0] == counts[1] <= 2
    if "=C0" not in path:
        assert len(api.get(f"/billing/{path}").json()["data"]) == 30


@pytest.mark.parametrize("body", [COMPOSITE, OPENING], ids=["plain", "opening balances"])
def test_a_composite_create_of_three_objects_with_a_key_sends_5(statements, body):
    # BEGIN, the key, the rows all at once, the answer kept, COMMIT; 8, and 9 with openings, were asked for.
    assert len(statements("POST", "/billing/bills", body, Idempotency_Key="k")) == 5


def test_a_patch_of_amount_paid_sends_at_most_7_and_9_with_a_key(statements, api):
    api.post("/billing/bills", COMPOSITE)
    assert len(statements("PATCH", "/billing/bills/B", {"amount_paid": 1})) <= 7
    assert len(statements("PATCH", "/billing/bills/B", {"amount_paid": 5000})) <= 7  # which pays it
    assert len(statements("PATCH", "/billing/bills/B", {"amount_paid": 2}, Idempotency_Key="k")) <= 9


def test_a_refusal_of_the_shape_or_of_the_key_asks_the_database_nothing(transactional_db, api, api_for, biller):
    reader = api_for(biller, scope="read")
    for caller in (api, reader):
        assert caller.get("/billing/entries").status_code == 200
    with CaptureQueriesContext(connection) as captured:
        assert api.post("/billing/bills", {}).status_code == 400
        assert api.get("/billing/bills?limit=0").status_code == 400
        assert reader.post("/billing/bills", COMPOSITE).status_code == 403
    assert len(captured) == 0
