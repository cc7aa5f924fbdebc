"""The same request again gets the first answer: the key's row commits with the effect, or not at all."""

import hashlib
import re
from typing import Any

import orjson
from django.db import DatabaseError, connection
from django.http import HttpResponse
from rest_framework.request import Request

from api.authentication import Caller, caller_of
from api.models import IdempotencyKey
from api.problems import LOCK_NOT_AVAILABLE, Problem
from billers.acts import MOMENT, Act

_KEY = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")

# One statement: it tells the audit trail who acts, bounds every wait of the transaction, and takes the key. Where
# another request holds the key, it waits for that one's COMMIT.
_CLAIM = f"""
    WITH moment AS ({MOMENT})
    INSERT INTO api_idempotencykey (scope_id, key, fingerprint, headers) SELECT %s, %s, %s, '{{}}' FROM moment
    ON CONFLICT DO NOTHING RETURNING true
"""  # noqa: S608 a statement of ours
_KEEP = "UPDATE api_idempotencykey SET status = %s, headers = %s, body = %s WHERE scope_id = %s AND key = %s"


class Replayed(Exception):  # noqa: N818 an answer, not an error
    """The key has been answered already; `answer` is what was said."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.answer = answer


class Claim:
    """One request's hold on its idempotency key."""

    def __init__(self, caller: Caller, key: str, fingerprint: bytes) -> None:
        self.scope_id = caller.scope_id
        self.key = key
        self.fingerprint = fingerprint

    @classmethod
    def of(cls, request: Request, body: Any, *, required: bool) -> "Claim | None":
        """Return the claim a request makes, or None when it brings no key.

        Raises:
            Problem: 400 `idempotency_key_required` or `invalid_idempotency_key`.
        """
        key = request.META.get("HTTP_IDEMPOTENCY_KEY")
        if key is None:
            if required:
                raise Problem(400, "idempotency_key_required", "This call needs an Idempotency-Key header.")
            return None
        if not _KEY.match(key):
            raise Problem(400, "invalid_idempotency_key", "An Idempotency-Key is 1 to 255 of A-Z a-z 0-9 _ -.")
        said = (request.method, request.path, sorted(request.query_params.lists()), body)
        return cls(caller_of(request), key, hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest())

    def take(self, act: Act) -> None:
        """Take the key for this transaction, or raise what was answered under it.

        Raises:
            Replayed: the same request has succeeded before.
            Problem: 409 `idempotency_in_progress`, 422 `idempotency_key_reused`.
        """
        try:
            with connection.cursor() as cursor:
                cursor.execute(_CLAIM, [*act.moment, self.scope_id, self.key, self.fingerprint])
                if cursor.fetchone():
                    return
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            detail = "The same Idempotency-Key is being worked on. Ask again for its answer."
            raise Problem(409, "idempotency_in_progress", detail, headers={"Retry-After": "1"}) from None
        raise self._said_before()

    def keep(self, answer: HttpResponse) -> None:
        """Remember the answer, in the transaction of its effect."""
        headers = {name: answer.headers[name] for name in ("ETag", "Location") if name in answer.headers}
        with connection.cursor() as cursor:
            cursor.execute(
                _KEEP, [answer.status_code, orjson.dumps(headers).decode(), answer.content, self.scope_id, self.key]
            )

    def _said_before(self) -> Exception:
        first = IdempotencyKey.objects.get(scope_id=self.scope_id, key=self.key)
        if bytes(first.fingerprint) != self.fingerprint:
            detail = "This Idempotency-Key was used for another request. Take a new one."
            return Problem(422, "idempotency_key_reused", detail)
        answer = HttpResponse(bytes(first.body or b""), content_type="application/json", status=first.status)
        for name, text in {**first.headers, "Idempotent-Replayed": "true"}.items():
            answer.headers[name] = text
        return Replayed(answer)
