from django.db import migrations

from ledger.agreement import agreement


class Migration(migrations.Migration):
    """What the ORM cannot say: a bill's parents are of the same biller, and COMMIT looks at the ledger.

    The key to the account is not checked while account_id is null, hence the key to the customer beside it.
    """

    dependencies = [("bills", "0001_initial"), ("accounts", "0002_keys")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE bills_bill ADD CONSTRAINT bill_customer_of_biller
                FOREIGN KEY (biller_id, customer_id) REFERENCES customers_customer (biller_id, id)
                DEFERRABLE INITIALLY DEFERRED;
            ALTER TABLE bills_bill ADD CONSTRAINT bill_account_of_customer
                FOREIGN KEY (biller_id, customer_id, account_id)
                REFERENCES accounts_account (biller_id, customer_id, id) DEFERRABLE INITIALLY DEFERRED;
            """,
            """
            ALTER TABLE bills_bill DROP CONSTRAINT bill_account_of_customer;
            ALTER TABLE bills_bill DROP CONSTRAINT bill_customer_of_biller;
            """,
        ),
        agreement("bill", "bills_bill", "amount_paid"),
    ]
