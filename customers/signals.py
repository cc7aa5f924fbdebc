"""What follows from the ledger entries of customers."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from customers.models import Customer
from ledger.models import Entry
from ledger.signals import posted


@receiver(posted, sender=Entry)
def recompute_customers(entries: Sequence[Entry], **_: Any) -> None:
    """Bring the customers up to their entries."""
    Customer.objects.recompute(entries)
