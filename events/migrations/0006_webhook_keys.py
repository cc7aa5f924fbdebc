"""What the ORM cannot say of webhooks: they are of one biller through and through, and of any biller to the planner."""

from django.db import migrations

KEYS = {
    "webhook_secret_of_endpoint": ("events_webhooksecret", "endpoint_id", "events_webhookendpoint", "id"),
    "delivery_endpoint_of_biller": ("events_delivery", "endpoint_id", "events_webhookendpoint", "id"),
    # By its number, which is unique already: events need no other index for it.
    "delivery_event_of_biller": ("events_delivery", "sequence", "events_event", "sequence"),
}
TABLES = ("events_webhookendpoint", "events_webhookendpointhistory", "events_webhooksecret", "events_delivery")


def add(name: str, table: str, column: str, parent: str, key: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (biller_id, {column})
            REFERENCES {parent} (biller_id, {key}) DEFERRABLE INITIALLY DEFERRED;
        """,
        f"ALTER TABLE {table} DROP CONSTRAINT {name};",
    )


def set_statistics(target: int) -> list[str]:
    return [f"ALTER TABLE {table} ALTER COLUMN biller_id SET STATISTICS {target}" for table in TABLES]


class Migration(migrations.Migration):
    dependencies = [("events", "0005_webhooks")]

    operations = [
        *(add(name, *key) for name, key in KEYS.items()),
        migrations.RunSQL(set_statistics(0), set_statistics(-1)),
    ]
