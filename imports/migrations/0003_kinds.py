"""A file holds customers, accounts, bills or payments, a row each."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billers", "0004_enabled_within_a_mode"),
        ("imports", "0002_any_biller"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="import",
            name="import_phase_known",
        ),
        migrations.AddField(
            model_name="import",
            name="kind",
            field=models.CharField(
                choices=[
                    ("customers", "customers"),
                    ("accounts", "accounts"),
                    ("bills", "bills"),
                    ("payments", "payments"),
                ],
                default="bills",
                max_length=9,
            ),
        ),
        migrations.AlterField(
            model_name="import",
            name="phase",
            field=models.CharField(
                choices=[
                    ("reading", "Reading"),
                    ("customers", "Customers"),
                    ("accounts", "Accounts"),
                    ("bills", "Bills"),
                    ("payments", "Payments"),
                    ("completed", "Completed"),
                    ("refused", "Refused"),
                ],
                default="reading",
                max_length=9,
            ),
        ),
        migrations.AlterField(
            model_name="import",
            name="totals",
            field=models.JSONField(
                default=dict, help_text="By currency, what the amounts of all accepted rows come to."
            ),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("phase__in", ["reading", "customers", "accounts", "bills", "payments", "completed", "refused"])
                ),
                name="import_phase_known",
                violation_error_message="Unknown phase of an import.",
            ),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ("customers", "accounts", "bills", "payments"))),
                name="import_kind_known",
                violation_error_message="Unknown kind of an import.",
            ),
        ),
    ]
