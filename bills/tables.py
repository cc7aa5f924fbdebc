"""What bills look like as a table: what `import_bills` reads, and on request what is ours to say."""

from api.exporting import Table, identity, moment, plain, text

BILLS = Table(
    "bills",
    (
        identity("id", "bill"),
        identity("customer_id", "bcus"),
        identity("account_id", "bacc"),
        text("external_reference"),
        text("customer_external_reference", "customer__external_reference"),
        text("account_external_reference", "account__external_reference"),
        plain("currency"),
        plain("amount_due"),
        plain("amount_paid"),
        plain("bill_date"),
        plain("due_date"),
        text("description"),
        plain("status", ours=True),
        moment("voided_at"),
        text("void_reason", ours=True),
        moment("created_at"),
        moment("updated_at"),
    ),
)
