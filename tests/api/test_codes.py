"""Every problem code that the source says is explained, and every explained code is said."""

import ast
import json

from django.conf import settings

from api.codes import OWN, codes, sentence


def _codes_in(tree):
    """Find the codes a module says: what its refusals, problems and error messages are called with."""
    takes = {"Problem": 1, "because": 0, "Reason": 0, "problem": 2, "invalid_parameter": 2, "ErrorDetail": 1}
    takes |= {"unauthorised": 0, "_error": 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = takes.get(called)
            if place is not None and len(node.args) > place and isinstance(node.args[place], ast.Constant):
                yield node.args[place].value
            if called == "ValidationError":
                yield from (
                    k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)
                )
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id
        if named == "default_error_messages" and isinstance(node.value, ast.Dict):
            yield from (key.value for key in node.value.keys)


APPS = ["api", "billers", "core", "customers", "accounts", "bills", "ledger", "events", "payments", "imports"]
# Said by forms and commands, never by the API.
ELSEWHERE = {"invalid", "unknown_timezone", "unknown_country"}


def test_every_code_in_the_source_is_explained():
    said = {
        code
        for app in APPS
        for file in (settings.BASE_DIR / app).rglob("*.py")
        if not {"migrations", "admin.py", "forms.py", "staff.py"} & set(file.parts)
        for code in _codes_in(ast.parse(file.read_text()))
    }
    assert len(said) > 40
    assert said - ELSEWHERE <= set(codes())


def test_every_explained_code_is_said_somewhere():
    source = "".join(
        file.read_text()
        for app in APPS
        for file in (settings.BASE_DIR / app).rglob("*.py")
        if file.name not in {"codes.py", "nodes.py", "schema.py"}
    )
    # DRF says “null” by itself, and a record's name is put before “_not_found”.
    derived = {
        "null",
        *(f"{kind}_not_found" for kind in ("customer", "account", "bill", "webhook_endpoint", "delivery", "import")),
        *(f"{what}_not_found" for what in ("payment", "payer", "obligation")),
    }
    assert [code for code in OWN if f'"{code}"' not in source and code not in derived] == []


def test_every_code_of_the_document_has_a_page(nobody, db):
    document = json.loads((settings.BASE_DIR / "docs" / "openapi.json").read_text())
    problem = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert problem == sorted(codes())
    for code in problem:
        page = nobody.get(f"/problems/{code}")
        assert page.status_code == 200
        assert page.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert sentence(code) in page.content.decode()
        assert "Constraint" not in sentence(code)
    unknown = nobody.get("/problems/account_of_biller")
    assert (unknown.status_code, unknown.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
