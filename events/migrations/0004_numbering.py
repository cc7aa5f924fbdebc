"""Events are numbered when they are picked up, in the order in which the database took them."""

import django.db.models.deletion
from django.db import migrations, models

TYPES = [
    "customer.created",
    "customer.updated",
    "account.created",
    "account.updated",
    "bill.created",
    "bill.updated",
    "bill.paid",
    "bill.voided",
    "obligation.amount_applied",
    "payment.reversed",
    "import.completed",
]


class Migration(migrations.Migration):
    dependencies = [("billers", "0002_audit_context"), ("events", "0003_body_as_document")]

    operations = [
        migrations.CreateModel(
            name="Numbering",
            fields=[
                (
                    "biller",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="billers.biller",
                    ),
                ),
                ("last", models.BigIntegerField(help_text="The last sequence given.")),
            ],
        ),
        # Events that are there already get their positions in the order in which they lie, which is that of their inserts.
        migrations.RunSQL("CREATE SEQUENCE events_position", "DROP SEQUENCE events_position"),
        migrations.RemoveIndex(model_name="event", name="event_waiting"),
        migrations.AddField(
            model_name="event",
            name="position",
            field=models.BigIntegerField(
                db_default=models.Func(models.Value("events_position"), function="nextval"), editable=False
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("sequence", None)), fields=["biller", "position"], name="event_unnumbered"
            ),
        ),
        migrations.AddConstraint(
            model_name="event",
            constraint=models.CheckConstraint(
                condition=models.Q(("type__in", TYPES)),
                name="event_type_known",
                violation_error_message="Unknown type of event.",
            ),
        ),
    ]
