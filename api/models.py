"""The one table of the API itself: what was answered under an idempotency key."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models


class IdempotencyKey(models.Model):
    """The first success under a key, kept in the same transaction as its effect and replayed to whoever asks again."""

    pk = models.CompositePrimaryKey("scope_id", "key")
    scope_id = models.UUIDField(help_text="The biller (in one mode) or partner the key belongs to.")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of method, path, query and canonical body.")
    status = models.SmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        indexes = [BrinIndex(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return self.key
