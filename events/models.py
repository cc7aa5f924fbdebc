"""What happened, told outward: one row for each event, committed with its cause, and numbered when it is picked up."""

import base64
import secrets
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from billers.acts import Act
from billers.models import Biller
from billers.tenancy import NamedQuerySet, Tenanted, TenantForeignKey, TenantQuerySet, Versions
from core.audit import audited
from core.documents import DocumentField
from core.ids import PrefixedIdField, as_uuid
from core.refusals import Conflict, RuleBroken
from core.rules import Versioned
from core.statements import Row, made
from events.targets import MAX_LENGTH

CHUNK = 1000
"""How many events are numbered in one transaction."""

MOST_ENDPOINTS = 20
"""How many enabled endpoints a biller has at most: each event becomes as many deliveries."""

OVERLAP = timedelta(hours=24)
"""How long a secret signs beside the one that replaces it."""

SECRET_BYTES = 32

EVERY = "*"
"""What an endpoint that takes every type of event takes, those to come included."""


def every_type() -> list[str]:
    """Return the types of an endpoint that names none."""
    return [EVERY]


class Type(models.TextChoices):
    """Everything that is told, of every app."""

    CUSTOMER_CREATED = "customer.created"
    CUSTOMER_UPDATED = "customer.updated"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_UPDATED = "account.updated"
    BILL_CREATED = "bill.created"
    BILL_UPDATED = "bill.updated"
    BILL_PAID = "bill.paid"
    BILL_VOIDED = "bill.voided"
    AMOUNT_APPLIED = "obligation.amount_applied"
    PAYMENT_REVERSED = "payment.reversed"
    IMPORT_COMPLETED = "import.completed"


class EventQuerySet(TenantQuerySet):
    """Words: numbered, waiting. Verb: pick up."""

    def numbered(self, biller: Any, *, after: int, limit: int) -> list[Row]:
        """Return a biller's events after a sequence, in the order of their sequences."""
        found = self.for_biller(biller).filter(sequence__gt=after).order_by("sequence")
        return list(found.values(*Event.TOLD)[:limit])

    def waiting(self, biller: Any) -> bool:
        """Tell whether events of a biller wait for their numbers."""
        return self.for_biller(biller).filter(sequence=None).exists()

    def pick_up(self, biller: Any) -> int:
        """Give a chunk of a biller's waiting events their numbers and file their deliveries; return how many.

        One at a time numbers a biller's events. The lock is taken in one statement and the events are looked at in the
        next, so that whoever had it before is seen to have numbered his.
        """
        with transaction.atomic():
            key = Numbering.take_turn(biller)
            with connection.cursor() as cursor:
                cursor.execute(_NUMBER, {"biller": key, "chunk": CHUNK})
                return int(cursor.fetchall()[0][0])


_TAKE_TURN = """
    SELECT set_config('lock_timeout', %s, true) FROM events_numbering WHERE biller_id = %s FOR UPDATE
"""
_FIRST_TURN = "INSERT INTO events_numbering (biller_id, last) VALUES (%s, 0) ON CONFLICT DO NOTHING"
_NUMBER = """
    WITH waiting AS (
        SELECT id, row_number() OVER (ORDER BY position) AS place FROM (
            SELECT id, position FROM events_event WHERE biller_id = %(biller)s AND sequence IS NULL
            ORDER BY position LIMIT %(chunk)s
        ) AS first
    ), numbered AS (
        UPDATE events_event AS event SET sequence = turn.last + waiting.place
        FROM waiting, events_numbering AS turn
        WHERE turn.biller_id = %(biller)s AND event.biller_id = %(biller)s AND event.id = waiting.id
        RETURNING event.sequence, event.type
    ), counted AS (
        UPDATE events_numbering SET last = last + (SELECT count(*) FROM numbered) WHERE biller_id = %(biller)s
    ), filed AS (
        INSERT INTO events_delivery (id, biller_id, endpoint_id, sequence, state, attempts, due_at)
        SELECT (
            lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex(numbered.sequence & 4095), 3, '0') || right(gen_random_uuid()::text, 17)
        )::uuid, %(biller)s, endpoint.id, numbered.sequence, 'pending', 0, statement_timestamp()
        FROM numbered JOIN events_webhookendpoint AS endpoint
            ON endpoint.biller_id = %(biller)s AND endpoint.enabled
            AND (endpoint.events = '{*}' OR numbered.type = ANY (endpoint.events))
        ORDER BY numbered.sequence
    )
    SELECT count(*) FROM numbered
"""


class Event(Tenanted):
    """Something that happened to a record. A receiver fetches the rest.

    `sequence` is given when the event is first picked up, never by the writer: numbering there would make a biller's
    writes wait for each other. `position` is given by the database at the INSERT, which the writer of a record makes
    under the record's lock: so an object's events keep their order, whatever the clocks that made their ids.
    """

    id = PrefixedIdField("evt", primary_key=True)
    type = models.CharField(max_length=40, help_text="For example bill.created.")
    object_id = models.UUIDField(help_text="The record it happened to.")
    body = DocumentField(help_text="id, external_reference, changed fields and amounts.")
    position = models.BigIntegerField(
        db_default=models.Func(models.Value("events_position"), function="nextval"), editable=False
    )
    sequence = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    TOLD = ("id", "type", "sequence", "created_at", "body")

    objects = EventQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["biller", "sequence"], name="event_sequence_unique"),
            models.CheckConstraint(
                condition=models.Q(type__in=Type.values),
                name="event_type_known",
                violation_error_message="Unknown type of event.",
            ),
        ]
        indexes = [
            # The worklist: events that nobody has numbered yet, in the order they happened.
            models.Index(fields=["biller", "position"], condition=models.Q(sequence=None), name="event_unnumbered"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.body.get('external_reference', '')}"

    @classmethod
    def told(cls, act: Act, record: Any, what: str, **changes: Any) -> "Event":
        """Return the event that `what` happened to a record, with the fields it changed."""
        body = {"id": record.pk, "external_reference": record.external_reference, **changes}
        return made(
            cls,
            biller_id=act.biller.pk,
            type=f"{record._meta.model_name}.{what}",
            object_id=record._meta.pk.get_db_prep_value(record.pk, None),
            body=body,
        )

    @classmethod
    def of(cls, act: Act, kind: str, record_id: str, **body: Any) -> "Event":
        """Return an event whose type is not named after its record, for example obligation.amount_applied of a bill."""
        object_id = as_uuid(record_id)
        return made(cls, biller_id=act.biller.pk, type=str(kind), object_id=object_id, body={"id": record_id, **body})

    @staticmethod
    def letter(row: Row) -> Row:
        """Return what is told of an event, in the feed and in a webhook alike, from its `TOLD` columns."""
        told = {name: row[name] for name in ("id", "type", "sequence", "created_at")}
        return {**told, "data": row["body"]}


class Numbering(models.Model):
    """How far a biller's events are numbered; its row is the lock under which they are."""

    biller = models.OneToOneField(
        "billers.Biller", on_delete=models.PROTECT, related_name="+", primary_key=True, db_constraint=False
    )
    last = models.BigIntegerField(help_text="The last sequence given.")

    def __str__(self) -> str:
        return f"{self.last}"

    @staticmethod
    def take_turn(biller: Any) -> Any:
        """Take a biller's lock until COMMIT; return its id as the database knows it."""
        key = Biller._meta.pk.get_db_prep_value(getattr(biller, "pk", biller), connection)
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_TURN, [f"{settings.LOCK_WAIT_SECONDS}s", key])
            if not cursor.fetchall():
                cursor.execute(_FIRST_TURN, [key])
                cursor.execute(_TAKE_TURN, [f"{settings.LOCK_WAIT_SECONDS}s", key])
        return key


class Stopped(models.TextChoices):
    """Why an endpoint is disabled."""

    ASKED = "asked", "Disabled"
    GONE = "gone", "Gone (410)"


class WebhookEndpointQuerySet(NamedQuerySet):
    """Words: enabled. Verbs: register, amend, rotate, stop."""

    def enabled(self) -> Self:
        """Return the endpoints that events are delivered to."""
        return self.filter(enabled=True)

    def register(self, act: Act, *, enabled: bool = True, **fields: Any) -> "WebhookEndpoint":
        """Create an endpoint with its first secret, which it carries this once as `secret`."""
        endpoint = made(self.model, biller_id=act.biller.pk, **fields)
        endpoint.turn(enabled=enabled)
        if enabled:
            self._room(act)
        act.plan(endpoint)
        endpoint.secret = WebhookSecret.invent()
        act.leave(made(WebhookSecret, biller_id=act.biller.pk, endpoint_id=endpoint.pk, secret=endpoint.secret))
        act.insert()
        return endpoint

    def amend(self, act: Act, key: str, *, versions: Versions = None, **changes: Any) -> "WebhookEndpoint":
        """Change an endpoint; a change that changes nothing writes nothing."""
        endpoint: WebhookEndpoint = self.held(act, key, versions)
        changed = {name: value for name, value in changes.items() if getattr(endpoint, name) != value}
        if "enabled" in changed:
            if endpoint.turn(enabled=changed["enabled"]):
                self._room(act)
            changed["disabled_reason"] = endpoint.disabled_reason
        if changed:
            for name, value in changed.items():
                setattr(endpoint, name, value)
            act.update(endpoint, changed)
        return endpoint

    def rotate(self, act: Act, key: str, *, versions: Versions = None) -> "WebhookEndpoint":
        """Give an endpoint a new secret, which it carries this once; those before it sign for another day."""
        endpoint: WebhookEndpoint = self.held(act, key, versions)
        kept = WebhookSecret.objects.for_biller(act.biller).filter(endpoint_id=endpoint.pk)
        kept.filter(expires_at__lte=Now()).delete()
        kept.filter(expires_at=None).update(expires_at=Now() + OVERLAP)
        endpoint.secret = WebhookSecret.invent()
        act.leave(made(WebhookSecret, biller_id=act.biller.pk, endpoint_id=endpoint.pk, secret=endpoint.secret))
        endpoint.secret_changed_at = timezone.now()
        act.update(endpoint, ["secret_changed_at"])
        return endpoint

    def stop(self, act: Act, key: str, why: Stopped) -> "WebhookEndpoint":
        """Disable an endpoint because of what it answered."""
        endpoint: WebhookEndpoint = self.held(act, key)
        if endpoint.enabled:
            endpoint.turn(enabled=False, why=why)
            act.update(endpoint, ["enabled", "disabled_reason"])
        return endpoint

    def _room(self, act: Act) -> None:
        """Refuse one more enabled endpoint than a biller may have; two at once cannot both be the last."""
        Numbering.take_turn(act.biller)
        if self.for_biller(act.biller).enabled().count() >= MOST_ENDPOINTS:
            detail = f"A biller has at most {MOST_ENDPOINTS} enabled webhook endpoints. Disable one first."
            raise RuleBroken.because("too_many_webhook_endpoints", detail)


@audited("biller", "id", model_name="WebhookEndpointHistory", exclude=("free_at", "failures"))
class WebhookEndpoint(Tenanted):
    """Where a biller wants to be told of events. It is never removed: it is disabled."""

    id = PrefixedIdField("whe", primary_key=True)
    url = models.CharField(max_length=MAX_LENGTH, help_text="https, on the public internet.")
    events = ArrayField(models.CharField(max_length=40), default=every_type, help_text="Types, or “*” alone for all.")
    description = models.CharField(max_length=500, null=True, blank=True)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=5, null=True, choices=Stopped.choices, editable=False)
    secret_changed_at = models.DateTimeField(db_default=Now(), editable=False, help_text="When it got its secret.")
    version = models.BigIntegerField(db_default=1, editable=False, help_text="Counts the changes: the ETag.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    # The worker's own: until when somebody delivers to it or it rests, and how often in a row it has failed.
    free_at = models.DateTimeField(db_default=Now(), editable=False)
    failures = models.IntegerField(default=0, editable=False)

    secret: str
    """The newest secret, in the answer that made it and nowhere else."""

    decided_by_database = ("version", "updated_at")

    objects = WebhookEndpointQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        verbose_name = "webhook endpoint"
        constraints = [
            models.UniqueConstraint(fields=["biller", "id"], name="webhook_endpoint_of_biller"),
            models.CheckConstraint(
                condition=models.Q(url__regex="^https://[!-~]+$"),
                name="webhook_endpoint_url_https",
                violation_error_message="A webhook endpoint's URL is https, in printable ASCII.",
            ),
            models.CheckConstraint(
                condition=models.Q(events__contained_by=[*Type.values, "*"], events__len__gte=1),
                name="webhook_endpoint_events_known",
                violation_error_message="A webhook endpoint takes known types of event, or “*” alone for all.",
            ),
            models.CheckConstraint(
                condition=models.Q(enabled=True, disabled_reason=None)
                | models.Q(enabled=False, disabled_reason__isnull=False, disabled_reason__in=Stopped.values),
                name="webhook_endpoint_disabled_why",
                violation_error_message="A webhook endpoint is enabled, or disabled for a reason.",
            ),
        ]
        indexes = [models.Index(fields=["biller", "created_at", "id"], name="webhook_endpoint_newest")]
        triggers = [Versioned(beside=("free_at", "failures"))]

    def __str__(self) -> str:
        return self.url

    def turn(self, *, enabled: bool, why: Stopped = Stopped.ASKED) -> bool:
        """Enable or disable it, not yet written; return whether it is enabled now."""
        self.enabled, self.disabled_reason = enabled, None if enabled else str(why)
        return enabled


class WebhookSecret(Tenanted):
    """What signs the webhooks of one endpoint: the newest, and until they expire those before it."""

    id = PrefixedIdField("sec", primary_key=True)
    endpoint_id = PrefixedIdField("whe")
    endpoint = TenantForeignKey(WebhookEndpoint, "endpoint_id", related_name="secrets")
    secret = models.CharField(max_length=80)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        indexes = [models.Index(fields=["biller", "endpoint_id", "created_at"], name="webhook_secret_newest")]

    def __str__(self) -> str:
        return f"of {self.endpoint_id}"

    @staticmethod
    def invent() -> str:
        """Return the text of a fresh secret."""
        return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class State(models.TextChoices):
    """How a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class DeliveryQuerySet(NamedQuerySet):
    """Words: due. Verbs: ask again."""

    def due(self) -> Self:
        """Return what is to be sent now, first attempts in the order of their events."""
        return self.filter(state=State.PENDING, due_at__lte=Now()).order_by("due_at", "sequence")

    def ask_again(self, act: Act, key: str, *, versions: Versions = None) -> "Delivery":
        """Have an event delivered once more, for another three days if need be; one that waits already stays as it is.

        Raises:
            Conflict: the endpoint is disabled.
        """
        delivery: Delivery = self.held(act, key, versions)
        if not delivery.endpoint.enabled:
            detail = "The webhook endpoint is disabled. Enable it first."
            raise Conflict.because("webhook_endpoint_disabled", detail)
        if delivery.state != State.PENDING or delivery.attempts:
            delivery.state, delivery.attempts, delivery.begun_at = State.PENDING.value, 0, None
            delivery.due_at = timezone.now()
            act.update(delivery, ["state", "attempts", "begun_at", "due_at"])
        return delivery


class Delivery(Tenanted):
    """One event on its way to one endpoint, and how that went last."""

    id = PrefixedIdField("dlv", primary_key=True)
    endpoint_id = PrefixedIdField("whe")
    endpoint = TenantForeignKey(WebhookEndpoint, "endpoint_id", related_name="deliveries")
    sequence = models.BigIntegerField()
    event = TenantForeignKey(Event, "sequence", key="sequence", related_name="deliveries")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    attempts = models.IntegerField(default=0, help_text="How often it has been tried since it was last asked for.")
    due_at = models.DateTimeField(null=True, help_text="When it is tried next.")
    begun_at = models.DateTimeField(null=True, help_text="When it was first tried since it was last asked for.")
    last_attempt_at = models.DateTimeField(null=True)
    last_status = models.SmallIntegerField(null=True, help_text="What the endpoint answered last.")
    last_error = models.CharField(max_length=200, null=True, help_text="Why the last attempt failed.")
    version = models.BigIntegerField(db_default=1, editable=False, help_text="Counts the changes: the ETag.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    decided_by_database = ("version", "updated_at")

    objects = DeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["biller", "sequence", "endpoint_id"], name="delivery_once"),
            models.CheckConstraint(
                condition=models.Q(state=State.PENDING, due_at__isnull=False)
                | models.Q(state__in=[State.DELIVERED, State.GIVEN_UP], due_at=None),
                name="delivery_due_while_pending",
                violation_error_message="A delivery has a time to be tried while it is pending, and only then.",
            ),
        ]
        indexes = [
            models.Index(fields=["biller", "created_at", "id"], name="delivery_newest"),
            models.Index(fields=["biller", "endpoint_id", "created_at", "id"], name="delivery_of_endpoint"),
            models.Index(
                fields=["biller", "created_at", "id"],
                condition=~models.Q(state=State.DELIVERED),
                name="delivery_undelivered",
            ),
            # The worklist of one endpoint.
            models.Index(
                fields=["biller", "endpoint_id", "due_at", "sequence"],
                condition=models.Q(state=State.PENDING),
                name="delivery_due",
            ),
        ]
        triggers = [Versioned()]

    def __str__(self) -> str:
        return self.pk
