"""What follows from the ledger entries of bills."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from bills.models import Bill
from ledger.models import Entry
from ledger.signals import posted


@receiver(posted, sender=Entry)
def recompute_bills(entries: Sequence[Entry], **_: Any) -> None:
    """Bring the bills up to their entries."""
    Bill.objects.recompute(entries)
