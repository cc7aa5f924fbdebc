"""Who calls: `Authorization: Bearer sk_…`, looked up by its public part and compared in constant time."""

import hmac
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from api.problems import Problem
from billers.models import ApiKey, Biller, Owner, Partner, Scope
from core.ids import uuid_of

_MOST_REMEMBERED = 10_000
_USE_RECORDED_EVERY = timedelta(minutes=5)
_LONGEST_KEY = 200


@dataclass(frozen=True)
class Caller:
    """The biller or partner a request comes from, and the key that says so."""

    key_id: str
    owner: Owner
    scope: str
    expires_at: datetime | None

    @property
    def is_authenticated(self) -> bool:
        """Always: without a key there is no caller."""
        return True

    @property
    def scope_id(self) -> UUID:
        """Within what idempotency keys are told apart: one biller or partner in one mode, whichever key it uses."""
        return uuid_of(self.owner.pk)

    @property
    def actor(self) -> str:
        """How the ledger and the audit trail call this caller."""
        return f"key:{self.key_id}"


class KeyRing:
    """Remembers callers for a few seconds, in this process, so that most requests ask the database nothing.

    A revocation is therefore effective within `API_KEY_CACHE_SECONDS` everywhere. Only keys that work are remembered.
    """

    def __init__(self) -> None:
        self._remembered: dict[bytes, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def caller(self, text: str) -> Caller:
        """Return whom a key's text stands for.

        Raises:
            Problem: 401 `invalid_api_key`, 403 `api_key_revoked` or `api_key_expired`.
        """
        digest = ApiKey.digest_of(text)
        until, caller = self._remembered.get(digest, (0.0, None))
        if caller is None or until < time.monotonic():
            caller = self._looked_up(text, digest)
            with self._lock:
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[digest] = (time.monotonic() + settings.API_KEY_CACHE_SECONDS, caller)
        if caller.expires_at is not None and caller.expires_at <= timezone.now():
            raise Problem(403, "api_key_expired", "The API key has expired.")
        return caller

    def forget(self) -> None:
        """Forget every caller; the next request of each asks the database."""
        with self._lock:
            self._remembered.clear()

    def _looked_up(self, text: str, digest: bytes) -> Caller:
        key = ApiKey.objects.select_related("biller", "partner").filter(public_part=ApiKey.public(text)).first()
        if key is None or not hmac.compare_digest(bytes(key.digest), digest):
            raise unauthorised("invalid_api_key", "The API key is unknown.")
        if key.revoked_at is not None:
            raise Problem(403, "api_key_revoked", "The API key has been revoked.")
        now = timezone.now()
        if key.last_used_at is None or key.last_used_at < now - _USE_RECORDED_EVERY:
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        return Caller(key.pk, key.owner, key.scope, key.expires_at)


key_ring = KeyRing()


def unauthorised(code: str, detail: str) -> Problem:
    """Return the problem of a request without a valid key."""
    return Problem(401, code, detail, headers={"WWW-Authenticate": 'Bearer realm="billing"'})


class ApiKeyAuthentication(BaseAuthentication):
    """Makes `request.user` the caller."""

    def authenticate(self, request: HttpRequest | Request) -> tuple[Caller, Any]:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        text = text.strip()
        if not text or scheme.lower() != "bearer":
            raise unauthorised("api_key_required", "Send your API key as “Authorization: Bearer sk_…”.")
        if len(text) > _LONGEST_KEY or not text.isascii() or not text.isprintable():
            raise unauthorised("invalid_api_key", "The API key is unknown.")
        return key_ring.caller(text), None


def caller_of(request: Request) -> Caller:
    """Return who calls; a request that reaches a view has a caller."""
    return cast("Caller", request.user)


_WHOSE: dict[type[Owner], str] = {Biller: "a biller's", Partner: "a partner's"}


class KeyAllows(BasePermission):
    """A key opens the doors of its kind of owner alone, and one of scope `read` only reads."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = caller_of(request)
        if type(caller.owner) is not view.callers:
            whose, whom = _WHOSE[type(caller.owner)], _WHOSE[view.callers]
            raise Problem(403, "api_key_out_of_scope", f"The API key is {whose}; this address takes {whom}.")
        if request.method in {"GET", "HEAD", "OPTIONS"} or caller.scope == Scope.WRITE:
            return True
        raise Problem(403, "api_key_out_of_scope", "The API key may read, not write.")
