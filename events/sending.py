"""One webhook over the wire: signed, to a checked address, by its own clock, and nothing believed of the answer."""

import base64
import hashlib
import hmac
import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

from django.conf import settings

from events.targets import Target, TargetRefused

T = TypeVar("T")

GONE = 410
_READ_AT_MOST = 16 * 1024
_DRAIN_SECONDS = 1.0
_LONGEST_ERROR = 200


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt: the status of the answer, or why there was none."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took it: any 2xx."""
        return self.error is None


def signature(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one for each secret, as Standard Webhooks has it."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)


def send(url: str, message_id: str, body: bytes, secrets: Iterable[str], seconds: float) -> Outcome:
    """Post a body to a URL and return what became of it; everything together takes at most so many seconds."""
    ends_at = time.monotonic() + seconds
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Billing-Webhooks",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secrets, message_id, timestamp, body),
    }
    try:
        return _posted(Target.of(url), body, headers, ends_at)
    except TargetRefused as refused:
        error = str(refused)
    except TimeoutError:
        error = f"No answer within {seconds:g} s."
    except socket.gaierror:
        error = "The host has no address."
    except ssl.SSLCertVerificationError as unverified:
        error = f"The certificate is not to be trusted: {unverified.verify_message}."
    except ssl.SSLError as failed:
        error = f"TLS failed: {failed.reason or 'no reason given'}."
    except OSError as failed:
        error = f"The connection failed: {failed.strerror or 'it was closed'}."
    except (http.client.HTTPException, ValueError):
        error = "The answer is no HTTP."
    return Outcome(error=error[:_LONGEST_ERROR])


def _posted(target: Target, body: bytes, headers: dict[str, str], ends_at: float) -> Outcome:
    addresses = _within(_left(ends_at), target.addresses)
    connection = http.client.HTTPSConnection(target.host, target.port, context=_context(settings.WEBHOOK_CA_FILE))
    with _connected(target, addresses, ends_at) as line:
        connection.sock = line
        connection.request("POST", target.path, body, headers)
        with closing(connection.getresponse()) as response:
            # The answer stands by now. What follows is read for politeness, and thrown away: it may hold anything.
            line.ends_at = min(ends_at, time.monotonic() + _DRAIN_SECONDS)
            with suppress(OSError, http.client.HTTPException, ValueError):
                response.read(_READ_AT_MOST)
            return _outcome(response)


def _outcome(response: http.client.HTTPResponse) -> Outcome:
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004
        return Outcome(status)
    redirected = "; redirects are not followed" if 300 <= status < 400 else ""  # noqa: PLR2004
    return Outcome(status, f"It answered {status}{redirected}.", wait_of(response.headers.get("Retry-After")))


def wait_of(header: str | None, now: datetime | None = None) -> timedelta | None:
    """Return how long a Retry-After asks to wait, in seconds or until a date; None where it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(until - (now or datetime.now(UTC)), timedelta(0))


class _Line(ssl.SSLSocket):
    """A connection whose every wait ends when the attempt does: a server that drips bytes gains nothing."""

    ends_at: float

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(self.ends_at))
        return super().recv_into(*args, **options)

    def send(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(self.ends_at))
        return super().send(*args, **options)


@cache
def _context(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authorities:
        context.load_verify_locations(authorities)
    context.sslsocket_class = _Line
    return context


def _connected(target: Target, addresses: list[str], ends_at: float) -> _Line:
    """Connect to the first of the checked addresses that answers; the name is only shown and verified."""
    for place, address in enumerate(addresses, start=1):
        try:
            plain = socket.create_connection((address, target.port), timeout=_left(ends_at))
        except OSError:
            if place == len(addresses) or time.monotonic() >= ends_at:
                raise
        else:
            break
    try:
        plain.settimeout(_left(ends_at))
        line = _context(settings.WEBHOOK_CA_FILE).wrap_socket(plain, server_hostname=target.host)
    except BaseException:
        plain.close()
        raise
    assert isinstance(line, _Line)  # noqa: S101 the context makes no others
    line.ends_at = ends_at
    return line


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Return what a call returns, or give up on it: looking a name up has no clock of its own."""
    told: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            told.put((work(), None))
        except Exception as error:  # noqa: BLE001 it is raised where it was asked for
            told.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = told.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
