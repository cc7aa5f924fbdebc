"""The base of every viewset: the tenant, the manners of HTTP, and nothing of the business."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from django.db import connection, models
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework import viewsets
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request

from api.answers import Answer, RowAnswer, json_response
from api.authentication import caller_of
from api.cursors import DEFAULT_LIMIT, MAX_LIMIT, Page, Sort, page
from api.exporting import Export, Table
from api.filters import ListFilter
from api.idempotency import Claim, Replayed
from api.operations import Operation
from api.preconditions import etag, expected_versions, is_known
from api.problems import Problem, invalid_parameter, problem, reading
from api.serializers import Errors, Shape
from api.tables import JSON_OR_CSV, either, streamed, wants_table
from billers.acts import Act, perform
from billers.models import Biller, Owner
from billers.tenancy import TenantQuerySet
from core.refusals import Refusal, absent
from core.statements import Row
from core.text import is_reference

Verb = Callable[[Act], tuple[models.Model, bool]]
"""What a writing request does: returns the record, and whether it is new."""


class Door(viewsets.ViewSet):
    """What every door of the API has in common: whom it is for, how it is asked, and that it acts once."""

    metadata_class = None
    callers: ClassVar[type[Owner]]
    """Whose keys open it."""
    answer: ClassVar[type[RowAnswer]]
    answers: ClassVar[dict[str, type[RowAnswer]]] = {}
    """What an action answers that tells more than the others do."""
    operations: ClassVar[dict[str, Operation]] = {}
    """What the document says of actions that are not like those of every record."""
    key_means: ClassVar[str] = "Our id"
    """What the last part of a path names a row by."""
    # DRF would tell the methods in every answer; ours tell them with a 405.
    default_response_headers: ClassVar[dict[str, str]] = {}

    def asked(self, *known: str, accepts: Callable[[str], bool] = lambda _: False) -> dict[str, str]:
        """Return the query parameters.

        Raises:
            Problem: 400 for one that is unknown, stands twice or holds a NUL.
        """
        asked: dict[str, str] = {}
        for name, values in self.request.query_params.lists():
            if name not in known and not accepts(name):
                detail = f"“{name}” is not a parameter here. Known: {', '.join(sorted(known)) or 'none'}."
                raise invalid_parameter(name, detail, "unknown_parameter")
            if len(values) > 1:
                raise invalid_parameter(name, "This parameter stands twice.", "repeated_parameter")
            if "\0" in values[0] or "\0" in name:
                raise invalid_parameter(name, "A parameter cannot hold a NUL.")
            asked[name] = values[0]
        return asked

    def expanded(self, asked: dict[str, str]) -> list[str]:
        """Return the parents to show as objects."""
        if "expand" not in asked:
            return []
        names = asked["expand"].split(",")
        if not set(names) <= set(self.answer.parents):
            raise invalid_parameter("expand", f"Known: {', '.join(self.answer.parents)}.")
        return list(dict.fromkeys(names))

    def body(self, *, required: bool = True) -> Any:
        """Return the value of the body; an empty one is no JSON, and one that does not tell its length is not read."""
        body = self.request.data
        untold = self.request.META.get("CONTENT_LENGTH") in {None, "", "0"}
        if not body and untold and (required or "HTTP_TRANSFER_ENCODING" in self.request.META):
            raise Problem(400, "invalid_json", "The body is empty, or came without a Content-Length.")
        return body

    def once(
        self,
        biller: Biller | None,
        answered: Callable[[Act], HttpResponse],
        *,
        key_required: bool = False,
        said: Any = None,
    ) -> HttpResponse:
        """Do for a biller what a request asks, in one transaction and once per idempotency key of the caller.

        Without a biller the request names one by what it is about, and its verb finds it. `said` stands for a body
        that no parser reads.
        """
        claim = Claim.of(self.request, self.request.data if said is None else said, required=key_required)

        def kept(act: Act) -> HttpResponse:
            response = answered(act)
            if claim is not None:
                claim.keep(response)
            return response

        try:
            return perform(
                biller,
                caller_of(self.request).actor,
                kept,
                begin=claim.take if claim is not None else Act.announce,
                request_id=getattr(self.request, "request_id", None),
            )
        except Replayed as replayed:
            return replayed.answer


class TenantViewSet(Door):
    """A door to one biller's rows: the caller's key says which."""

    callers = Biller
    answer: ClassVar[type[Answer]]
    queryset: ClassVar[TenantQuerySet]

    @property
    def biller(self) -> Biller:
        """The biller whose key the request carries."""
        return cast("Biller", caller_of(self.request).owner)

    def rows(self) -> Any:
        """Return the rows of the caller's biller: the one place where the tenant is applied."""
        return self.queryset.for_biller(self.biller)

    def told(self, rows: Sequence[Row], expanded: Sequence[str]) -> list[Row]:
        """Return the JSON objects of rows."""
        biller = self.biller
        today = biller.today()
        return [self.answer.told_with(row, expanded, biller, today) for row in rows]


@dataclass(frozen=True)
class Asking:
    """Whose rows the filters of a list narrow down, where no request says so."""

    biller: Biller


class Listing(Door):
    """Lists by cursor, of the rows that a door opens."""

    filters: ClassVar[type[ListFilter]] = ListFilter
    sorts: ClassVar[dict[str, bool]] = {"created_at": False}
    """The fields to sort by, and whether each may be without a value."""
    first_sort: ClassVar[str] = "-created_at"

    def rows(self) -> Any:
        """Return the rows that the caller may see."""
        raise NotImplementedError

    def told(self, rows: Sequence[Row], expanded: Sequence[str]) -> Sequence[Row]:
        """Return the JSON objects of rows."""
        raise NotImplementedError

    def list(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        """Answer a page of the rows that were asked for, in the list's own order unless sorted."""
        expand = ["expand"] if self.answer.parents else []
        known = [*self.filters.known(), "limit", "cursor", "sort", *expand]
        asked = self.asked(*known, accepts=self.filters.knows)
        expanded = self.expanded(asked)
        rows, columns = self.reading(self.filters.narrowed(self.rows(), asked, self), expanded)
        found = page(
            rows, columns, self.sorted_by(asked.get("sort", self.first_sort)), self._limit(asked), asked.get("cursor")
        )
        told = self.told(found.rows, expanded)
        response = json_response(
            {"data": told, "next_cursor": found.next_cursor, "previous_cursor": found.previous_cursor}
        )
        _link(request, response, found)
        return response

    def reading(self, rows: Any, expanded: Sequence[str]) -> tuple[Any, Sequence[str]]:
        """Return the rows as they are read, and which of their columns."""
        return rows, self.answer.columns_with(expanded)

    @classmethod
    def sorted_by(cls, name: str) -> Sort:
        """Return the order that `sort=` names.

        Raises:
            Problem: 400 `invalid_sort`.
        """
        field = name.removeprefix("-")
        if field not in cls.sorts:
            raise invalid_parameter("sort", f"Sort by {', '.join(cls.sorts)}; a leading - descends.", "invalid_sort")
        return Sort(field, descending=name.startswith("-"), nullable=cls.sorts[field])

    def _limit(self, asked: dict[str, str]) -> int:
        text = asked.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):  # noqa: PLR2004
            raise invalid_parameter("limit", f"A limit is 1 to {MAX_LIMIT}.", "invalid_limit")
        return int(text)


def _link(request: Request, response: HttpResponse, found: Page) -> None:
    """Tell the neighbouring pages in the headers too (RFC 8288)."""
    links = []
    for relation, header, cursor in (
        ("next", "Next-Cursor", found.next_cursor),
        ("prev", "Prev-Cursor", found.previous_cursor),
    ):
        if cursor:
            query = request.query_params.copy()
            query["cursor"] = cursor
            links.append(f'<{request.path}?{query.urlencode()}>; rel="{relation}"')
            response.headers[header] = cursor
    if links:
        response.headers["Link"] = ", ".join(links)


class ListViewSet(TenantViewSet, Listing):
    """Lists of a biller's own rows, a page as JSON or, where a table is declared, all of them as CSV."""

    table: ClassVar[Table | None] = None
    of_pages: ClassVar[tuple[str, ...]] = ("limit", "cursor", "expand")
    """What can be asked for as JSON only."""

    def get_renderers(self) -> Any:
        if self.table is not None and self.action == "list":
            return [renderer() for renderer in JSON_OR_CSV]
        return super().get_renderers()

    def list(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        """Answer a page of the rows that were asked for, in the list's own order unless sorted."""
        if self.table is None:
            return super().list(request)
        if not wants_table(request):
            return either(super().list(request))
        asked = self.asked(*self.known_of_table(), *self.of_pages, accepts=self.filters.knows)
        return either(streamed(self.table.name, self.exported(self.biller, asked).chunks()))

    @classmethod
    def known_of_table(cls) -> Sequence[str]:
        """Return what can be asked of the table, for people."""
        return [*(name for name in cls.filters.known() if name not in cls.of_pages), "sort", "columns"]

    @classmethod
    def exported(cls, biller: Biller, asked: dict[str, str], *, counting: bool = False) -> Export:
        """Return the table of those rows of a biller that are asked for by the list's own filters.

        Raises:
            Problem: 400 for what no table can be asked.
        """
        if cls.table is None:
            raise TypeError("This list has no table.")
        for name in cls.of_pages:
            if name in asked:
                raise invalid_parameter(name, f"“{name}” is for JSON: a table is the whole list, as it is now.")
        rows = cls.filters.narrowed(cls.queryset.for_biller(biller), asked, Asking(biller))
        sort = cls.sorted_by(asked["sort"]) if "sort" in asked else None
        return Export(cls.table, rows, sort, asked.get("columns"), counting=counting)


class NamedViewSet(ListViewSet):
    """Rows that a path can name, written by verbs: declared by shapes and filters."""

    collection: ClassVar[str]
    create_shape: ClassVar[Shape]
    patch_shape: ClassVar[Shape]
    create_verb: ClassVar[str]
    asked_of_one: ClassVar[tuple[str, ...]] = ()
    """What the request for one record may say beside `expand`."""

    def create(self, request: Request) -> HttpResponse:
        """Create a record, and its parents where the body describes new ones."""
        self.asked()
        fields = self.create_shape.run_validation(self.body())
        create = getattr(self.verbs, self.create_verb)
        return self.write(lambda act: (create(act, **fields), True))

    def retrieve(self, request: Request, key: str) -> HttpResponse:
        """Answer one record."""
        expanded = self.expanded(self.asked(*self.asked_of_one, *(["expand"] if self.answer.parents else [])))
        found = self.found(key, expanded) if self.verbs.nameable(key) else []
        for row in found:
            version = row["version"]
            if is_known(request, version):
                response = HttpResponse(status=304, content_type="application/json")
            else:
                response = json_response(self.told([row], expanded)[0])
            response.headers["ETag"] = etag(version)
            return response
        raise self.absent(key)

    def found(self, key: str, expanded: Sequence[str]) -> Sequence[Row]:
        """Return the row that a key names, with its version, if there is one."""
        columns = (*self.answer.columns_with(expanded), "version")
        found: Sequence[Row] = self.verbs.values_of(self.biller.pk, key, columns)
        return found

    def partial_update(self, request: Request, key: str) -> HttpResponse:
        """Change the fields that are sent."""
        self.asked()
        versions = expected_versions(request)
        changes = self.patch_shape.run_validation(self.body())
        self.nameable(key)
        return self.write(lambda act: (self.verbs.amend(act, key, versions=versions, **changes), False))

    @property
    def verbs(self) -> Any:
        """The queryset whose verbs this door offers; each verb names the biller itself."""
        return self.queryset.model._default_manager

    def nameable(self, key: str) -> None:
        """Refuse a key that can name nothing, before any statement."""
        if not self.verbs.nameable(key):
            raise self.absent(key)

    def absent(self, key: str) -> Refusal:
        """Return the refusal of a key that names nothing here."""
        return absent(self.queryset.model, key)

    def shown(self, record: Any, act: Act) -> Row:
        """Return what a write answers."""
        answer: Any = self.answers.get(str(self.action), self.answer)
        shown: Row = answer.told(answer.row_of(record), self.biller, act.today)
        return shown

    def write(self, verb: Verb, *, key_required: bool = False, status: int = 200) -> HttpResponse:
        """Run a verb for the caller's biller, once, and answer with the record as it is then."""

        def answered(act: Act) -> HttpResponse:
            record, is_new = verb(act)
            told = self.shown(record, act)
            response = json_response(told, 201 if is_new else status)
            response.headers["ETag"] = etag(record.version)  # type: ignore[attr-defined]
            if is_new:
                response.headers["Location"] = f"{self.collection}/{told['id']}"
            return response

        return self.once(self.biller, answered, key_required=key_required)


class RecordViewSet(NamedViewSet):
    """Customers, accounts and bills, which the biller's own references name too."""

    put_shape: ClassVar[Shape]
    key_means = "Our id or the external reference"

    # Not “put”: Django would offer a method of that name at every address of the viewset.
    def upsert(self, request: Request, key: str | None = None) -> HttpResponse:
        """Create or update the record with the biller's own reference."""
        asked = self.asked(*([] if key is not None else ["external_reference"]))
        reference = key if key is not None else asked.get("external_reference", "")
        if not is_reference(reference):
            detail = "Name the record by its external reference: 1 to 255 printable characters."
            raise invalid_parameter("external_reference", detail, "invalid_reference")
        versions = expected_versions(request)
        body = self.body()
        fields = self.put_shape.run_validation(body, _other_reference(body, reference))
        fields.pop("external_reference", None)
        return self.write(lambda act: self.verbs.put(act, reference, versions=versions, **fields))


def _other_reference(body: Any, reference: str) -> Errors | None:
    """Return the error of a body that names another record than the path does."""
    if not isinstance(body, Mapping) or body.get("external_reference", reference) == reference:
        return None
    detail = "The body's external_reference differs from the path's."
    return {"external_reference": [ErrorDetail(detail, "reference_mismatch")]}


def nowhere(request: HttpRequest) -> HttpResponse:
    """Answer an address of the API that does not exist."""
    return problem(request, 404, "not_found", "There is nothing at this address.")


@reading
def live(request: HttpRequest) -> HttpResponse:
    """Answer that the process runs."""
    return json_response({"status": "ok"})


@reading
def ready(request: HttpRequest) -> HttpResponse:
    """Answer whether the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # noqa: BLE001 whatever it is, we are not ready
        return problem(request, 503, "unavailable", "The database does not answer.", headers={"Retry-After": "1"})
    return json_response({"status": "ok"})
