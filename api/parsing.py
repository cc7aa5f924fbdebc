"""Reads a JSON body strictly: what two readers could understand differently is refused."""

import json
from collections import Counter
from typing import Any

from django.conf import settings
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from api.problems import Problem

MAX_DEPTH = 32


class StrictJSONParser(BaseParser):
    """UTF-8 JSON of limited size and depth, without duplicate keys, NaN, NUL or lone surrogates."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the value of the body.

        Raises:
            Problem: 400 `invalid_json`, or 413 `request_too_large`.
        """
        if "charset" in (media_type or "").lower() and "utf-8" not in (media_type or "").lower():
            raise UnsupportedMediaType(media_type or "")
        limit = settings.API_MAX_BODY_BYTES
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise Problem(413, "request_too_large", f"A body holds at most {limit} bytes.")
        return loads(raw)


def loads(raw: bytes) -> Any:
    """Return the value of strict JSON."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise _invalid("The body is not UTF-8.") from None
    except ValueError as error:
        raise _invalid(f"The body is not JSON: {error}.") from None
    # Both walks are rare: most bodies cannot be deep, and hold no escaped character.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    if b"\\u" in raw:
        _refuse_unstorable(value)
    return value


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid_json", detail)


def _too_deep() -> Problem:
    return _invalid(f"The body is nested more than {MAX_DEPTH} deep.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _invalid(f"The key {json.dumps(twice)} stands twice in one object.")
    return members


def _constant(name: str) -> None:
    raise _invalid(f"{name} is not JSON.")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while containers := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [inner for part in containers for inner in (part.values() if isinstance(part, dict) else part)]
    return depth


def _refuse_unstorable(value: Any) -> None:
    texts = [value]
    while texts:
        part = texts.pop()
        if isinstance(part, str):
            if "\0" in part or any("\ud800" <= character <= "\udfff" for character in part):
                raise _invalid("Text holds a NUL or half a surrogate pair, which no record can keep.")
        elif isinstance(part, dict):
            texts += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            texts += part
