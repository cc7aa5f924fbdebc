"""What the ORM cannot say: whose a payment is, and that it is the sum of its entries."""

from django.db import migrations

# A partner's payment is for a biller that it has been enabled for. The reference is taken before its payment is there.
KEYS = """
    ALTER TABLE payments_payment ADD CONSTRAINT payment_of_enabled_partner
        FOREIGN KEY (biller_id, partner_id) REFERENCES billers_enablement (biller_id, partner_id);
    ALTER TABLE payments_reversal ADD CONSTRAINT reversal_of_payment
        FOREIGN KEY (biller_id, payment_id) REFERENCES payments_payment (biller_id, id);
    ALTER TABLE payments_reference ADD CONSTRAINT reference_of_payment
        FOREIGN KEY (biller_id, payment_id) REFERENCES payments_payment (biller_id, id) DEFERRABLE INITIALLY DEFERRED;
    ALTER TABLE ledger_entry ADD CONSTRAINT entry_of_payment
        FOREIGN KEY (biller_id, payment_id) REFERENCES payments_payment (biller_id, id) NOT VALID;
    ALTER TABLE payments_payerreference ADD CONSTRAINT payer_reference_of_billers_customer
        FOREIGN KEY (biller_id, customer_id) REFERENCES customers_customer (biller_id, id);
    ALTER TABLE payments_payerreference ADD CONSTRAINT payer_reference_of_billers_account
        FOREIGN KEY (biller_id, account_id) REFERENCES accounts_account (biller_id, id);
    ALTER TABLE payments_payerreference ADD CONSTRAINT payer_reference_of_billers_bill
        FOREIGN KEY (biller_id, bill_id) REFERENCES bills_bill (biller_id, id);
"""
NO_KEYS = """
    ALTER TABLE payments_payerreference DROP CONSTRAINT payer_reference_of_billers_bill;
    ALTER TABLE payments_payerreference DROP CONSTRAINT payer_reference_of_billers_account;
    ALTER TABLE payments_payerreference DROP CONSTRAINT payer_reference_of_billers_customer;
    ALTER TABLE ledger_entry DROP CONSTRAINT entry_of_payment;
    ALTER TABLE payments_reference DROP CONSTRAINT reference_of_payment;
    ALTER TABLE payments_reversal DROP CONSTRAINT reversal_of_payment;
    ALTER TABLE payments_payment DROP CONSTRAINT payment_of_enabled_partner;
"""
# Deferred, because a payment and its entries are several rows; looked at from every side, so that none can be forgotten.
AGREEMENT = """
    CREATE FUNCTION payment_agrees_with_entries() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        about uuid;
    BEGIN
        IF TG_TABLE_NAME = 'payments_payment' THEN about := NEW.id; ELSE about := NEW.payment_id; END IF;
        IF NOT EXISTS (
            SELECT FROM payments_payment AS payment, LATERAL (
                SELECT sum(abs(amount)) FILTER (WHERE kind = 'payment') AS paid,
                    COALESCE(sum(abs(amount)) FILTER (WHERE kind = 'reversal'), 0) AS reversed,
                    sum(amount) AS left_over
                FROM ledger_entry WHERE biller_id = payment.biller_id AND payment_id = payment.id
            ) AS posted
            WHERE payment.biller_id = NEW.biller_id AND payment.id = about AND posted.paid = payment.amount
                AND CASE WHEN EXISTS (
                    SELECT FROM payments_reversal WHERE biller_id = payment.biller_id AND payment_id = payment.id
                ) THEN posted.reversed = payment.amount AND posted.left_over = 0 ELSE posted.reversed = 0 END
        ) THEN
            RAISE EXCEPTION 'The payment % does not agree with its entries.', about
                USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_agrees_with_entries';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER payment_agrees_when_new AFTER INSERT ON payments_payment
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payment_agrees_with_entries();
    CREATE CONSTRAINT TRIGGER payment_agrees_when_reversed AFTER INSERT ON payments_reversal
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payment_agrees_with_entries();
    CREATE CONSTRAINT TRIGGER payment_agrees_when_posted AFTER INSERT ON ledger_entry
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.payment_id IS NOT NULL)
        EXECUTE FUNCTION payment_agrees_with_entries();
"""
NO_AGREEMENT = """
    DROP TRIGGER payment_agrees_when_posted ON ledger_entry;
    DROP TRIGGER payment_agrees_when_reversed ON payments_reversal;
    DROP TRIGGER payment_agrees_when_new ON payments_payment;
    DROP FUNCTION payment_agrees_with_entries();
"""
TABLES = ("payments_payment", "payments_reversal", "payments_payerreference")


def set_statistics(target: int) -> list[str]:
    return [f"ALTER TABLE {table} ALTER COLUMN biller_id SET STATISTICS {target}" for table in TABLES]


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0001_initial"),
        ("billers", "0004_enabled_within_a_mode"),
        ("ledger", "0003_entries_of_payments"),
    ]

    operations = [
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RunSQL("ALTER TABLE ledger_entry VALIDATE CONSTRAINT entry_of_payment", migrations.RunSQL.noop),
        migrations.RunSQL(AGREEMENT, NO_AGREEMENT),
        migrations.RunSQL(set_statistics(0), set_statistics(-1)),
    ]
