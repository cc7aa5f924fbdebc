"""The twin's authentication and pages."""

from typing import Any

from rest_framework import authentication, exceptions, pagination
from rest_framework.request import Request

from billers.models import ApiKey


class KeyAuthentication(authentication.BaseAuthentication):
    """Looks the key up, every time."""

    owner = "biller"

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = ApiKey.objects.select_related(self.owner).filter(digest=ApiKey.digest_of(text), revoked_at=None)
        key = key.filter(public_part=ApiKey.public(text)).first()
        if key is None:
            raise exceptions.AuthenticationFailed
        owner = getattr(key, self.owner)
        owner.is_authenticated = True
        return owner, key


class PartnerKeyAuthentication(KeyAuthentication):
    """Looks a partner's key up."""

    owner = "partner"


class NewestFirst(pagination.CursorPagination):
    """DRF's cursors."""

    ordering = "-created_at"
    page_size = 100
