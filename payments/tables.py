"""What payments look like as a table: all that the list tells, whoever took them, standing and reversed."""

from django.db.models import Case, F, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from api.exporting import Table, identity, moment, plain, text

_ONE = KeyTextTransform("obligation", KeyTransform(0, "allocations"))
# Either cell says what was paid, never both: a payment that is read back names it once.
_OBLIGATION = Case(When(allocations__1__isnull=True, then=_ONE), output_field=TextField())
_SEVERAL = Case(When(allocations__1__isnull=False, then=Cast(F("allocations"), TextField())), output_field=TextField())
_STATUS = Case(
    When(reversals__created_at__isnull=False, then=Value("REVERSED")),
    default=Value("ACCEPTED"),
    output_field=TextField(),
)

PAYMENTS = Table(
    "payments",
    (
        identity("id", "pay", ours=False),
        text("external_reference"),
        plain("amount"),
        plain("currency"),
        plain("method"),
        plain("obligation", _OBLIGATION),
        plain("allocations", _SEVERAL),
        plain("amount_remaining"),
        moment("paid_at", ours=False),
        text("payer_name"),
        plain("status", _STATUS),
        plain("partner", "partner__reference"),
        text("actor"),
        moment("created_at", ours=False),
        moment("reversed_at", "reversals__created_at", ours=False),
        text("reversal_reason", "reversals__reason"),
    ),
)
