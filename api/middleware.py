"""What happens around every request; the console's middlewares stay away from the API's paths."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.middleware import clickjacking, common, csrf

from api.problems import MEDIA_TYPE, TITLES, problem

logger = logging.getLogger("billing.requests")

REDIRECTS = {301, 302, 307, 308}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")


def is_api(path: str) -> bool:
    """Tell whether a path is the API's: no session, no cookie, never HTML."""
    return path.startswith(("/billing/", "/partner/", "/health/", "/openapi.json")) or path in {"/billing", "/partner"}


class RequestMiddleware:
    """Names each request, echoes and logs the name, and turns what fails around the API's views into a problem."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=request.request_id):  # type: ignore[attr-defined]
            response = self.get_response(request)
            if response.status_code >= 400 and is_api(request.path_info) and response["Content-Type"] != MEDIA_TYPE:  # noqa: PLR2004
                response = self._as_problem(request, response.status_code)
            if response.status_code in REDIRECTS and is_api(request.path_info):
                del response["Content-Type"]  # nothing is in it, least of all HTML
            response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
            if not response.streaming:
                response.setdefault("Content-Length", str(len(response.content)))
            logger.info(
                "%s %s %s %.1f ms",
                request.method,
                request.path,
                response.status_code,
                (time.perf_counter() - started) * 1000,
            )
        return response

    def _as_problem(self, request: HttpRequest, status: int) -> HttpResponse:
        codes = {400: "invalid_request", 404: "not_found", 413: "request_too_large"}
        status = status if status in TITLES else 400 if status < 500 else 500  # noqa: PLR2004
        return problem(request, status, codes.get(status, "internal_error"), f"{TITLES[status]}.")


class ConsoleOnly:
    """Passes the API's requests on untouched."""

    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> Any:
        if is_api(request.path_info):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(ConsoleOnly, sessions.SessionMiddleware):
    """Sessions for the console."""


class CommonMiddleware(ConsoleOnly, common.CommonMiddleware):
    """Hosts and trailing slashes for the console."""


class AuthenticationMiddleware(ConsoleOnly, auth.AuthenticationMiddleware):
    """Staff for the console."""


class MessageMiddleware(ConsoleOnly, messages.MessageMiddleware):
    """Messages for the console."""


class XFrameOptionsMiddleware(ConsoleOnly, clickjacking.XFrameOptionsMiddleware):
    """No frames around the console."""


class CsrfViewMiddleware(ConsoleOnly, csrf.CsrfViewMiddleware):
    """No forged forms for the console."""
