"""What follows from a ledger entry: whoever it is about catches up."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import Signal, receiver

from ledger.models import Entry

posted = Signal()
"""Entries have been written, by whichever verb; `entries` are all of one act."""


@receiver(post_save, sender=Entry)
def tell(instance: Entry, **_: Any) -> None:
    """Tell of the one entry that was saved."""
    posted.send(sender=Entry, entries=[instance])
