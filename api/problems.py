"""Every error of the API is an RFC 9457 problem with a public code; this page knows them all."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

import orjson
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail

from core import refusals
from core.refusals import Reason, Refusal

View = Callable[..., HttpResponse]

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
LOCK_NOT_AVAILABLE = "55P03"

STATUS_OF: dict[type[Refusal], int] = {
    refusals.Malformed: 400,
    refusals.Missing: 404,
    refusals.ParentMissing: 422,
    refusals.ReferenceTaken: 409,
    refusals.Conflict: 409,
    refusals.RuleBroken: 422,
    refusals.Stale: 412,
}

TITLES = {
    400: "The request is malformed",
    401: "No valid API key",
    403: "The API key does not open this",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "The record has changed",
    413: "The request is too large",
    415: "Unsupported media type",
    422: "A rule refuses this",
    429: "Too many requests",
    500: "Our mistake",
    503: "Try again soon",
}


class Problem(exceptions.APIException):
    """A refusal of the API's own: of a key, a header, a parameter."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.code = code
        self.headers = headers or {}
        self.extra = extra


def invalid_parameter(name: str, detail: str, code: str = "invalid_parameter") -> Problem:
    """Return the problem with one query parameter."""
    return Problem(400, code, detail, errors=[{"pointer": "", "parameter": name, "code": code, "detail": detail}])


def problem(
    request: HttpRequest | None,
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> HttpResponse:
    """Return the response that tells a problem."""
    body = {
        "type": f"/problems/{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "instance": request.path if request is not None else "",
        "code": code,
        "errors": [],
        **extra,
    }
    return HttpResponse(
        orjson.dumps(body, default=str), content_type=MEDIA_TYPE, status=status, headers=dict(headers or {})
    )


ANSWERS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (exceptions.NotAcceptable, 406, "not_acceptable", "The answer is application/json."),
    (exceptions.UnsupportedMediaType, 415, "unsupported_media_type", "Send application/json in UTF-8."),
    (exceptions.NotFound, 404, "not_found", "There is nothing at this address."),
    (Http404, 404, "not_found", "There is nothing at this address."),
    (RequestDataTooBig, 413, "request_too_large", "The request is too large."),
    (SuspiciousOperation, 400, "invalid_request", "The request cannot be read."),
    (UnreadablePostError, 400, "invalid_request", "The request ended before its body did."),
    (exceptions.ParseError, 400, "invalid_request", "The request cannot be read."),
)
"""What Django and DRF raise by themselves, and how the API says it."""


def answer_problem(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Return the problem that an exception of a view means; nothing leaves the API as HTML or as a bare 500."""
    request = context["request"]
    if isinstance(error, Refusal):
        return refused(request, error)
    if isinstance(error, Problem):
        return problem(request, error.status_code, error.code, str(error.detail), headers=error.headers, **error.extra)
    if isinstance(error, exceptions.ValidationError):
        return malformed(request, list(reasons_of(error.detail)))
    if isinstance(error, exceptions.MethodNotAllowed):
        return method_not_allowed(request, context["view"].allowed_methods)
    for kind, status, code, detail in ANSWERS:
        if isinstance(error, kind):
            return problem(request, status, code, detail)
    return failed(request, error)


def reading(view: View) -> View:
    """Let a view outside the API's base be read, and nothing else."""

    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest, **named: Any) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            return method_not_allowed(request, ["GET", "HEAD"])
        return view(request, **named)

    return answered


def method_not_allowed(request: HttpRequest, offered: Iterable[str]) -> HttpResponse:
    """Return the problem of a method that an address does not offer."""
    detail = f"{request.method} is not offered here."
    return problem(request, 405, "method_not_allowed", detail, headers={"Allow": ", ".join(offered)})


def failed(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return the problem of a failure on our side: one that passes, or one that is a defect."""
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    if isinstance(error, OperationalError | InterfaceError) or sqlstate == LOCK_NOT_AVAILABLE:
        logger.warning("database_unavailable", exc_info=error)
        return unavailable(request)
    logger.error("unexpected_error", exc_info=error)
    return problem(request, 500, "internal_error", "Something broke on our side; the X-Request-Id names it.")


def unavailable(request: HttpRequest) -> HttpResponse:
    """Return the problem of a database that does not answer: try again, under the same idempotency key."""
    detail = "The service cannot answer now. Repeat the request, with the same Idempotency-Key, a little later."
    return problem(request, 503, "unavailable", detail, headers={"Retry-After": "1"})


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Return the problem that a refusal of the rules means."""
    if isinstance(refusal, refusals.Malformed):
        return malformed(request, refusal.reasons)
    first = refusal.reasons[0]
    return problem(request, STATUS_OF[type(refusal)], first.code, first.detail, errors=told(refusal.reasons))


def malformed(request: HttpRequest, reasons: Iterable[Reason]) -> HttpResponse:
    """Return the problem of a body whose shape is wrong, with everything that is wrong."""
    errors = told(reasons)
    detail = errors[0]["detail"] if len(errors) == 1 else f"{len(errors)} things are wrong with the body; see errors."
    return problem(request, 400, "invalid_request", detail, errors=errors)


def told(reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """Return reasons as the `errors` of a problem."""
    return [{"pointer": r.pointer, "code": r.code, "detail": r.detail, **r.extra} for r in reasons]


def reasons_of(detail: Any, pointer: str = "") -> Iterable[Reason]:
    """Flatten the errors of a DRF serializer into reasons with JSON Pointers (RFC 6901)."""
    if isinstance(detail, ErrorDetail):
        yield Reason(str(detail.code), str(detail), pointer)
    elif isinstance(detail, Mapping):
        for name, inner in detail.items():
            place = "" if name == "non_field_errors" else "/" + str(name).replace("~", "~0").replace("/", "~1")
            yield from reasons_of(inner, pointer + place)
    else:
        for inner in detail:
            yield from reasons_of(inner, pointer)
