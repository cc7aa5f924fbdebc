"""The OpenAPI document, made from what the viewsets declare: shapes, answers, filters, sorts, parents."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import serializers

from api import fields, nodes
from api.codes import RECORDS, rules_of
from api.cursors import DEFAULT_LIMIT, MAX_LIMIT
from api.examples import examples_of
from api.nodes import TEXT, Node
from billers.tenancy import Record
from core.refusals import is_conflict, named
from core.rules import Rule

ACTIONS = {
    "list": ("list", "List"),
    "create": ("create", "Create"),
    "retrieve": ("get", "Get one by id or external reference"),
    "partial_update": ("update", "Change the fields that are sent"),
    "upsert": ("put", "Create or update by external reference"),
    "void": ("void", "Void for good"),
    "feed": ("feed", "What happened after a sequence, in order"),
    "rotate": ("rotate", "Change the secret"),
    "redeliver": ("redeliver", "Deliver once more"),
}
SHAPES = {
    "create": "create_shape",
    "upsert": "put_shape",
    "partial_update": "patch_shape",
    "void": "void_shape",
    "rotate": "rotate_shape",
    "redeliver": "redeliver_shape",
}
BODILESS = {"void", "rotate", "redeliver"}
"""What may be said without a body."""
REFUSED: dict[tuple[str, str], dict[int, list[str]]] = {
    ("webhook_endpoints", "create"): {422: ["too_many_webhook_endpoints"]},
    ("webhook_endpoints", "partial_update"): {422: ["too_many_webhook_endpoints"]},
    ("webhook_endpoints", "rotate"): {},
    ("deliveries", "redeliver"): {409: ["webhook_endpoint_disabled"]},
}
"""What the rules refuse of operations that are about no customer, account or bill."""


_LIMIT = nodes.query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT})


class KeyScheme(OpenApiAuthenticationExtension):
    """How callers show who they are."""

    target_class = "api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> Node:
        whose = "A biller's key opens `/billing`, a partner's `/partner`."
        told = f"`sk_…` for live data, `sk_test_…` for test data. {whose}"
        return {"type": "http", "scheme": "bearer", "description": told}


class Schema(AutoSchema):
    """Describes a viewset of ours without a word in the viewset."""

    view: Any

    def get_operation_id(self) -> str:
        by_query = "_by_query" if self._action == "upsert" and not self._named else ""
        side = "" if self._door == "billing" else f"{self._door}_"
        return f"{side}{self._collection}_{ACTIONS[self._action][0]}{by_query}"

    def get_summary(self) -> str:
        more = ""
        if self._action == "upsert" and not self._named:
            more = " in the query"
        elif self._action == "list":
            order = self.view.first_sort
            more = ", newest first" if order == "-created_at" else f" by {order}"
            more = more if self._door == "billing" else f" {self._collection}{more}"
        return ACTIONS[self._action][1] + more

    def get_description(self) -> str:  # type: ignore[override]
        return str(getattr(self.view, self._action).__doc__ or "").partition("\n")[0]

    def get_tags(self) -> list[str]:
        # Billers look for their records by kind; partners meet a few calls, told on one page.
        return [self._collection if self._door == "billing" else self._door]

    @property
    def _action(self) -> str:
        return str(self.view.action)

    @property
    def _door(self) -> str:
        """Whose side of the API it is: `billing` or `partner`."""
        return self.path.split("/")[1]

    @property
    def _collection(self) -> str:
        return self.path.split("/")[2]

    @property
    def _named(self) -> bool:
        """Whether the path names one record."""
        return "{key}" in self.path

    @property
    def _writes(self) -> bool:
        return self._action in SHAPES

    # --- What is asked ---

    def _get_parameters(self) -> list[Node]:
        found = [nodes.header("X-Request-Id", "Echoed; made when absent.")]
        if self._named:
            what = "The biller's external reference" if self._action == "upsert" else "Our id or the external reference"
            what = what if issubclass(self.view.queryset.model, Record) else "Our id"
            found.append({"name": "key", "in": "path", "required": True, "description": what, "schema": TEXT})
        elif self._action == "upsert":
            found.append(nodes.query("external_reference", TEXT, "For references with a slash.", required=True))
        if self._writes:
            pattern, required = r"^[A-Za-z0-9_-]{1,255}$", self._action == "void"
            found.append(nodes.header("Idempotency-Key", "Makes repeating safe.", pattern, required=required))
        if self._writes and self._action != "create":
            found.append(nodes.header("If-Match", "The version the change is meant for."))
        if self._action == "retrieve":
            found.append(nodes.header("If-None-Match", "The version at hand: 304 when it is current."))
        if not self._writes and self.view.answer.parents:
            schema = {"type": "array", "items": {"type": "string", "enum": list(self.view.answer.parents)}}
            found.append(nodes.query("expand", schema, "Parents to show as objects.", style="form", explode=False))
        if self._action == "feed":
            after = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 10**18 - 1, "default": 0}
            return [*found, nodes.query("after", after, "From next_after: the last sequence at hand."), _LIMIT]
        return found + (self._list_parameters() if self._action == "list" else [])

    def _list_parameters(self) -> list[Node]:
        sorts = [sign + name for name in self.view.sorts for sign in ("", "-")]
        found = [
            _LIMIT,
            nodes.query("cursor", TEXT, "From next_cursor or previous_cursor."),
            nodes.query("sort", {"type": "string", "enum": sorts, "default": self.view.first_sort}),
        ]
        found += [nodes.query(name, nodes.asked(one)) for name, one in self.view.filters.base_filters.items()]
        if "metadata.<key>" in self.view.filters.known():
            note = "By metadata: `metadata.<key>=<value>`, for example `metadata.route=7`."
            names = {"propertyNames": {"pattern": r"^metadata\..+"}, "additionalProperties": TEXT}
            # Without an example the page of the document would make up keys that are no filters.
            told = {"style": "form", "explode": True, "example": {}}
            found.append(nodes.query("metadata", {"type": "object", **names}, note, **told))
        return found

    def _get_request_body(self, direction: str = "request") -> Node | None:
        if not self._writes:
            return None
        content: Node = {"schema": self._shape(getattr(self.view, SHAPES[self._action]))}
        if shown := examples_of(self.get_operation_id()):
            content["examples"] = {name: {"summary": one["title"], "value": one["body"]} for name, one in shown.items()}
        return {"required": self._action not in BODILESS, "content": {"application/json": content}}

    # --- What is answered ---

    def _get_response_bodies(self, direction: str = "response") -> Node:
        answers: Node = {}
        shown = self._answer()
        if self._action == "feed":
            answers["200"] = nodes.response("The next events.", nodes.feed_of(shown), [])
        elif self._action == "redeliver":
            answers["202"] = nodes.response("It will be tried again.", shown, ["ETag", "Idempotent-Replayed"])
        elif self._action == "list":
            answers["200"] = nodes.response("A page.", nodes.page_of(shown), ["Next-Cursor", "Prev-Cursor", "Link"])
        elif self._action == "retrieve":
            answers["200"] = nodes.response("The record.", shown, ["ETag"])
            answers["304"] = nodes.response("Not changed.", None, ["ETag"])
        else:
            replays = ["ETag", "Idempotent-Replayed"]
            if self._action in {"create", "upsert"}:
                answers["201"] = nodes.response("Created.", shown, [*replays, "Location"])
            if self._action != "create":
                answers["200"] = nodes.response("The record as it is now.", shown, replays)
        nodes.show(examples_of(self.get_operation_id()), answers)
        self._component("Problem", nodes.problem_schema())
        return answers | {
            str(status): nodes.problem_response(status, found, self.path, self._headers_of(status))
            for status, found in sorted(self._refusals().items())
        }

    def _headers_of(self, status: int) -> list[str]:
        headers = {401: ["WWW-Authenticate"], 405: ["Allow"], 409: ["Retry-After"], 503: ["Retry-After"]}
        return headers.get(status, [])

    def _refusals(self) -> dict[int, list[str]]:
        """Return the codes of each status that this operation may refuse with."""
        found: dict[int, list[str]] = {
            400: ["invalid_parameter", "unknown_parameter", "repeated_parameter"],
            401: ["api_key_required", "invalid_api_key"],
            403: ["api_key_revoked", "api_key_expired", "api_key_out_of_scope"],
            405: ["method_not_allowed"],
            406: ["not_acceptable"],
            500: ["internal_error"],
            503: ["unavailable"],
        }
        if self._action == "feed":
            found[400] += ["invalid_limit"]
        elif self._action == "list":
            found[400] += ["invalid_limit", "invalid_sort", "invalid_cursor"]
        elif self._named and self._action != "upsert":
            found[404] = [f"{str(self.view.queryset.model._meta.verbose_name).replace(' ', '_')}_not_found"]
        return self._refused_writes(found) if self._writes else found

    def _refused_writes(self, found: dict[int, list[str]]) -> dict[int, list[str]]:
        found[400] = ["invalid_request", "invalid_json", *found[400], "invalid_idempotency_key"]
        found[409], found[422] = ["idempotency_in_progress"], ["idempotency_key_reused"]
        found |= {413: ["request_too_large"], 415: ["unsupported_media_type"]}
        if self._action != "create":
            found[412] = ["stale"]
        if self._action == "upsert":
            found[400] += ["invalid_reference"]
        if self._action == "void":
            found[400] += ["idempotency_key_required"]
            found[409] += ["bill_has_payments", "bill_voided"]
            return found
        if (refused := REFUSED.get((self._collection, self._action))) is not None:
            for status, codes in refused.items():
                found[status] += codes
            return found
        kinds = RECORDS[: RECORDS.index(self.view.queryset.model.kind) + 1]
        if self._action != "partial_update":
            found[409].insert(0, "external_reference_taken")
            found[422] += [f"{parent}_not_found" for parent in kinds[:-1]]
        if kinds == RECORDS:
            found[422] += [
                "bill_without_account" if self._action == "partial_update" else "account_of_another_customer"
            ]
        for code in rules_of(kinds):
            rule = named()[code]
            # A Rule holds how a row may change, which a new row cannot break.
            if self._action != "create" or not (isinstance(rule, Rule) or is_conflict(rule)):
                found[409 if is_conflict(rule) else 422].append(code)
        return found

    # --- Components ---

    def _answer(self) -> Node:
        """Return the schema of the record, with its parents where they may be expanded."""
        answer = self.view.answers.get(self._action, self.view.answer)
        if not answer.parents or self._writes:
            return self._plain(answer)
        return self._component(f"{_noun(answer)}Expanded", nodes.expanded(answer, self._plain))

    def _plain(self, answer: type[serializers.Serializer]) -> Node:
        return self._component(_noun(answer), nodes.record(answer()))

    def _shape(self, shape: serializers.Serializer) -> Node:
        schema: Node = {
            "type": "object",
            "description": type(shape).__doc__,
            "properties": {name: self._sent(field) for name, field in shape.fields.items()},
            "additionalProperties": False,
        }
        if required := [name for name, field in shape.fields.items() if field.required]:
            schema["required"] = required
        return self._component(type(shape).__name__, schema)

    def _sent(self, field: Any) -> Node:
        if isinstance(field, serializers.Serializer):
            return self._shape(field)
        if isinstance(field, fields.Parent):
            name = {"type": "string", "minLength": 1, "maxLength": 255, "description": "Id or external reference"}
            return {"oneOf": [name, self._shape(field.shape)]}
        schema = nodes.sent(field)
        if field.allow_null:
            schema["type"] = [schema["type"], "null"]
        return schema

    def _component(self, name: str, schema: Node) -> Node:
        self.registry.register_on_missing(ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=schema, object=name))
        return {"$ref": f"#/components/schemas/{name}"}


def _noun(answer: type[serializers.Serializer]) -> str:
    return answer.__name__.removesuffix("Answer")


def add_health(result: Node, **_: Any) -> Node:
    """Describe the addresses that tell whether we are up; they need no key."""
    for name, what in (("live", "The process runs"), ("ready", "The database answers")):
        answers = {"200": nodes.response(f"{what}.", nodes.STATUS_OK, [])}
        if name == "ready":
            answers["503"] = nodes.problem_response(503, ["unavailable"], "/health/ready", ["Retry-After"])
        nodes.show(examples_of(f"health_{name}"), answers)
        result["paths"][f"/health/{name}"] = {
            "get": {
                "operationId": f"health_{name}",
                "summary": what,
                "tags": ["health"],
                "security": [],
                "responses": answers,
            }
        }
    return result
