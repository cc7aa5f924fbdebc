"""What accounts look like as a table: what `import_accounts` reads, and on request what is ours to say."""

from api.exporting import Table, identity, moment, plain, text

ACCOUNTS = Table(
    "accounts",
    (
        identity("id", "bacc"),
        identity("customer_id", "bcus"),
        text("external_reference"),
        text("customer_external_reference", "customer__external_reference"),
        text("name"),
        plain("currency"),
        plain("balance"),
        moment("created_at"),
        moment("updated_at"),
    ),
)
