"""What a payment tells besides is bounded as that of every record is."""

import django.db.models.lookups
import ledger.rules
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billers", "0004_enabled_within_a_mode"),
        ("payments", "0002_keys"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.LessThanOrEqual(ledger.rules.MetadataKeys("metadata"), 10),
                name="payment_metadata_at_most_10_keys",
                violation_error_message="Metadata holds at most 10 keys.",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(ledger.rules.OnlyText("metadata")),
                name="payment_metadata_is_text",
                violation_error_message="Metadata holds text alone.",
            ),
        ),
    ]
