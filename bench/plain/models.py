"""The project's tables, seen through plain models."""

from functools import partial

from django.db import models

from core.ids import PrefixedIdField, new_id


class Twin(models.Model):
    """What the three kinds of record share."""

    biller_id = PrefixedIdField("blr")
    external_reference = models.CharField(max_length=255)
    payment_rules = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    version = models.BigIntegerField(default=1)
    entry_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
        managed = False


class Customer(Twin):
    """Of whom money is asked."""

    id = PrefixedIdField("bcus", primary_key=True)
    name = models.CharField(max_length=255, null=True)
    email = models.EmailField(null=True)
    phone = models.CharField(max_length=16, null=True)
    currency = models.CharField(max_length=3, null=True)
    balance = models.BigIntegerField(null=True)

    class Meta(Twin.Meta):
        db_table = "customers_customer"


class Account(Twin):
    """Where money is asked."""

    id = PrefixedIdField("bacc", primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    name = models.CharField(max_length=255, null=True)
    currency = models.CharField(max_length=3, null=True)
    balance = models.BigIntegerField(null=True)

    class Meta(Twin.Meta):
        db_table = "accounts_account"


class Bill(Twin):
    """Money asked."""

    id = PrefixedIdField("bill", primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True)
    currency = models.CharField(max_length=3)
    amount_due = models.BigIntegerField()
    amount_paid = models.BigIntegerField(default=0)
    bill_date = models.DateField()
    due_date = models.DateField(null=True)
    description = models.CharField(max_length=500, null=True)
    voided_at = models.DateTimeField(null=True)
    void_reason = models.CharField(max_length=500, null=True)
    status = models.GeneratedField(
        expression=models.Value("UNPAID"), output_field=models.CharField(max_length=6), db_persist=True
    )

    class Meta(Twin.Meta):
        db_table = "bills_bill"


class Entry(models.Model):
    """A change of an amount."""

    id = PrefixedIdField("ent", primary_key=True, default=partial(new_id, "ent"))
    biller_id = PrefixedIdField("blr")
    obligation_kind = models.CharField(max_length=8)
    obligation_id = models.UUIDField()
    sequence = models.BigIntegerField()
    amount = models.BigIntegerField()
    total = models.BigIntegerField()
    kind = models.CharField(max_length=10)
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "ledger_entry"


class Event(models.Model):
    """What happened."""

    id = PrefixedIdField("evt", primary_key=True, default=partial(new_id, "evt"))
    biller_id = PrefixedIdField("blr")
    type = models.CharField(max_length=40)
    object_id = models.UUIDField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        managed = False
        db_table = "events_event"
