"""What the OpenAPI document says of values, headers and problems: plain JSON Schema, without a view."""

from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from api.answers import Answer
from api.codes import OWN, codes
from api.filters import AmountFilter, AsOfFilter, CurrencyFilter, DayFilter, FlagFilter, MomentFilter
from api.problems import MEDIA_TYPE, TITLES
from core.money import MAX_AMOUNT

Node = dict[str, Any]

TEXT: Node = {"type": "string"}
STATUS_OK: Node = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"const": "ok"}},
    "additionalProperties": False,
}
HEADERS: dict[str, Node] = {
    "X-Request-Id": {"description": "Names the request, in our logs too.", "schema": TEXT},
    "ETag": {"description": "The record's version, strong.", "schema": {"type": "string", "examples": ['"3"']}},
    "Location": {"description": "Where the new record is.", "schema": {"type": "string", "format": "uri-reference"}},
    "Idempotent-Replayed": {"description": "`true` when this is the kept answer.", "schema": {"enum": ["true"]}},
    "Next-Cursor": {"description": "The cursor of the next page.", "schema": TEXT},
    "Prev-Cursor": {"description": "The cursor of the previous page.", "schema": TEXT},
    "Link": {"description": "The neighbouring pages (RFC 8288).", "schema": TEXT},
    "Vary": {"description": "The form depends on what is accepted.", "schema": {"const": "Accept"}},
    "Content-Disposition": {"description": "A name to save a table under.", "schema": TEXT},
    "Allow": {"description": "The methods that are offered.", "schema": TEXT},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}


def problem_schema() -> Node:
    """Return the schema of every problem, with every code there is."""
    known = {"type": "string", "enum": sorted(codes())}
    error = {
        "type": "object",
        "required": ["pointer", "code", "detail"],
        "properties": {
            "pointer": {"type": "string", "format": "json-pointer", "description": "The place in the body."},
            "code": known,
            "detail": TEXT,
            "parameter": {"type": "string", "description": "The query parameter it is about."},
            "existing_id": {"type": "string", "description": "The record that has the reference."},
        },
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "description": "RFC 9457: what went wrong, and everything of that class that did.",
        "required": ["type", "title", "status", "detail", "instance", "code", "errors"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "Explains the code to people."},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "instance": {"type": "string", "format": "uri-reference"},
            "code": known,
            "errors": {"type": "array", "items": error},
        },
        "additionalProperties": False,
    }


def answered(field: Any, nested: Any) -> Node:
    """Return the schema of a value of an answer."""
    if isinstance(field, serializers.Serializer):
        return dict(nested(field))
    if isinstance(field, serializers.ListField | serializers.ListSerializer):
        schema: Node = {"type": "array", "items": answered(field.child, nested)}
    else:
        kinds = [kind for kind in type(field).__mro__ if kind in _ANSWERED]
        schema = dict(_ANSWERED[kinds[0]](field)) if kinds else dict(TEXT)
    if field.help_text:
        schema["description"] = str(field.help_text)
    if field.allow_null:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _integer(field: Any) -> Node:
    least = -MAX_AMOUNT if field.min_value is None else field.min_value
    most = MAX_AMOUNT if field.max_value is None else field.max_value
    return {"type": "integer", "format": "int64", "minimum": least, "maximum": most}


_ANSWERED: dict[type, Callable[[Any], Node]] = {
    serializers.IntegerField: _integer,
    serializers.BooleanField: lambda _: {"type": "boolean"},
    serializers.DateTimeField: lambda _: {"type": "string", "format": "date-time"},
    serializers.DateField: lambda _: {"type": "string", "format": "date"},
    serializers.DictField: lambda _: {"type": "object", "additionalProperties": TEXT},
    serializers.ChoiceField: lambda field: {"type": "string", "enum": list(field.choices)},
    serializers.JSONField: lambda _: {"type": "object", "additionalProperties": True},
    serializers.CharField: lambda field: TEXT | ({"maxLength": field.max_length} if field.max_length else {}),
}
"""How each kind of value of an answer is described."""


def asked(one: Any) -> Node:
    """Return the schema of a filter's value."""
    if choices := one.extra.get("choices"):
        return {"type": "string", "enum": [value for value, _ in choices]}
    kinds: dict[type, Node] = {
        AmountFilter: {"type": "integer"},
        DayFilter: {"type": "string", "format": "date"},
        MomentFilter: {"type": "string", "description": "A date or an ISO 8601 time."},
        AsOfFilter: {"type": "string", "description": "An ISO 8601 time, or a date: its end in the biller's zone."},
        CurrencyFilter: {"type": "string", "pattern": "^[A-Za-z]{3}$"},
        FlagFilter: {"type": "boolean"},
    }
    return next((dict(schema) for kind, schema in kinds.items() if isinstance(one, kind)), TEXT)


def record(answer: serializers.Serializer) -> Node:
    """Return the schema of an answer: every field is present."""
    properties = {name: answered(field, record) for name, field in answer.fields.items()}
    return {
        "type": "object",
        "description": type(answer).__doc__,
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def expanded(answer: type[Answer], reference: Any) -> Node:
    """Return the schema of an answer that may show its parents as objects."""
    schema = record(answer())
    for parent, kind in answer.parents.items():
        shown = reference(kind)
        optional = schema["properties"][f"{parent}_id"]["type"] != "string"
        schema["properties"][parent] = {"oneOf": [shown, {"type": "null"}]} if optional else shown
    return schema


def page_of(schema: Node) -> Node:
    """Return the envelope of a list."""
    cursor = {"type": ["string", "null"], "description": "Send it as `cursor`; null where the list ends."}
    return {
        "type": "object",
        "required": ["data", "next_cursor", "previous_cursor"],
        "properties": {"data": {"type": "array", "items": schema}, "next_cursor": cursor, "previous_cursor": cursor},
        "additionalProperties": False,
    }


def all_of(schema: Node) -> Node:
    """Return the envelope of rows that are all there are."""
    return {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": schema}},
        "additionalProperties": False,
    }


def feed_of(schema: Node) -> Node:
    """Return the envelope of the feed: what follows a sequence, and the sequence to go on from."""
    after = {"type": "integer", "format": "int64", "minimum": 0, "description": "Send it as `after`, now or later."}
    return {
        "type": "object",
        "required": ["data", "next_after"],
        "properties": {"data": {"type": "array", "items": schema}, "next_after": after},
        "additionalProperties": False,
    }


def response(description: str, schema: Node | None, headers: list[str], media: str = "application/json") -> Node:
    """Return one answer of an operation."""
    told: Node = {"description": description, "headers": {name: HEADERS[name] for name in ["X-Request-Id", *headers]}}
    if schema is not None:
        told["content"] = {media: {"schema": schema}}
    return told


def show(examples: dict[str, Node], answers: Node) -> None:
    """Put what was answered to each example beside the schema of its answer."""
    for name, one in examples.items():
        content = answers[str(one["status"])]["content"]["application/json"]
        content.setdefault("examples", {})[name] = {"summary": one["title"], "value": one["answer"]}


def problem_response(status: int, names: list[str], instance: str, headers: list[str]) -> Node:
    """Return one refusal of an operation: its codes, and the first as an example."""
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"status": {"const": status}, "code": {"enum": names}},
    }
    told = response(TITLES[status], schema, headers, MEDIA_TYPE)
    code = names[0]
    told["content"][MEDIA_TYPE]["example"] = {
        "type": f"/problems/{code}",
        "title": TITLES[status],
        "status": status,
        "detail": OWN[code],
        "instance": instance,
        "code": code,
        "errors": [],
    }
    return told


def query(name: str, schema: Node, description: str = "", **more: Any) -> Node:
    """Return a query parameter."""
    return {
        "name": name,
        "in": "query",
        "schema": schema,
        **({"description": description} if description else {}),
        **more,
    }


def header(name: str, description: str, pattern: str = "", **more: Any) -> Node:
    """Return a request header."""
    schema = {**TEXT, "pattern": pattern} if pattern else TEXT
    return {"name": name, "in": "header", "description": description, "schema": schema, **more}
