"""The worker: numbers events, files their deliveries, and carries them to their endpoints.

An endpoint is served by one thread of one worker at a time, which holds it by a lease. So first attempts go in the
order of the events, a slow endpoint holds up itself alone, and whoever is killed loses nothing: the lease runs out, and
what was not written down as delivered is sent again.
"""

import logging
import queue
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from billers.acts import Act, perform
from billers.models import Biller
from core.ids import encode
from core.statements import Row
from events.models import Delivery, Event, State, Stopped, WebhookEndpoint, WebhookSecret
from events.sending import GONE, Outcome, send

logger = logging.getLogger(__name__)

ACTOR = "worker:webhooks"
TRIED_FOR = timedelta(days=3)
FIRST_GAP, LONGEST_GAP, GROWTH = timedelta(seconds=5), timedelta(hours=12), 3
JITTER = 0.2
LONGEST_REST = timedelta(minutes=1)
LONGEST_ASKED_REST = timedelta(hours=1)
MOST_SIGNATURES = 5
BATCH = 20
POLL_SECONDS = 1.0
SWEEP_SECONDS = 60.0


def next_gap(
    attempts: int, elapsed: timedelta, retry_after: timedelta | None = None, jitter: float = 0.0
) -> timedelta | None:
    """Return how long to wait after so many failed attempts, the first of them `elapsed` ago; None when it is given up.

    The gaps are 5 s, 15 s, 45 s and so on up to 12 hours, each up to a fifth longer by `jitter` (0 to 1), and no
    shorter than the endpoint asks. The last attempt is made when three days are over.
    """
    left = TRIED_FOR - elapsed
    if left <= timedelta(0):
        return None
    gap = min(FIRST_GAP * GROWTH ** min(attempts - 1, 20), LONGEST_GAP) * (1 + JITTER * jitter)
    return min(max(gap, retry_after or gap), left)


def rest(failures: int, retry_after: timedelta | None = None) -> timedelta:
    """Return how long an endpoint is left alone after so many failures in a row, whatever waits for it."""
    asked = min(retry_after or timedelta(0), LONGEST_ASKED_REST)
    return max(min(timedelta(seconds=2 ** min(failures, 10)), LONGEST_REST), asked)


@dataclass
class Report:
    """What a worker has done."""

    numbered: int = 0
    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def count(self, **done: int) -> None:
        """Add to the counts; threads share them."""
        with self._lock:
            for name, number in done.items():
                setattr(self, name, getattr(self, name) + number)

    @property
    def counts(self) -> dict[str, int]:
        """The counts by their names."""
        return {name: getattr(self, name) for name in ("numbered", "delivered", "failed", "given_up")}


@dataclass
class Round:
    """One turn with an endpoint, held by a lease until it is given back."""

    biller_id: str
    endpoint_id: str
    url: str
    version: int
    failures: int
    leased_until: Any


class Courier:
    """Delivers until it is stopped, or with `once` until nothing is left that can be sent now."""

    def __init__(self, *, once: bool = False, threads: int | None = None) -> None:
        self.once = once
        self.report = Report()
        self.seconds = settings.WEBHOOK_TIMEOUT_SECONDS
        self._threads = threads or settings.WEBHOOK_THREADS
        self._rounds: queue.SimpleQueue[Round | None] = queue.SimpleQueue()
        self._busy = 0
        self._counting = threading.Lock()
        self._stopping, self._awake = False, threading.Event()
        self._swept_at = -SWEEP_SECONDS

    def stop(self) -> None:
        """Ask for an end, from a signal's handler too: attempts under way are finished."""
        self._stopping = True

    def work(self) -> dict[str, int]:
        """Deliver; return the counts."""
        return self.run().counts

    def run(self) -> Report:
        """Deliver."""
        carriers = [threading.Thread(target=self._carry) for _ in range(self._threads)]
        for carrier in carriers:
            carrier.start()
        try:
            while not self._stopping:
                if not self._look() and self.once:
                    break
        finally:
            self.stop()
            for _ in carriers:
                self._rounds.put(None)
            for carrier in carriers:
                carrier.join()
        return self.report

    def _look(self) -> bool:
        """Do what there is to do, or wait a moment; return whether there may be more."""
        was_idle = not self._busy
        found = 0
        try:
            connection.close_if_unusable_or_obsolete()
            found = self._pick_up() + self._hand_out()
            self._sweep()
        except (DatabaseError, InterfaceError):
            if self.once:
                raise
            logger.warning("webhooks_without_database", exc_info=True)
            was_idle = False
        if found:
            return True
        if self.once and was_idle:
            return False
        self._awake.wait(POLL_SECONDS)
        self._awake.clear()
        return True

    def _pick_up(self) -> int:
        """Have a chunk of the events numbered of each biller that has some waiting."""
        with connection.cursor() as cursor:
            cursor.execute(_WAITING)
            billers = [key for (key,) in cursor.fetchall()]
        numbered = sum(Event.objects.pick_up(key) for key in billers)
        self.report.count(numbered=numbered)
        return numbered

    def _hand_out(self) -> int:
        """Lease as many endpoints as there are threads without one; return how many."""
        free = self._threads - self._busy
        if free < 1:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_LEASE, {"free": free, "lease": self.seconds * 4})
            rounds = [
                Round(encode("blr", biller), encode("whe", endpoint), *others)
                for biller, endpoint, *others in cursor.fetchall()
            ]
        for one in rounds:
            with self._counting:
                self._busy += 1
            self._rounds.put(one)
        return len(rounds)

    def _sweep(self) -> None:
        """Give up what has waited for three days at an endpoint that is disabled or does not answer."""
        if time.monotonic() < self._swept_at + SWEEP_SECONDS:
            return
        self._swept_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(_SWEEP, {"tried_for": TRIED_FOR.total_seconds()})
            self.report.count(given_up=cursor.rowcount)

    # --- What each thread does ---

    def _carry(self) -> None:
        try:
            while (one := self._rounds.get()) is not None:
                try:
                    connection.close_if_unusable_or_obsolete()
                    self._serve(one)
                except Exception:  # whatever it is, the lease runs out and others are served meanwhile
                    logger.exception("webhook_round_failed")
                finally:
                    with self._counting:
                        self._busy -= 1
                    self._awake.set()
        finally:
            connections.close_all()

    def _serve(self, one: Round) -> None:
        """Send what is due to one endpoint, in order, until there is nothing more, it fails, or others want a turn."""
        secrets = _secrets(one)
        until = time.monotonic() + self.seconds
        resting, ours = timedelta(0), True
        while ours and (batch := _due(one)):
            for delivery in batch:
                outcome = self._attempt(one, delivery, secrets)
                ours = self._write_down(one, delivery, outcome) == one.version
                one.failures = 0 if outcome.delivered else one.failures + 1
                if not outcome.delivered:
                    resting, ours = rest(one.failures, outcome.retry_after), False
                if not ours or self._stopping or time.monotonic() > until:
                    ours = False
                    break
        leased = WebhookEndpoint.objects.for_biller(one.biller_id).filter(pk=one.endpoint_id, free_at=one.leased_until)
        leased.update(free_at=Now() + resting, failures=one.failures)

    def _attempt(self, one: Round, delivery: Row, secrets: list[str]) -> Outcome:
        event = {name: delivery[f"event__{name}"] for name in Event.TOLD}
        body = orjson.dumps(Event.letter(event), option=orjson.OPT_UTC_Z)
        return send(one.url, event["id"], body, secrets, self.seconds)

    def _write_down(self, one: Round, delivery: Row, outcome: Outcome) -> int | None:
        """Record an attempt; return the version of its endpoint."""
        begun_at = delivery["begun_at"] or timezone.now()
        gap = next_gap(
            delivery["attempts"] + 1,
            timezone.now() - begun_at,
            outcome.retry_after,
            random.random(),  # noqa: S311 jitter, not a secret
        )
        if outcome.status == GONE:
            gap = None
            self._stop_endpoint(one)
        state = State.DELIVERED if outcome.delivered else State.PENDING if gap else State.GIVEN_UP
        with connection.cursor() as cursor:
            cursor.execute(
                _WRITE_DOWN,
                {
                    "biller": Biller._meta.pk.get_db_prep_value(one.biller_id, connection),
                    "delivery": Delivery._meta.pk.get_db_prep_value(delivery["id"], connection),
                    "attempts": delivery["attempts"],
                    "state": str(state),
                    "gap": gap.total_seconds() if gap and state == State.PENDING else None,
                    "begun_at": begun_at,
                    "status": outcome.status,
                    "error": outcome.error,
                },
            )
            found = cursor.fetchone()
        self.report.count(delivered=outcome.delivered, failed=not outcome.delivered, given_up=state == State.GIVEN_UP)
        return found and found[0]

    def _stop_endpoint(self, one: Round) -> None:
        """Disable an endpoint that said it is gone."""

        def stop(act: Act) -> None:
            WebhookEndpoint.objects.stop(act, one.endpoint_id, Stopped.GONE)

        perform(Biller.objects.get(pk=one.biller_id), ACTOR, stop, reason="It answered 410.")


def _secrets(one: Round) -> list[str]:
    """Return the secrets that sign for an endpoint, the newest first."""
    kept = WebhookSecret.objects.for_biller(one.biller_id).filter(endpoint_id=one.endpoint_id)
    signing = kept.filter(Q(expires_at=None) | Q(expires_at__gt=Now())).order_by("-created_at", "-id")
    return list(signing.values_list("secret", flat=True)[:MOST_SIGNATURES])


def _due(one: Round) -> list[Row]:
    told = [f"event__{name}" for name in Event.TOLD]
    due = Delivery.objects.for_biller(one.biller_id).filter(endpoint_id=one.endpoint_id).due()
    return list(due.with_parents().values("id", "attempts", "begun_at", *told)[:BATCH])


_WAITING = """
    SELECT biller.id FROM billers_biller AS biller CROSS JOIN LATERAL (
        SELECT FROM events_event AS event WHERE event.biller_id = biller.id AND event.sequence IS NULL LIMIT 1
    ) AS waiting
"""
_LEASE = """
    WITH due AS (
        SELECT endpoint.biller_id, endpoint.id FROM events_webhookendpoint AS endpoint CROSS JOIN LATERAL (
            SELECT FROM events_delivery AS delivery
            WHERE delivery.biller_id = endpoint.biller_id AND delivery.endpoint_id = endpoint.id
                AND delivery.state = 'pending' AND delivery.due_at <= statement_timestamp() LIMIT 1
        ) AS waiting
        WHERE endpoint.enabled AND endpoint.free_at <= statement_timestamp()
        ORDER BY endpoint.free_at LIMIT %(free)s FOR NO KEY UPDATE OF endpoint SKIP LOCKED
    )
    UPDATE events_webhookendpoint AS endpoint SET free_at = statement_timestamp() + make_interval(secs => %(lease)s)
    FROM due WHERE endpoint.biller_id = due.biller_id AND endpoint.id = due.id
    RETURNING endpoint.biller_id, endpoint.id, endpoint.url, endpoint.version, endpoint.failures, endpoint.free_at
"""
_WRITE_DOWN = """
    UPDATE events_delivery AS delivery SET state = %(state)s::text,
        due_at = statement_timestamp() + make_interval(secs => %(gap)s), attempts = attempts + 1,
        begun_at = COALESCE(begun_at, %(begun_at)s), last_attempt_at = statement_timestamp(),
        last_status = %(status)s, last_error = %(error)s
    WHERE biller_id = %(biller)s AND id = %(delivery)s AND state = 'pending'
        AND (attempts = %(attempts)s OR %(state)s::text = 'delivered')
    RETURNING (
        SELECT endpoint.version FROM events_webhookendpoint AS endpoint
        WHERE endpoint.biller_id = delivery.biller_id AND endpoint.id = delivery.endpoint_id
    )
"""
_SWEEP = """
    UPDATE events_delivery AS delivery SET state = 'given_up', due_at = NULL,
        last_error = COALESCE(delivery.last_error, 'It could not be tried within three days.')
    FROM events_webhookendpoint AS endpoint
    WHERE endpoint.biller_id = delivery.biller_id AND endpoint.id = delivery.endpoint_id AND delivery.state = 'pending'
        AND COALESCE(delivery.begun_at, delivery.due_at) <= statement_timestamp() - make_interval(secs => %(tried_for)s)
        AND (NOT endpoint.enabled OR (endpoint.failures > 0 AND delivery.attempts = 0))
"""
