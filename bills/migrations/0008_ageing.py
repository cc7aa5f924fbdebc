"""The worklist's index holds the amounts too, so that ageing reads no bill."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Built beside the old one, which serves until it is there.
    atomic = False

    dependencies = [("bills", "0007_keeps_payments")]

    operations = [
        AddIndexConcurrently(
            model_name="bill",
            index=models.Index(
                condition=models.Q(("status", "UNPAID")),
                fields=["biller", "due_date", "id"],
                include=["currency", "amount_due", "amount_paid"],
                name="bill_owed",
            ),
        ),
        RemoveIndexConcurrently(model_name="bill", name="bill_unpaid"),
    ]
