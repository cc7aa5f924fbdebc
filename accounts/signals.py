"""What follows from a ledger entry of a account."""

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts.models import Account
from ledger.models import Entry


@receiver(post_save, sender=Entry)
def recompute_account(instance: Entry, **_: Any) -> None:
    """Bring the account up to the entry."""
    Account.objects.recompute([instance])
