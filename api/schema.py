"""The OpenAPI document, made from what the viewsets declare: shapes, answers, filters, sorts, parents."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import serializers

from api import fields
from api.codes import OWN
from api.cursors import DEFAULT_LIMIT, MAX_LIMIT
from api.examples import worked
from api.filters import AmountFilter, CurrencyFilter, DayFilter, FlagFilter, MomentFilter
from api.problems import MEDIA_TYPE, TITLES
from core.money import MAX_AMOUNT
from core.refusals import CONFLICT, Rule, named

Node = dict[str, Any]

ACTIONS = {
    "list": ("list", "List, newest first"),
    "create": ("create", "Create"),
    "retrieve": ("get", "Get one by id or external reference"),
    "partial_update": ("update", "Change the fields that are sent"),
    "upsert": ("put", "Create or update by external reference"),
    "void": ("void", "Void for good"),
}
SHAPES = {"create": "create_shape", "upsert": "put_shape", "partial_update": "patch_shape", "void": "void_shape"}

TEXT: Node = {"type": "string"}
HEADERS: dict[str, Node] = {
    "X-Request-Id": {"description": "Names the request, in our logs too.", "schema": TEXT},
    "ETag": {"description": "The record's version, strong.", "schema": {"type": "string", "examples": ['"3"']}},
    "Location": {"description": "Where the new record is.", "schema": TEXT},
    "Idempotent-Replayed": {"description": "`true` when this is the kept answer.", "schema": {"enum": ["true"]}},
    "Next-Cursor": {"description": "The cursor of the next page.", "schema": TEXT},
    "Prev-Cursor": {"description": "The cursor of the previous page.", "schema": TEXT},
    "Link": {"description": "The neighbouring pages (RFC 8288).", "schema": TEXT},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": TEXT},
}
PROBLEM: Node = {
    "type": "object",
    "description": "RFC 9457: what went wrong, and everything of that class that did.",
    "required": ["type", "title", "status", "detail", "instance", "code", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "instance": TEXT,
        "code": TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "format": "json-pointer"},
                    "code": TEXT,
                    "detail": TEXT,
                    "parameter": TEXT,
                    "existing_id": TEXT,
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
SHAPE_CODES = ["invalid_request", "invalid_json"]
QUERY_CODES = ["unknown_parameter", "repeated_parameter", "invalid_parameter"]


class KeyScheme(OpenApiAuthenticationExtension):
    """How callers show who they are."""

    target_class = "api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> Node:
        return {"type": "http", "scheme": "bearer", "description": "`sk_…` for live data, `sk_test_…` for test data."}


class Schema(AutoSchema):
    """Describes a viewset of ours without a word in the viewset."""

    view: Any

    def get_operation_id(self) -> str:
        by_query = "_by_query" if self._action == "upsert" and "{key}" not in self.path else ""
        return f"{self._collection}_{ACTIONS[self._action][0]}{by_query}"

    def get_summary(self) -> str:
        return ACTIONS[self._action][1]

    def get_description(self) -> str:  # type: ignore[override]
        return str(getattr(self.view, self._action).__doc__ or "")

    def get_tags(self) -> list[str]:
        return [self._collection]

    @property
    def _action(self) -> str:
        return str(self.view.action)

    @property
    def _collection(self) -> str:
        return self.path.split("/")[2]

    @property
    def _writes(self) -> bool:
        return self._action in SHAPES

    def _get_parameters(self) -> list[Node]:
        found = [_header("X-Request-Id", "Echoed; made when absent.")]
        if "{key}" in self.path:
            what = "The biller's external reference" if self._action == "upsert" else "Our id or the external reference"
            found.append({"name": "key", "in": "path", "required": True, "description": what, "schema": TEXT})
        elif self._action == "upsert":
            found.append({**_query("external_reference", TEXT), "required": True})
        if self._writes:
            required = self._action == "void"
            found.append(
                {**_header("Idempotency-Key", "Repeat safely.", r"^[A-Za-z0-9_-]{1,255}$"), "required": required}
            )
        if self._action in {"upsert", "partial_update", "void"}:
            found.append(_header("If-Match", "The version the change is meant for."))
        if self._action == "retrieve":
            found.append(_header("If-None-Match", "The version at hand: 304 when it is current."))
        if self._action in {"list", "retrieve"} and self.view.answer.parents:
            parents = list(self.view.answer.parents)
            schema = {"type": "array", "items": {"type": "string", "enum": parents}}
            found.append({**_query("expand", schema, "Parents to show as objects."), "style": "form", "explode": False})
        return found + (self._list_parameters() if self._action == "list" else [])

    def _list_parameters(self) -> list[Node]:
        sorts = [sign + name for name in self.view.sorts for sign in ("", "-")]
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        found = [
            _query("limit", limit),
            _query("cursor", TEXT, "From next_cursor or previous_cursor."),
            _query("sort", {"type": "string", "enum": sorts, "default": "-created_at"}),
        ]
        found += [_query(name, _filter(one)) for name, one in self.view.filters.base_filters.items()]
        if "metadata.<key>" in self.view.filters.known():
            note = "Send as metadata.<key>=value, for example metadata.route=7."
            schema = {"type": "object", "additionalProperties": TEXT}
            found.append({**_query("metadata", schema, note), "style": "deepObject"})
        return found

    def _get_request_body(self, direction: str = "request") -> Node | None:
        if not self._writes:
            return None
        content: Node = {"schema": self._shape(getattr(self.view, SHAPES[self._action]))}
        shown = [example for example in worked() if example["operation"] == self.get_operation_id()]
        if shown:
            examples = enumerate(shown, start=1)
            content["examples"] = {
                f"example{n}": {"summary": one["title"], "value": one["body"]} for n, one in examples
            }
        return {"required": self._action != "void", "content": {"application/json": content}}

    def _get_response_bodies(self, direction: str = "response") -> Node:
        answers: Node = {}
        if self._action == "list":
            answers["200"] = _answer("A page.", self._page(), ["Next-Cursor", "Prev-Cursor", "Link"])
        else:
            record = self._answer()
            replays = ["ETag", "Idempotent-Replayed"]
            if self._action in {"create", "upsert"}:
                answers["201"] = _answer("Created.", record, [*replays, "Location"])
            if self._action != "create":
                answers["200"] = _answer("The record.", record, replays if self._writes else ["ETag"])
            if self._action == "retrieve":
                answers["304"] = _answer("Not changed.", None, ["ETag"])
        return answers | {str(status): self._problem(status, codes) for status, codes in self._refusals().items()}

    def _refusals(self) -> dict[int, list[str]]:
        missing = [f"{self._collection.rstrip('s')}_not_found"]
        found: dict[int, list[str]] = {
            400: list(QUERY_CODES),
            401: ["api_key_required", "invalid_api_key"],
            403: ["api_key_revoked", "api_key_expired"],
            405: ["method_not_allowed"],
            406: ["not_acceptable"],
        }
        if self._action == "list":
            found[400] += ["invalid_limit", "invalid_sort", "invalid_cursor"]
        elif self._action not in {"create", "upsert"}:
            found[404] = missing
        if self._writes:
            found[400] += [*SHAPE_CODES, "invalid_idempotency_key"]
            found[400] += ["idempotency_key_required"] if self._action == "void" else []
            found[403].append("api_key_out_of_scope")
            conflicts, broken = _rules_of(self.view.queryset.model)
            found[409] = ["external_reference_taken", "idempotency_in_progress", *conflicts]
            found[422] = ["idempotency_key_reused", "customer_not_found", "account_not_found"]
            found[422] += ["account_of_another_customer", "bill_without_account", *broken]
            found |= {412: ["stale"]} if self._action != "create" else {}
            found |= {413: ["request_too_large"], 415: ["unsupported_media_type"]}
        return dict(sorted((found | {500: ["internal_error"], 503: ["unavailable"]}).items()))

    def _problem(self, status: int, codes: list[str]) -> Node:
        self.registry.register_on_missing(_component_of("Problem", PROBLEM))
        schema = {
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
        }
        extra = {401: ["WWW-Authenticate"], 409: ["Retry-After"] if self._writes else [], 503: ["Retry-After"]}
        answer = _answer(TITLES[status], schema, extra.get(status, []), MEDIA_TYPE)
        code = codes[0]
        example = {
            "type": f"/problems/{code}",
            "title": TITLES[status],
            "status": status,
            "detail": OWN.get(code, code),
        }
        answer["content"][MEDIA_TYPE]["example"] = {**example, "instance": self.path, "code": code, "errors": []}
        return answer

    def _page(self) -> Node:
        cursor = {"type": ["string", "null"]}
        return {
            "type": "object",
            "required": ["data", "next_cursor", "previous_cursor"],
            "properties": {
                "data": {"type": "array", "items": self._answer()},
                "next_cursor": cursor,
                "previous_cursor": cursor,
            },
            "additionalProperties": False,
        }

    def _answer(self) -> Node:
        """Return the schema of the record, with its parents where they may be expanded."""
        answer = self.view.answer
        reference = self._component(answer.__name__, answer())
        if not answer.parents or self._writes:
            return reference
        schema = self._record(answer())
        for parent, kind in answer.parents.items():
            shown = self._component(kind.__name__, kind())
            schema["properties"][parent] = shown if parent == "customer" else {"oneOf": [shown, {"type": "null"}]}
        self.registry.register_on_missing(_component_of(f"{answer.__name__}Expanded", schema))
        return {"$ref": f"#/components/schemas/{answer.__name__}Expanded"}

    def _component(self, name: str, serializer: serializers.Serializer) -> Node:
        self.registry.register_on_missing(_component_of(name, self._record(serializer)))
        return {"$ref": f"#/components/schemas/{name}"}

    def _record(self, serializer: serializers.Serializer) -> Node:
        properties = {name: _answered(field, self._record) for name, field in serializer.fields.items()}
        return {
            "type": "object",
            "description": type(serializer).__doc__,
            "required": list(properties),
            "properties": properties,
            "additionalProperties": False,
        }

    def _shape(self, shape: serializers.Serializer) -> Node:
        name = type(shape).__name__
        properties = {name: self._asked(field) for name, field in shape.fields.items()}
        schema: Node = {
            "type": "object",
            "description": type(shape).__doc__,
            "properties": properties,
            "additionalProperties": False,
        }
        required = [name for name, field in shape.fields.items() if field.required]
        schema |= {"required": required} if required else {}
        self.registry.register_on_missing(_component_of(name, schema))
        return {"$ref": f"#/components/schemas/{name}"}

    def _asked(self, field: Any) -> Node:
        if isinstance(field, serializers.Serializer):
            return self._shape(field)
        if isinstance(field, fields.Parent):
            return {"oneOf": [{"type": "string", "description": "Id or external reference"}, self._shape(field.shape)]}
        schema = _value(field)
        if field.allow_null:
            schema["type"] = [schema["type"], "null"]
        return schema


def _component_of(name: str, schema: Node) -> ResolvedComponent:
    return ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=schema, object=name)


def _value(field: Any) -> Node:
    """Return the schema of a value that a body may hold."""
    if isinstance(field, fields.Amount):
        return {"type": "integer", "format": "int64", "minimum": field.least, "maximum": field.most}
    if isinstance(field, fields.Metadata):
        kept = {"type": ["string", "null"] if field.merges else "string", "maxLength": 500}
        return {"type": "object", "maxProperties": 10, "additionalProperties": kept}
    simple: dict[type, Node] = {
        fields.Flag: {"type": "boolean"},
        fields.Day: {"type": "string", "format": "date"},
        fields.Currency: {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217"},
        fields.Email: {"type": "string", "format": "email", "maxLength": 254},
        fields.Phone: {"type": "string", "pattern": r"^\+[1-9]\d{1,14}$"},
    }
    if type(field) in simple:
        return simple[type(field)]
    least = 1 if isinstance(field, fields.Reference) else 0
    return {"type": "string", "minLength": least, "maxLength": field.max_length}


def _answered(field: Any, nested: Any) -> Node:
    """Return the schema of a value of an answer."""
    match field:
        case serializers.Serializer():
            return dict(nested(field))
        case serializers.IntegerField():
            schema: Node = {"type": "integer", "format": "int64", "minimum": -MAX_AMOUNT, "maximum": MAX_AMOUNT}
        case serializers.BooleanField():
            schema = {"type": "boolean"}
        case serializers.DateTimeField():
            schema = {"type": "string", "format": "date-time"}
        case serializers.DateField():
            schema = {"type": "string", "format": "date"}
        case serializers.DictField():
            schema = {"type": "object", "additionalProperties": TEXT}
        case serializers.ChoiceField():
            schema = {"type": "string", "enum": list(field.choices)}
        case _:
            schema = {"type": "string"}
    if field.help_text:
        schema["description"] = str(field.help_text)
    if field.allow_null:
        schema["type"] = [schema["type"], "null"]
    return schema


def _filter(one: Any) -> Node:
    """Return the schema of a filter's value."""
    choices = one.extra.get("choices")
    if choices:
        return {"type": "string", "enum": [value for value, _ in choices]}
    kinds: dict[type, Node] = {
        AmountFilter: {"type": "integer"},
        DayFilter: {"type": "string", "format": "date"},
        MomentFilter: {"type": "string", "description": "A date or an ISO 8601 time."},
        CurrencyFilter: {"type": "string", "pattern": "^[A-Za-z]{3}$"},
        FlagFilter: {"type": "boolean"},
    }
    return next((schema for kind, schema in kinds.items() if isinstance(one, kind)), TEXT)


def _rules_of(model: Any) -> tuple[list[str], list[str]]:
    """Return the codes of a record's and its parents' rules: those that conflict, and the others."""
    kinds = ["customer", "account", "bill"][: ["customer", "account", "bill"].index(model.kind) + 1]
    conflicts: list[str] = []
    broken: list[str] = []
    for name, rule in named().items():
        if name.split("_")[0] in kinds and not name.endswith(("_taken", "_of_biller", "_of_customer")):
            conflicting = rule.conflict if isinstance(rule, Rule) else rule.violation_error_code == CONFLICT
            (conflicts if conflicting else broken).append(name)
    return sorted(conflicts), sorted(broken)


def add_health(result: Node, **_: Any) -> Node:
    """Describe the addresses that tell whether we are up; they need no key."""
    status = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    for name, what in (("live", "The process runs"), ("ready", "The database answers")):
        answers = {"200": _answer(f"{what}.", status, [])}
        if name == "ready":
            problem = {"$ref": "#/components/schemas/Problem"}
            answers["503"] = _answer(TITLES[503], problem, ["Retry-After"], MEDIA_TYPE)
        told = {
            "operationId": f"health_{name}",
            "summary": what,
            "tags": ["health"],
            "security": [],
            "responses": answers,
        }
        result["paths"][f"/health/{name}"] = {"get": told}
    return result


def _query(name: str, schema: Node, description: str = "") -> Node:
    told = {"description": description} if description else {}
    return {"name": name, "in": "query", "schema": schema, **told}


def _header(name: str, description: str, pattern: str = "") -> Node:
    schema = {**TEXT, "pattern": pattern} if pattern else TEXT
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _answer(description: str, schema: Node | None, headers: list[str], media: str = "application/json") -> Node:
    answer: Node = {"description": description, "headers": {name: HEADERS[name] for name in ["X-Request-Id", *headers]}}
    if schema is not None:
        answer["content"] = {media: {"schema": schema}}
    return answer
