"""The OpenAPI document, made from what the viewsets declare: shapes, answers, filters, sorts, parents."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework import serializers

from api import fields, nodes
from api.codes import RECORDS, rules_of
from api.examples import examples_of
from api.exporting import Table
from api.nodes import TEXT, Node
from api.operations import LIMIT, Operation, of
from billers.tenancy import Record
from core.refusals import is_conflict, named
from core.rules import Rule

CREATED, NOT_MODIFIED = 201, 304


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
        return f"{side}{self._collection}_{self._operation.name}{by_query}"

    def get_summary(self) -> str:
        more = ""
        if self._action == "upsert" and not self._named:
            more = " in the query"
        elif self._action == "list":
            order = self.view.first_sort
            more = ", newest first" if order == "-created_at" else f" by {order}"
            more = more if self._door == "billing" else f" {self._collection}{more}"
        return self._operation.summary + more

    def get_description(self) -> str:  # type: ignore[override]
        return str(getattr(self.view, self._action).__doc__ or "").partition("\n")[0]

    def get_tags(self) -> list[str]:
        # Billers look for their records by kind; partners meet a few calls, told on one page.
        return [self._collection if self._door == "billing" else self._door]

    @property
    def _action(self) -> str:
        return str(self.view.action)

    @property
    def _table(self) -> Table | None:
        """What its list looks like as text/csv."""
        return getattr(self.view, "table", None) if self._action == "list" else None

    @property
    def _operation(self) -> Operation:
        return of(self.view)

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

    # --- What is asked ---

    def _get_parameters(self) -> list[Node]:
        operation = self._operation
        found = [nodes.header("X-Request-Id", "Echoed; made when absent.")]
        if self._named:
            what = "The biller's external reference" if self._action == "upsert" else self.view.key_means
            found.append({"name": "key", "in": "path", "required": True, "description": what, "schema": TEXT})
        elif self._action == "upsert":
            found.append(nodes.query("external_reference", TEXT, "For references with a slash.", required=True))
        if operation.writes:
            pattern = r"^[A-Za-z0-9_-]{1,255}$"
            found.append(
                nodes.header("Idempotency-Key", "Makes repeating safe.", pattern, required=operation.key_required)
            )
        if operation.versioned and self._action != "create":
            what = "The version the change is meant for." if operation.writes else None
            found.append(
                nodes.header("If-Match", what)
                if what
                else nodes.header("If-None-Match", "The version at hand: 304 when it is current.")
            )
        if not operation.writes and self.view.answer.parents:
            schema = {"type": "array", "items": {"type": "string", "enum": list(self.view.answer.parents)}}
            found.append(nodes.query("expand", schema, "Parents to show as objects.", style="form", explode=False))
        return [*found, *operation.parameters, *(self._list_parameters() if self._action == "list" else [])]

    def _list_parameters(self) -> list[Node]:
        sorts = [sign + name for name in self.view.sorts for sign in ("", "-")]
        found = [
            LIMIT,
            nodes.query("cursor", TEXT, "From next_cursor or previous_cursor."),
            nodes.query("sort", {"type": "string", "enum": sorts, "default": self.view.first_sort}),
        ]
        found += [nodes.query(name, nodes.asked(one)) for name, one in self.view.filters.base_filters.items()]
        if table := self._table:
            note = f"Of text/csv: {', '.join(table.names)}, with commas between, or all."
            found.append(nodes.query("columns", TEXT, note))
        if "metadata.<key>" in self.view.filters.known():
            note = "By metadata: `metadata.<key>=<value>`, for example `metadata.route=7`."
            names = {"propertyNames": {"pattern": r"^metadata\..+"}, "additionalProperties": TEXT}
            # Without an example the page of the document would make up keys that are no filters.
            told = {"style": "form", "explode": True, "example": {}}
            found.append(nodes.query("metadata", {"type": "object", **names}, note, **told))
        return found

    def _get_request_body(self, direction: str = "request") -> Node | None:
        operation = self._operation
        if not operation.writes:
            return None
        if operation.bodies:
            return {"required": True, "content": dict(operation.bodies)}
        content: Node = {"schema": self._shape(getattr(self.view, operation.shape))}
        if shown := examples_of(self.get_operation_id()):
            content["examples"] = {name: {"summary": one["title"], "value": one["body"]} for name, one in shown.items()}
        return {"required": not operation.bodiless, "content": {"application/json": content}}

    # --- What is answered ---

    def _get_response_bodies(self, direction: str = "response") -> Node:
        operation = self._operation
        shown = None if operation.table_alone else operation.envelope(self._answer())
        answers = {
            str(status): nodes.response(meaning, None if status == NOT_MODIFIED else shown, self._told_with(status))
            for status, meaning in operation.answers.items()
        }
        if operation.table:
            written = {"schema": TEXT, "example": ",".join(operation.table) + "\r\n"}
            answers["200"].setdefault("content", {})["text/csv"] = written
        if table := self._table:
            usual = [column.name for column in table.chosen(None)[0]]
            told = (
                f"As text/csv the whole list, in no order unless sorted; {', '.join(self.view.of_pages)} are for JSON."
            )
            answers["200"]["description"] += f" {told}"
            answers["200"]["content"]["text/csv"] = {"schema": TEXT, "example": ",".join(usual) + "\n"}
        nodes.show(examples_of(self.get_operation_id()), answers)
        self._component("Problem", nodes.problem_schema())
        return answers | {
            str(status): nodes.problem_response(status, found, self.path, self._headers_of(status))
            for status, found in sorted(self._refusals().items())
        }

    def _told_with(self, status: int) -> list[str]:
        """Return the headers of a success."""
        operation = self._operation
        if self._action == "list":
            table = ["Vary", "Content-Disposition"] if self._table else []
            return ["Next-Cursor", "Prev-Cursor", "Link", *table]
        if operation.table:
            return ["Content-Disposition"] if operation.table_alone else ["Vary", "Content-Disposition"]
        tag = ["ETag"] if operation.versioned else []
        replays = ["Idempotent-Replayed"] if operation.writes else []
        located = (status == CREATED or self._action == "create") and operation.locates
        return [*tag, *replays, *(["Location"] if located else [])]

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
        operation = self._operation
        if operation.writes:
            found |= self._refusals_of_writes(found[400])
        if self._named and self._action != "upsert":
            found[404] = [f"{str(self.view.queryset.model._meta.verbose_name).replace(' ', '_')}_not_found"]
        for status, codes in operation.refuses.items():
            found.setdefault(status, []).extend(codes)
        if self._action in {"create", "upsert", "partial_update"} and issubclass(self.view.queryset.model, Record):
            self._add_rules(found)
        return found

    def _refusals_of_writes(self, reading: list[str]) -> dict[int, list[str]]:
        operation = self._operation
        required = ["idempotency_key_required"] if operation.key_required else []
        json = [] if operation.bodies else ["invalid_json"]
        return {
            400: ["invalid_request", *json, *reading, "invalid_idempotency_key", *required],
            409: ["idempotency_in_progress"],
            413: ["request_too_large"],
            415: ["unsupported_media_type"],
            422: ["idempotency_key_reused"],
            **({412: ["stale"]} if operation.versioned and self._action != "create" else {}),
        }

    def _add_rules(self, found: dict[int, list[str]]) -> None:
        """Add what the database refuses of customers, accounts and bills."""
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

    # --- Components ---

    def _answer(self) -> Node:
        """Return the schema of the record, with its parents where they may be expanded."""
        answer = self.view.answers.get(self._action, self.view.answer)
        if not answer.parents or self._operation.writes:
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
        if isinstance(field, fields.Several):
            listed = {"type": "array", "items": self._shape(field.shape), "minItems": 1, "maxItems": field.most}
            return {"oneOf": [listed, {"const": field.word}]}
        schema = dict(field.schema)
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
