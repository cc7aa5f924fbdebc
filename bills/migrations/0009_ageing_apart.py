"""Ageing has an index of its own, in the order it counts in and half as large; the worklist's is slim again."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

UNPAID = models.Q(("status", "UNPAID"))


class Migration(migrations.Migration):
    # Built beside the old one, which serves until they are there.
    atomic = False

    dependencies = [("bills", "0008_ageing")]

    operations = [
        AddIndexConcurrently(
            model_name="bill",
            index=models.Index(
                condition=UNPAID,
                fields=["biller", "currency", "due_date"],
                include=["amount_due", "amount_paid"],
                name="bill_ageing",
            ),
        ),
        AddIndexConcurrently(
            model_name="bill",
            index=models.Index(condition=UNPAID, fields=["biller", "due_date", "id"], name="bill_unpaid"),
        ),
        RemoveIndexConcurrently(model_name="bill", name="bill_owed"),
    ]
