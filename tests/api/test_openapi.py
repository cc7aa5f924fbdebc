"""The document is valid, and every operation and status answers exactly what the document says."""

import json
from datetime import timedelta
from functools import cache

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.management.commands import openapi
from billers.models import ApiKey
from events.models import MOST_ENDPOINTS, Type, WebhookEndpoint
from imports.models import Import, Piece, What

DOCUMENT = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())
# What every answer of a web application carries, whatever it is about.
OF_EVERY_ANSWER = {
    "Content-Type",
    "Content-Length",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
}
OPERATIONS = {
    told["operationId"]: (method.upper(), path, told)
    for path, methods in DOCUMENT["paths"].items()
    for method, told in methods.items()
}
PAYMENT = {"external_reference": "N", "obligation": "$bill", "amount": 1, "currency": "ZAR", "method": "cash"}
BODIES = {
    "customers_create": {"external_reference": "N", "name": "Jo", "email": "jo@example.com", "phone": "+27821234567"},
    "customers_put": {"payment_rules": {"min_amount": 5, "underpayment_allowed": False}},
    "customers_put_by_query": {"metadata": {"route": "7", "gone": None}},
    "customers_update": {"currency": "ZAR", "balance": -999_999_999_999},
    "accounts_create": {
        "external_reference": "N",
        "customer": {"external_reference": "M"},
        "balance": 0,
        "currency": "JPY",
    },
    "accounts_put": {"name": "Main", "customer": {"external_reference": "C", "name": "Jo"}},
    "accounts_put_by_query": {"customer": "C"},
    "accounts_update": {"customer": {"name": "Ann"}, "payment_rules": {"max_amount": None}},
    "bills_create": {
        "external_reference": "N",
        "currency": "ZAR",
        "amount_due": 999_999_999_999,
        "amount_paid": 7,
        "due_date": "2026-01-31",
        "account": {"external_reference": "N", "customer": {"external_reference": "N"}},
    },
    "bills_put": {"amount_due": 2000, "account": {"external_reference": "A", "name": "x"}},
    "bills_put_by_query": {"description": "January", "due_date": None},
    "bills_update": {"amount_paid": 9000, "account": {"name": "y", "customer": {"name": "Eve"}}},
    "bills_void": {"reason": "typed twice"},
    "webhook_endpoints_create": {"url": "https://hooks.example/billing", "events": ["bill.paid"], "description": "ERP"},
    "webhook_endpoints_update": {"events": ["*"], "enabled": False},
    "webhook_endpoints_rotate": {},
    "deliveries_redeliver": {},
    "customers_payer_reference_make": {},
    "accounts_payer_reference_make": {},
    "bills_payer_reference_make": {},
    "payments_create": {**PAYMENT, "metadata": {"note": "x"}, "paid_at": "2026-01-31T10:00:00+02:00"},
    "payments_reverse": {"reason": "typed twice"},
    "imports_create": "external_reference,currency,amount_due,customer_external_reference\nN,ZAR,5,C\n",
    "imports_cancel": {},
    "partner_payments_create": PAYMENT,
    "partner_payments_reverse": {"reason": "no answer"},
}
FILES = {"imports_create"}
"""Whose bodies are files."""
QUERIES = {"partner_obligations_list": "biller=acme&reference=B", "imports_create": "kind=bills"}
"""What a question cannot do without."""
MALFORMED = {"nonsense": 1, "external_reference": " "}
CREATED = {name for name in BODIES if name.endswith(("_create", "_payer_reference_make", "_reverse"))}
BODILESS = {"bills_void", "webhook_endpoints_rotate", "deliveries_redeliver", "imports_cancel"}
BODILESS |= {name for name in BODIES if name.endswith("_payer_reference_make")}
OURS = {}
"""Our ids of the records that have no reference."""
WRITES = sorted(BODIES)
READS = sorted(set(OPERATIONS) - set(BODIES) - {"health_live", "health_ready"})
LISTS = [name for name in READS if name.endswith("_list") and name not in QUERIES]
ONES = [name for name in READS if name.endswith("_get")]


@cache
def schema_of(operation, status):
    answer = OPERATIONS[operation][2]["responses"][str(status)]
    media, content = next(iter(answer["content"].items()))
    schema = Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})
    return media, schema, Draft202012Validator.FORMAT_CHECKER


def path_of(operation, key=None):
    path = OPERATIONS[operation][1]
    collection = path.split("/")[2]
    name = key or OURS.get(collection) or collection[0].upper()
    if operation.endswith("_by_query"):
        return f"{path}?external_reference={name}"
    path = path.replace("{key}", name).replace("{date}", key or "2026-01-31")
    return f"{path}?{QUERIES[operation]}" if operation in QUERIES else path


def call(caller, operation, body="its own", query="", key=None, **headers):
    """Send a request and hold its answer to the document."""
    method = OPERATIONS[operation][0]
    path = path_of(operation, key)
    if requires_a_key(operation) and body != "{":
        headers.setdefault("Idempotency_Key", "once")
    sent = BODIES.get(operation) if body == "its own" else body
    if operation in FILES and isinstance(sent, str):
        headers.setdefault("Content_Type", "text/csv")
    if isinstance(sent, dict) and sent.get("obligation") == "$bill":
        sent = {**sent, "obligation": OURS["bill"]}
    response = caller.call(
        method, f"{path}{'&' if query and '?' in path else '?' if query else ''}{query}", sent, **headers
    )
    conforms(response, operation)
    return response


def requires_a_key(operation):
    parameters = OPERATIONS[operation][2].get("parameters", [])
    return any(one["name"] == "Idempotency-Key" and one["required"] for one in parameters)


def conforms(response, operation):
    told = OPERATIONS[operation][2]["responses"]
    assert str(response.status_code) in told, f"{operation}: {response.status_code} is not documented"
    answer = told[str(response.status_code)]
    allowed = set(answer["headers"]) | OF_EVERY_ANSWER
    assert set(response.headers) <= allowed, f"{operation}: {set(response.headers) - allowed}"
    assert "X-Request-Id" in response.headers
    for name, header in answer["headers"].items():
        if name in response.headers:
            Draft202012Validator(header["schema"]).validate(response.headers[name])
    if "content" not in answer:
        assert response.content == b""
        return
    media, schema, formats = schema_of(operation, response.status_code)
    assert response.headers["Content-Type"] == media
    if media == "text/csv":
        assert response.getvalue()
        return
    body = response.json()
    Draft202012Validator(schema.schema, format_checker=formats).validate(body)
    if response.status_code >= 400:
        assert body["status"] == response.status_code
        assert body["type"] == f"/problems/{body['code']}"


@pytest.fixture
def owner(operation, biller, partner):
    """Whose keys open the operation."""
    return partner if operation.startswith("partner_") else biller


@pytest.fixture
def caller(api_for, owner):
    """A caller with a write key of the kind that opens the operation."""
    return api_for(owner)


@pytest.fixture
def records(api, partner_api):
    account = {"external_reference": "A", "customer": {"external_reference": "C"}}
    for number in range(3):
        bill = {
            "external_reference": f"B{number or ''}",
            "currency": "ZAR",
            "amount_due": 5,
            "metadata": {"route": "7"},
        }
        api.post("/billing/bills", {**bill, "account": account})
        account = "A"
    api.post("/billing/bills", {**bill, "external_reference": "D", "customer": "C", "due_date": "2020-01-01"})
    api.patch("/billing/bills/B1", {"amount_paid": 2})
    for _ in range(2):
        endpoint = api.post("/billing/webhook_endpoints", {"url": "https://hooks.example/"}).json()
    api.get("/billing/events")
    delivery = api.get(f"/billing/deliveries?endpoint={endpoint['id']}").json()["data"][0]
    sent = api.call("POST", "/billing/imports?kind=bills", "_line\n", Content_Type="text/csv").json()
    Piece.objects.keep(Import.objects.get(pk=sent["id"]), What.REFUSED, [b"_line,_errors\r\n"])
    OURS.update(webhook_endpoints=endpoint["id"], deliveries=delivery["id"], imports=sent["id"])
    owed = {**bill, "external_reference": "O", "amount_due": 100, "customer": "C"}
    OURS["bill"] = api.post("/billing/bills", owed).json()["id"]
    payment = {**PAYMENT, "external_reference": "P", "obligation": OURS["bill"]}
    for caller, side in ((api, "billing"), (partner_api, "partner")):
        assert caller.post(f"/{side}/payments", payment, Idempotency_Key="taken").status_code == 201
    for named in ("customers/C", "accounts/A", "bills/B"):
        assert api.post(f"/billing/{named}/payer_reference").status_code == 201


def test_the_document_is_valid_and_complete():
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert len(OPERATIONS) == sum(map(len, DOCUMENT["paths"].values())), "two operations share an operationId"
    for name, (_, _, told) in OPERATIONS.items():
        assert told["summary"], name
        assert name.startswith("health") or told["security"] == [{"apiKey": []}]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_body_and_every_answer_has_examples_of_its_schema(operation):
    told = OPERATIONS[operation][2]
    contents = {"body": told.get("requestBody", {}).get("content", {})}
    contents |= {status: answer.get("content", {}) for status, answer in told["responses"].items()}
    assert (bool(contents["body"])) == (operation in BODIES)
    for place, content in contents.items():
        for media in content.values():
            schema = Draft202012Validator(
                {**media["schema"], "components": DOCUMENT["components"]},
                format_checker=Draft202012Validator.FORMAT_CHECKER,
            )
            examples = [one["value"] for one in media.get("examples", {}).values()]
            examples += [media["example"]] if "example" in media else []
            assert examples, f"{operation}: no example of {place}"
            for example in examples:
                schema.validate(example)


@pytest.mark.parametrize("operation", WRITES)
def test_writes_answer_what_is_documented(caller, records, operation):
    first = call(caller, operation, Idempotency_Key="k")
    # What has a payer reference is told it again.
    expected = 200 if operation.endswith("_payer_reference_make") else 201 if operation in CREATED else 200
    assert first.status_code == (202 if "redeliver" in operation or operation in FILES else expected)
    again = call(caller, operation, Idempotency_Key="k")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    if "_put" in operation and not operation.startswith("bills"):
        parent = {"customer": "C"} if operation.startswith("accounts") else {}
        assert call(caller, operation, parent, key="NEW").status_code == 201


@pytest.mark.parametrize("operation", WRITES)
def test_the_bodies_that_pass_are_of_the_documented_schema(operation):
    content = next(iter(OPERATIONS[operation][2]["requestBody"]["content"].values()))
    schema = Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})
    schema.validate(BODIES[operation])
    assert not schema.is_valid(MALFORMED)


@pytest.mark.parametrize("operation", READS)
def test_reads_answer_what_is_documented(caller, records, operation):
    parameters = {one["name"]: one["schema"] for one in OPERATIONS[operation][2]["parameters"] if one["in"] == "query"}
    assert call(caller, operation).status_code == 200
    if "expand" in parameters:
        assert (
            call(caller, operation, query=f"expand={','.join(parameters['expand']['items']['enum'])}").status_code
            == 200
        )
    if "304" in OPERATIONS[operation][2]["responses"]:
        tag = call(caller, operation).headers["ETag"]
        assert call(caller, operation, If_None_Match=tag).status_code == 304
    if "cursor" not in parameters:
        return
    assert call(caller, operation, query="limit=1").status_code == 200
    for order in parameters.get("sort", {"enum": []})["enum"]:
        page = call(caller, operation, query=f"sort={order}&limit=1")
        cursor = page.json()["next_cursor"]
        assert (
            cursor is None or call(caller, operation, query=f"sort={order}&limit=1&cursor={cursor}").status_code == 200
        )


@pytest.mark.parametrize("operation", LISTS)
def test_every_documented_filter_is_one(caller, records, operation):
    samples = {"integer": "5", "boolean": "true", "date": "2026-01-01"}
    for one in OPERATIONS[operation][2]["parameters"]:
        if one["in"] != "query" or one["name"] in {"limit", "cursor", "sort", "expand", "columns"}:
            continue
        schema, name = one["schema"], one["name"]
        value = schema["enum"][0] if "enum" in schema else samples.get(schema.get("format") or schema["type"], "ZAR")
        value = "2026-01-01T10:00:00Z" if "_at_" in name or name == "as_of" else value
        asked = "metadata.route=7" if name == "metadata" else f"{name}={value}"
        assert call(caller, operation, query=asked).status_code == 200, asked


@pytest.mark.parametrize("operation", [*READS, *WRITES])
def test_refusals_of_every_operation_are_documented(caller, api_for, owner, nobody, records, monkeypatch, operation):
    method, template, _ = OPERATIONS[operation]
    seen = [call(nobody, operation), call(caller, operation, Authorization="Bearer sk_nobody")]
    key, text = ApiKey.objects.issue(owner)
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    seen += [call(caller, operation, Authorization=f"Bearer {text}")]
    seen += [call(api_for(owner, expires_at=timezone.now() - timedelta(hours=1)), operation)]
    seen += [call(caller, operation, query="nonsense=1"), call(caller, operation, query="nonsense=1&nonsense=2")]
    seen += [call(caller, operation, Accept="image/png")]
    if "{key}" in template and "_put" not in operation:
        # A reference that a partner reverses may still come; an id of ours may not.
        absent = f"pay_{'0' * 22}" if "payments" in operation else "absent"
        seen += [call(caller, operation, key=absent)]
    if operation == "partner_obligations_list" or "settlements" in operation:
        seen += [call(caller, operation, query="biller=nobody" if "settlements" in operation else "")]
        seen += [caller.get(path_of(operation).replace("=B", "=nobody"))]
    deleted = caller.call("DELETE", path_of(operation))
    conforms(deleted, operation)
    seen += [deleted]
    if method != "GET":
        reader = api_for(owner, scope="read")
        seen += [
            call(reader, operation),
            call(caller, operation, MALFORMED),
            call(caller, operation, "{"),
            call(caller, operation, ""),
        ]
        monkeypatch.setattr(settings, "IMPORT_MAX_BYTES", settings.API_MAX_BODY_BYTES)
        seen += [call(caller, operation, [1]), call(caller, operation, "x" * (settings.API_MAX_BODY_BYTES + 1))]
        seen += [call(caller, operation, "{}", Content_Type="text/plain")]
        seen += [call(caller, operation, Idempotency_Key="no blanks")]
        call(caller, operation, Idempotency_Key="used")
        seen += [call(caller, operation, {"other": 1} if operation not in BODILESS else {}, Idempotency_Key="used")]
        if operation not in CREATED:
            seen += [call(caller, operation, If_Match='"99"', Idempotency_Key="stale")]
    statuses = {response.status_code for response in seen}
    documented = {int(status) for status in OPERATIONS[operation][2]["responses"] if int(status) >= 400}
    assert documented - statuses <= {404, 409, 422, 500, 503} - (
        {404} if "{key}" in template and "_put" not in operation else set()
    )
    assert statuses - {200, 201, 202} <= documented


@pytest.mark.parametrize(
    ("operation", "body", "key", "status", "code"),
    [
        ("customers_create", {"external_reference": "C"}, None, 409, "external_reference_taken"),
        ("customers_update", {"balance": 5}, None, 422, "customer_balance_needs_currency"),
        ("accounts_create", {"external_reference": "A", "customer": "C"}, None, 409, "external_reference_taken"),
        ("accounts_create", {"external_reference": "Z", "customer": "none"}, None, 422, "customer_not_found"),
        ("accounts_put", {"customer": {"external_reference": "other"}}, None, 409, "account_customer_fixed"),
        ("accounts_put", {}, "NEW", 400, "invalid_request"),
        (
            "accounts_update",
            {"payment_rules": {"min_amount": 5, "max_amount": 4}},
            None,
            422,
            "account_min_amount_above_max_amount",
        ),
        ("bills_create", {**BODIES["bills_create"], "account": "none"}, None, 422, "account_not_found"),
        ("bills_create", {**BODIES["bills_create"], "external_reference": "B"}, None, 409, "external_reference_taken"),
        (
            "bills_create",
            {**BODIES["bills_create"], "account": "A", "customer": {"external_reference": "new"}},
            None,
            422,
            "account_of_another_customer",
        ),
        ("bills_put", {"currency": "USD"}, None, 409, "bill_currency_fixed"),
        ("bills_put", {"bill_date": "2020-01-01"}, None, 409, "bill_date_fixed"),
        ("bills_put", {"account": {"external_reference": "A2", "customer": "C"}}, None, 409, "bill_owner_fixed"),
        ("bills_put_by_query", {}, "%09", 400, "invalid_reference"),
        ("bills_update", {"account": {"name": "x"}}, "D", 422, "bill_without_account"),
        ("bills_void", {}, "B1", 409, "bill_has_payments"),
        ("bills_update", {"amount_paid": 5}, "VOID", 409, "bill_voided"),
        ("bills_update", {"amount_due": 5, "amount_paid": 9}, "VOID", 409, "bill_voided"),
        ("bills_put", {"amount_due": 7}, "VOID", 409, "bill_voided"),
        ("bills_void", {}, "VOID", 409, "bill_voided"),
        ("deliveries_redeliver", {}, None, 409, "webhook_endpoint_disabled"),
        ("webhook_endpoints_create", BODIES["webhook_endpoints_create"], None, 422, "too_many_webhook_endpoints"),
        ("webhook_endpoints_update", {"enabled": True}, None, 422, "too_many_webhook_endpoints"),
        ("webhook_endpoints_create", {"url": "https://127.0.0.1/"}, None, 400, "invalid_request"),
    ],
)
def test_what_the_rules_refuse_is_documented(api, records, biller, operation, body, key, status, code):
    api.post("/billing/bills", {"external_reference": "VOID", "currency": "ZAR", "amount_due": 6, "customer": "C"})
    api.post("/billing/bills/VOID/void", {}, Idempotency_Key="v")
    api.put("/billing/customers/other", {})
    if operation.startswith(("webhook", "deliveries")):
        api.patch(f"/billing/webhook_endpoints/{OURS['webhook_endpoints']}", {"enabled": False})
        WebhookEndpoint.objects.bulk_create(
            WebhookEndpoint(biller=biller, url="https://hooks.example/") for _ in range(MOST_ENDPOINTS)
        )
    response = call(api, operation, body, key=key)
    assert (response.status_code, response.json()["code"]) == (status, code), response.content


@pytest.mark.parametrize(("error", "status"), [(OperationalError("gone"), 503), (ValueError("ours"), 500)])
def test_failures_are_documented(api, partner_api, records, monkeypatch, error, status):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("api.views.page", fail)
    monkeypatch.setattr("api.views.perform", fail)
    for operation in [*LISTS, *WRITES]:
        caller = partner_api if operation.startswith("partner_") else api
        assert call(caller, operation).status_code == status


def test_every_type_of_event_is_a_webhook_of_the_document_as_it_is_told(api, partner_api, records):
    assert set(DOCUMENT["webhooks"]) == set(Type.values)
    partner_api.post("/partner/payments/P/reverse", {"reason": "x"}, Idempotency_Key="undone")
    told = api.get("/billing/events?limit=100").json()["data"]
    assert {event["type"] for event in told} >= {"bill.created", "obligation.amount_applied", "payment.reversed"}
    for event in told:
        [content] = DOCUMENT["webhooks"][event["type"]]["post"]["requestBody"]["content"].values()
        Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]}).validate(event)


def test_an_entry_may_change_a_balance_from_end_to_end(api, records):
    for balance in (-999_999_999_999, 999_999_999_999):
        assert call(api, "customers_update", {"currency": "ZAR", "balance": balance}).status_code == 200
    assert call(api, "entries_list").json()["data"][0]["amount"] == 2 * 999_999_999_999


def test_health_answers_what_is_documented(nobody, db, monkeypatch):
    for operation in ("health_live", "health_ready"):
        assert call(nobody, operation).status_code == 200

    def gone():
        raise OperationalError

    with monkeypatch.context() as broken:
        broken.setattr("api.views.connection.cursor", gone)
        assert call(nobody, "health_ready").status_code == 503
        assert call(nobody, "health_live").status_code == 200


def test_health_is_told_over_plain_http_where_all_else_is_sent_to_https(nobody, db, settings):
    settings.SECURE_SSL_REDIRECT = True
    sent = nobody.get("/billing/bills")
    assert (sent.status_code, sent.headers["Location"][:8]) == (301, "https://")
    assert (sent.content, sent.headers.get("Content-Type")) == (b"", None)  # no HTML for a caller of the API
    assert [nobody.get(f"/health/{name}").status_code for name in ("live", "ready")] == [200, 200]


def test_the_command_says_what_differs_in_one_line(tmp_path, monkeypatch):
    call_command("openapi", check=True)
    stale = tmp_path / "openapi.json"
    stale.write_text("{}")
    monkeypatch.setattr(openapi, "DOCUMENT", stale)
    with pytest.raises(CommandError, match=r"openapi\.json differs from the code: run “manage\.py openapi”") as said:
        call_command("openapi", check=True)
    assert "\n" not in str(said.value)
    call_command("openapi")
    assert json.loads(stale.read_text()) == DOCUMENT


def test_the_command_refuses_a_document_in_doubt(monkeypatch):
    monkeypatch.setattr("api.schema.Schema.get_operation_id", lambda self: "same")
    with pytest.raises(CommandError, match="The OpenAPI document is in doubt: ") as said:
        call_command("openapi", check=True)
    assert "\n" not in str(said.value)


def test_a_document_that_is_no_openapi_is_refused():
    with pytest.raises(CommandError, match="The OpenAPI document is invalid at “paths"):
        openapi.validate({**DOCUMENT, "paths": {"/billing": {"get": {"responses": 5}}}})
