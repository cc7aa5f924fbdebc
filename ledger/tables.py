"""What the ledger looks like as a table: all that there is of each entry."""

from django.db.models import Case, TextField, Value, When

from api.exporting import Table, identity, moment, plain, text
from ledger.models import PREFIXES

_PREFIX = Case(
    *(When(obligation_kind=kind, then=Value(prefix)) for kind, prefix in PREFIXES.items()), output_field=TextField()
)

ENTRIES = Table(
    "entries",
    (
        identity("id", "ent", ours=False),
        identity("obligation", _PREFIX, "obligation_id", ours=False),
        identity("payment_id", "pay", ours=False),
        plain("kind"),
        plain("amount"),
        plain("total"),
        text("actor"),
        text("reason"),
        moment("created_at", ours=False),
    ),
    has_metadata=False,
)
