"""What follows from the ledger entries of accounts."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from accounts.models import Account
from ledger.models import Entry
from ledger.signals import posted


@receiver(posted, sender=Entry)
def recompute_accounts(entries: Sequence[Entry], **_: Any) -> None:
    """Bring the accounts up to their entries."""
    Account.objects.recompute(entries)
