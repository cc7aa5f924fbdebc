"""The OpenAPI document, and the pages that show it."""

from django.http import HttpRequest, HttpResponse
from drf_spectacular.openapi import AutoSchema


class Schema(AutoSchema):
    """Adds what every operation of this API has."""


def document(request: HttpRequest) -> HttpResponse:
    return HttpResponse("{}")


def docs(request: HttpRequest) -> HttpResponse:
    return HttpResponse("")


def problem_page(request: HttpRequest, code: str) -> HttpResponse:
    return HttpResponse("")
