from django.db import migrations

from ledger.agreement import agreement


class Migration(migrations.Migration):
    """What the ORM cannot say: an account's customer is of the same biller, and COMMIT looks at the ledger."""

    dependencies = [("accounts", "0001_initial"), ("customers", "0002_keys")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE accounts_account ADD CONSTRAINT account_customer_of_biller
                FOREIGN KEY (biller_id, customer_id) REFERENCES customers_customer (biller_id, id)
                DEFERRABLE INITIALLY DEFERRED;
            """,
            "ALTER TABLE accounts_account DROP CONSTRAINT account_customer_of_biller;",
        ),
        agreement("account", "accounts_account", "balance"),
    ]
