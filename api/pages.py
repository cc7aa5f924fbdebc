"""Pages about the API: its document, the page that shows it, and what a problem code means."""

from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.codes import sentence
from api.problems import reading

DOCUMENT = settings.BASE_DIR / "docs" / "openapi.json"
PLAIN = "text/plain; charset=utf-8"


@cache
def _document() -> bytes:
    return DOCUMENT.read_bytes()


@reading
def document(request: HttpRequest) -> HttpResponse:
    """Answer the committed OpenAPI document; `make check` keeps it equal to the code."""
    return HttpResponse(_document(), content_type="application/json")


@reading
def docs(request: HttpRequest) -> HttpResponse:
    """Show the document."""
    return render(request, "api/docs.html")


@reading
def problem_page(request: HttpRequest, code: str) -> HttpResponse:
    """Answer what a problem code means; the address is the `type` of the problem."""
    told = sentence(code)
    if told is None:
        return HttpResponse("There is no such problem code.\n", content_type=PLAIN, status=404)
    return HttpResponse(f"{code}\n\n{told}\n", content_type=PLAIN)
