"""What happened, told outward: one row for each event, committed with its cause."""

from typing import Any

from django.db import models

from billers.acts import Act
from billers.tenancy import Tenanted
from core.documents import DocumentField
from core.ids import PrefixedIdField
from core.statements import made


class Event(Tenanted):
    """Something that happened to a record. A receiver fetches the rest.

    `sequence` is given when the event is first picked up, never by the writer: numbering there would make a biller's
    writes wait for each other.
    """

    id = PrefixedIdField("evt", primary_key=True)
    type = models.CharField(max_length=40, help_text="For example bill.created.")
    object_id = models.UUIDField(help_text="The record it happened to.")
    body = DocumentField(help_text="id, external_reference, changed fields and amounts.")
    sequence = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["biller", "sequence"], name="event_sequence_unique")]
        indexes = [
            # The worklist: events that nobody has numbered yet, in the order they happened.
            models.Index(fields=["biller", "id"], condition=models.Q(sequence=None), name="event_waiting"),
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
