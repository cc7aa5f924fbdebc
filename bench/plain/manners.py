"""The twin's authentication and pages."""

from typing import Any

from rest_framework import authentication, exceptions, pagination
from rest_framework.request import Request

from billers.models import ApiKey


class KeyAuthentication(authentication.BaseAuthentication):
    """Looks the key up, every time."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = ApiKey.objects.select_related("biller").filter(digest=ApiKey.digest_of(text), revoked_at=None)
        key = key.filter(public_part=ApiKey.public(text)).first()
        if key is None:
            raise exceptions.AuthenticationFailed
        key.biller.is_authenticated = True
        return key.biller, key


class NewestFirst(pagination.CursorPagination):
    """DRF's cursors."""

    ordering = "-created_at"
    page_size = 100
