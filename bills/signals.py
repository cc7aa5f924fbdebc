"""What follows from a ledger entry of a bill."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from bills.models import Bill
from ledger.models import Entry


@receiver(post_save, sender=Entry)
def recompute_bill(instance: Entry, **_: Any) -> None:
    """Bring the bill up to the entry."""
    Bill.objects.recompute([instance])
