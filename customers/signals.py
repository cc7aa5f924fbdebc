"""What follows from a ledger entry of a customer."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from customers.models import Customer
from ledger.models import Entry


@receiver(post_save, sender=Entry)
def recompute_customer(instance: Entry, **_: Any) -> None:
    """Bring the customer up to the entry."""
    Customer.objects.recompute([instance])
