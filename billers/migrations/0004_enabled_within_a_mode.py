from django.db import migrations


class Migration(migrations.Migration):
    """What the ORM cannot say: a partner is enabled for billers of its own mode, and none of them changes mode then."""

    dependencies = [("billers", "0003_partners")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE billers_enablement
                ADD CONSTRAINT enablement_biller_of_mode
                    FOREIGN KEY (biller_id, mode) REFERENCES billers_biller (id, mode),
                ADD CONSTRAINT enablement_partner_of_mode
                    FOREIGN KEY (partner_id, mode) REFERENCES billers_partner (id, mode);
            """,
            """
            ALTER TABLE billers_enablement
                DROP CONSTRAINT enablement_biller_of_mode, DROP CONSTRAINT enablement_partner_of_mode;
            """,
        ),
    ]
