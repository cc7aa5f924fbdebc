"""The worked examples run as they are told, and what is answered is what the document promises."""

import json

import pytest
from django.conf import settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.codes import sentence
from api.examples import told, worked
from customers.models import Customer

# Of every run its own.
OF_THE_MOMENT = {"id", "customer_id", "bill_date", "created_at", "updated_at"}
ORPHAN = {"external_reference": "n", "currency": "ZAR", "amount_due": 1, "customer": "no"}
DOCUMENT = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())


def promised(path, method, status):
    """The document's schema of an answer, with the components it refers to."""
    answer = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    [media] = answer["content"].values()
    return Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]}), answer


def template(path):
    parts = path.partition("?")[0].split("/")
    return "/".join([*parts[:3], *(["{key}"] if len(parts) > 3 else []), *parts[4:]])


def conforms(response, method, path):
    schema, answer = promised(template(path), method, response.status_code)
    schema.validate(response.json())
    undocumented = (
        set(response.headers)
        - set(answer["headers"])
        - {
            "Content-Type",
            "Content-Length",
            "Allow",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Cross-Origin-Opener-Policy",
        }
    )
    assert undocumented == set()


def without_the_moment(answer):
    """An answer without its times and ids; whether a bill has an account is told all the same."""
    kept = {name: value for name, value in answer.items() if name not in OF_THE_MOMENT}
    return kept | ({"account_id": answer["account_id"] is not None} if "account_id" in answer else {})


def test_the_worked_examples_do_what_they_say(api):
    for example in worked():
        response = api.call(example["method"], example["path"], example["body"])
        assert response.status_code == example["status"], response.content
        answer = response.json()
        assert without_the_moment(answer) == without_the_moment(example["answer"])
        conforms(response, example["method"], example["path"])
    assert Customer.objects.get(external_reference="C-2").name == "Jane Doe"
    assert len(worked()) == 8


def test_the_document_shows_the_examples_and_their_answers():
    told_answers = [
        shown
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for media in answer.get("content", {}).values()
        for shown in media.get("examples", {}).values()
    ]
    by_title = {shown["summary"]: shown["value"] for shown in told_answers}
    assert by_title == {example["title"]: example["answer"] for example in worked()}


def test_the_readme_tells_the_examples_as_they_are():
    readme = (settings.BASE_DIR / "README.md").read_text()
    assert told(readme) == readme


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/billing/bills?expand=customer,account", None, 200),
        ("GET", "/billing/bills/INV-2024-002?expand=account", None, 200),
        ("GET", "/billing/accounts/A-1?expand=customer", None, 200),
        ("GET", "/billing/customers", None, 200),
        ("GET", "/billing/entries", None, 200),
        ("GET", "/billing/bills?limit=0", None, 400),
        ("GET", "/billing/bills/none", None, 404),
        ("POST", "/billing/bills", {"amount_due": "x"}, 400),
        (
            "POST",
            "/billing/bills",
            {"external_reference": "n", "currency": "ZAR", "amount_due": 1, "customer": "no"},
            422,
        ),
        ("POST", "/billing/customers", {"external_reference": "C-2"}, 409),
        ("PUT", "/billing/customers/C-9", {"name": "New"}, 201),
        ("PUT", "/billing/bills/INV-2024-001", {"currency": "USD"}, 409),
        ("PATCH", "/billing/accounts/A-1", {"balance": None}, 422),
        ("POST", "/billing/bills/INV-2024-001/void", {}, 400),
    ],
)
def test_every_answer_is_as_the_document_promises(api, method, path, body, status):
    for example in worked():
        api.call(example["method"], example["path"], example["body"])
    response = api.call(method, path, body)
    assert response.status_code == status, response.content
    conforms(response, method, path)
    if status >= 400:
        code = response.json()["code"]
        assert sentence(code)
        assert api.get(f"/problems/{code}").status_code == 200


def test_the_document_needs_no_key_and_names_every_route(nobody):
    response = nobody.get("/openapi.json")
    assert response.status_code == 200
    assert response.json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)
    assert set(DOCUMENT["paths"]) == {
        "/billing/customers",
        "/billing/customers/{key}",
        "/billing/accounts",
        "/billing/accounts/{key}",
        "/billing/bills",
        "/billing/bills/{key}",
        "/billing/bills/{key}/void",
        "/billing/entries",
        "/billing/events",
        "/billing/webhook_endpoints",
        "/billing/webhook_endpoints/{key}",
        "/billing/webhook_endpoints/{key}/rotate",
        "/billing/deliveries",
        "/billing/deliveries/{key}",
        "/billing/deliveries/{key}/redeliver",
        "/health/live",
        "/health/ready",
    }


def test_the_docs_page_uses_local_assets_alone(nobody, db):
    page = nobody.get("/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "//" not in page.replace("https://www.w3.org", "").replace("<!doctype html>", "")
    assert nobody.get("/problems/no_such_code").status_code == 404
    assert nobody.get("/health/ready").json() == {"status": "ok"}
