from django.db import migrations


class Migration(migrations.Migration):
    """The audit trail keeps its context beside each change, so there is nothing to attach.

    The library's own function looks for a setting of its other way of keeping it, and fails and recovers each time:
    two thirds of what a statement's audit costs.
    """

    dependencies = [("billers", "0001_initial"), ("pghistory", "0007_auto_20250421_0444")]

    operations = [
        migrations.RunSQL(
            """
            CREATE OR REPLACE FUNCTION _pgh_attach_context() RETURNS uuid LANGUAGE sql IMMUTABLE AS 'SELECT NULL::uuid';
            """,
            migrations.RunSQL.noop,
        ),
    ]
