"""What happened, told outward: one row for each event, committed with its cause, and numbered when it is picked up."""

from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Now

from billers.acts import Act
from billers.models import Biller
from billers.tenancy import Tenanted, TenantQuerySet
from core.documents import DocumentField
from core.ids import PrefixedIdField, as_uuid
from core.statements import Row, made

CHUNK = 1000
"""How many events are numbered in one transaction."""


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
        """Number a chunk of a biller's waiting events; return how many.

        One at a time numbers a biller's events. The lock is taken in one statement and the events are looked at in the
        next, so that whoever had it before is seen to have numbered his.
        """
        key = Biller._meta.pk.get_db_prep_value(getattr(biller, "pk", biller), connection)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_TAKE_TURN, [f"{settings.LOCK_WAIT_SECONDS}s", key])
            if not cursor.fetchall():
                cursor.execute(_FIRST_TURN, [key])
                cursor.execute(_TAKE_TURN, [f"{settings.LOCK_WAIT_SECONDS}s", key])
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
        RETURNING event.sequence
    ), counted AS (
        UPDATE events_numbering SET last = last + (SELECT count(*) FROM numbered) WHERE biller_id = %(biller)s
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
