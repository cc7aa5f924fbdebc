"""Imports that wait for a worker, and the files that are kept for them."""

import billers.tenancy
import core.ids
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


KEYS = {
    "job_of_import": ("imports_job", "id"),
    "piece_of_import": ("imports_piece", "import_id"),
}
TABLES = ("imports_job", "imports_piece")


def add(name: str, table: str, column: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (biller_id, {column})
            REFERENCES imports_import (biller_id, id);
        """,
        f"ALTER TABLE {table} DROP CONSTRAINT {name};",
    )


def set_statistics(target: int) -> list[str]:
    return [f"ALTER TABLE {table} ALTER COLUMN biller_id SET STATISTICS {target}" for table in TABLES]


class Migration(migrations.Migration):
    dependencies = [
        ("billers", "0004_enabled_within_a_mode"),
        ("imports", "0003_kinds"),
    ]

    operations = [
        migrations.RunSQL("CREATE SEQUENCE imports_place", "DROP SEQUENCE imports_place"),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", core.ids.PrefixedIdField("imp", primary_key=True, serialize=False)),
                (
                    "place",
                    models.BigIntegerField(
                        db_default=models.Func(models.Value("imports_place"), function="nextval"), editable=False
                    ),
                ),
                ("worker", models.CharField(max_length=64, null=True)),
                (
                    "held_until",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("attempts", models.IntegerField(default=0, help_text="How often it broke off by a defect of ours.")),
                ("doing", models.CharField(default="Waiting", max_length=20)),
                ("done", models.BigIntegerField(default=0)),
                ("there_is", models.BigIntegerField(default=0)),
                ("cancel_asked_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Piece",
            fields=[
                ("id", core.ids.PrefixedIdField("pce", primary_key=True, serialize=False)),
                ("import_id", core.ids.PrefixedIdField("imp")),
                ("what", models.CharField(choices=[("source", "Source"), ("refused", "Refused")], max_length=7)),
                ("number", models.IntegerField()),
                ("content", models.BinaryField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="import",
            name="import_phase_known",
        ),
        migrations.AddField(
            model_name="import",
            name="asked_by",
            field=models.CharField(
                help_text="Who sent the file; none where a command read it.", max_length=150, null=True
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="dry_run",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="import",
            name="errors_until",
            field=models.DateTimeField(editable=False, help_text="How long its refused rows are kept.", null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="failure",
            field=models.CharField(help_text="Why the file could not be read.", max_length=1000, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="started_at",
            field=models.DateTimeField(editable=False, help_text="When a worker took it first.", null=True),
        ),
        migrations.AlterField(
            model_name="import",
            name="phase",
            field=models.CharField(
                choices=[
                    ("draft", "Draft"),
                    ("queued", "Queued"),
                    ("reading", "Reading"),
                    ("customers", "Customers"),
                    ("accounts", "Accounts"),
                    ("bills", "Bills"),
                    ("payments", "Payments"),
                    ("completed", "Completed"),
                    ("refused", "Refused"),
                    ("cancelled", "Cancelled"),
                    ("failed", "Failed"),
                ],
                default="reading",
                max_length=9,
            ),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.UniqueConstraint(fields=("biller", "id"), name="import_of_biller"),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "phase__in",
                        [
                            "draft",
                            "queued",
                            "reading",
                            "customers",
                            "accounts",
                            "bills",
                            "payments",
                            "completed",
                            "refused",
                            "cancelled",
                            "failed",
                        ],
                    )
                ),
                name="import_phase_known",
                violation_error_message="Unknown phase of an import.",
            ),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("finished_at", None),
                    ("phase__in", ("completed", "refused", "cancelled", "failed")),
                    _connector="OR",
                ),
                name="import_ended_at_its_end",
                violation_error_message="What is still to be done of an import has no end yet.",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="biller",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billers.biller",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="imported",
            field=billers.tenancy.TenantForeignKey(
                id_name="id", on_delete=django.db.models.deletion.PROTECT, related_name="jobs", to="imports.import"
            ),
        ),
        migrations.AddField(
            model_name="piece",
            name="biller",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billers.biller",
            ),
        ),
        migrations.AddField(
            model_name="piece",
            name="imported",
            field=billers.tenancy.TenantForeignKey(
                id_name="import_id",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="pieces",
                to="imports.import",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["biller", "place"], name="job_in_turn"),
        ),
        migrations.AddConstraint(
            model_name="piece",
            constraint=models.UniqueConstraint(fields=("biller", "import_id", "what", "number"), name="piece_once"),
        ),
        migrations.AddConstraint(
            model_name="piece",
            constraint=models.CheckConstraint(
                condition=models.Q(("what__in", ["source", "refused"])),
                name="piece_of_known_file",
                violation_error_message="A piece is of the file itself or of its refused rows.",
            ),
        ),
        *(add(name, *key) for name, key in KEYS.items()),
        migrations.RunSQL(set_statistics(0), set_statistics(-1)),
        # A piece is compressed already, or read once: PostgreSQL need not try.
        migrations.RunSQL(
            "ALTER TABLE imports_piece ALTER COLUMN content SET STORAGE EXTERNAL",
            "ALTER TABLE imports_piece ALTER COLUMN content SET STORAGE EXTENDED",
        ),
        # Without jobs there is nothing that would run what waits, and no word for how it ended.
        migrations.RunSQL(
            migrations.RunSQL.noop,
            """
            UPDATE imports_import SET phase = 'refused', finished_at = COALESCE(finished_at, now())
            WHERE phase IN ('draft', 'queued', 'cancelled', 'failed')
            """,
        ),
    ]
