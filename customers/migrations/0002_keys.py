from django.db import migrations

from ledger.agreement import agreement


class Migration(migrations.Migration):
    """What the ORM cannot say: the root of the tenant's keys, and COMMIT's look at the ledger."""

    dependencies = [("billers", "0002_audit_context"), ("customers", "0001_initial"), ("ledger", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE customers_customer ADD CONSTRAINT customer_of_known_biller
                FOREIGN KEY (biller_id) REFERENCES billers_biller (id) DEFERRABLE INITIALLY DEFERRED;
            """,
            "ALTER TABLE customers_customer DROP CONSTRAINT customer_of_known_biller;",
        ),
        agreement("customer", "customers_customer", "balance"),
    ]
