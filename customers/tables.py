"""What customers look like as a table: what `import_customers` reads, and on request what is ours to say."""

from api.exporting import Table, identity, moment, plain, text

CUSTOMERS = Table(
    "customers",
    (
        identity("id", "bcus"),
        text("external_reference"),
        text("name"),
        text("email"),
        text("phone"),
        plain("currency"),
        plain("balance"),
        moment("created_at"),
        moment("updated_at"),
    ),
)
