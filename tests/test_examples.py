"""The worked examples run as they are told, and what is answered is what the document promises."""

import json
import re

import pytest
from django.conf import settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.codes import sentence
from api.examples import examples, told, worked
from billing_project.urls import urlpatterns
from customers.models import Customer

# Of every run its own.
OF_THE_MOMENT = {"id", "customer_id", "obligation", "actor", "bill_date", "created_at", "updated_at", "voided_at"}
OF_THE_MOMENT |= {"endpoint_id", "event_id", "payment_id", "secret", "secret_changed_at", "due_at", "reversed_at"}
OF_THE_MOMENT |= {"payer_reference", "as_of", "date", "today", "started_at", "finished_at"}
ORPHAN = {"external_reference": "n", "currency": "ZAR", "amount_due": 1, "customer": "no"}
DOCUMENT = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())


AN_ID = re.compile(r"[a-z]{3,4}_[0-9A-Za-z]{22}")


def promised(path, method, status):
    """The document's schema of an answer, with the components it refers to."""
    answer = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
    media = next(iter(answer["content"].values()))
    return Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]}), answer


def template(path):
    """The document's path that this one is an instance of; a literal one before one with a name in it."""
    asked = path.partition("?")[0]
    patterns = {told: re.sub(r"\\{\w+\\}", "[^/]+", re.escape(told)) for told in sorted(DOCUMENT["paths"])}
    [found, *_] = sorted(
        (told for told in patterns if re.fullmatch(patterns[told], asked)), key=lambda told: "{" in told
    )
    return found


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


def without_the_moment(value):
    """An answer without its times and ids; whether a bill has an account is told all the same."""
    if isinstance(value, list):
        return [without_the_moment(one) for one in value]
    if not isinstance(value, dict):
        return value
    given = {"account_id": value["account_id"] is not None} if "account_id" in value else {}
    return {name: without_the_moment(one) for name, one in value.items() if name not in OF_THE_MOMENT} | given


def ids_of(value):
    """Every id in an answer, in the order of its members."""
    if isinstance(value, dict):
        return [one for _, inner in sorted(value.items()) for one in ids_of(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in ids_of(inner)]
    return [value] if isinstance(value, str) and AN_ID.fullmatch(value) else []


def renamed(value, names):
    """The same request, about what this run has made."""
    return json.loads(AN_ID.sub(lambda found: names.get(found[0], found[0]), json.dumps(value)))


def test_the_examples_do_what_they_say(api, partner_api):
    names = {}
    for example in examples():
        caller = partner_api if example["path"].startswith("/partner/") else api
        path, body = renamed([example["path"], example.get("body")], names)
        response = caller.call(example["method"], path, body, **example.get("headers", {}))
        assert response.status_code == example["status"], response.content
        answer = response.json()
        names |= dict(zip(ids_of(example["answer"]), ids_of(answer), strict=True))
        assert without_the_moment(answer) == without_the_moment(example["answer"]), example["title"]
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
    assert by_title == {example["title"]: example["answer"] for example in examples()}
    assert len(by_title) == len(examples())


def test_the_readme_tells_the_worked_examples_as_they_are_and_no_other():
    readme = (settings.BASE_DIR / "README.md").read_text()
    assert told(readme) == readme
    assert [one["title"] in readme for one in examples()] == [one in worked() for one in examples()]


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
    routes = {
        f"/{one.pattern}" for one in urlpatterns if str(one.pattern).startswith(("billing/", "partner/", "health/"))
    }
    assert set(DOCUMENT["paths"]) == {re.sub("<str:(.*?)>", r"{\1}", route) for route in routes}


def test_the_docs_page_uses_local_assets_alone(nobody, db):
    page = nobody.get("/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "//" not in page.replace("https://www.w3.org", "").replace("<!doctype html>", "")
    assert nobody.get("/problems/no_such_code").status_code == 404
    assert nobody.get("/health/ready").json() == {"status": "ok"}
