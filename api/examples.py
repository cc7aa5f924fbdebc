"""The examples: one source for the tests, the README and the OpenAPI document."""

import json
from functools import cache
from typing import Any

from django.conf import settings

SOURCE = settings.BASE_DIR / "docs" / "examples.json"
KEY = "$KEY"
BEGIN, END = "<!-- examples: written by manage.py openapi -->", "<!-- end of examples -->"


@cache
def _kept() -> dict[str, list[dict[str, Any]]]:
    kept: dict[str, list[dict[str, Any]]] = json.loads(SOURCE.read_text())
    return kept


def worked() -> list[dict[str, Any]]:
    """Return the worked examples, which the README tells, in the order they run."""
    return _kept()["worked"]


def examples() -> list[dict[str, Any]]:
    """Return the worked examples and those that run after them, so that every operation has one."""
    return [*worked(), *_kept()["more"]]


def examples_of(operation: str) -> dict[str, dict[str, Any]]:
    """Return the examples of one operation by the names they have in its document."""
    shown = [one for one in examples() if one["operation"] == operation]
    return {f"example{number}": one for number, one in enumerate(shown, start=1)}


def told(readme: str) -> str:
    """Return the README with the examples between its marks."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{''.join(map(_as_curl, worked()))}\n{END}{tail}"


def _as_curl(example: dict[str, Any]) -> str:
    method = "" if example["method"] == "POST" else f"-X {example['method']} "
    body = json.dumps(example["body"], ensure_ascii=False)
    headers = f"-H \"Authorization: Bearer {KEY}\" -H 'Content-Type: application/json'"
    return (
        f"\n{example['title']}:\n\n```sh\ncurl {method}{headers} \\\n"
        f"  http://127.0.0.1:8000{example['path']} -d '{body}'\n```\n"
    )
