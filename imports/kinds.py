"""What the rows of a file are: bills, accounts, customers or payments, and how far an import of each goes."""

from dataclasses import dataclass

from imports.cells import (
    METADATA_VALUE,
    Reader,
    any_payment_reference,
    any_reference,
    payment_reference,
    reference,
    without_card,
)
from imports.models import Phase

METADATA = "metadata."
PARENTS = {
    "customer": ("external_reference", "name", "email", "phone", "currency", "balance"),
    "account": ("external_reference", "name", "currency", "balance"),
}
"""What a row may tell of a parent, and all that a row of a file of such parents tells of itself."""

_METADATA_KEY_LENGTH = 40


@dataclass(frozen=True)
class Kind:
    """One kind of file; in the stage, whose table is for all, the `name` of a file of customers is `customer_name`."""

    name: str
    own: tuple[str, ...]
    """What a row tells of itself, in the words of the file."""

    phases: tuple[Phase, ...]
    """What is written, one after the other; the rows themselves come last."""

    beside: tuple[str, ...] = ()
    """The parents that a row may describe too."""

    itself: str = ""
    """Which parent a row is, if it is one."""

    reference: Reader[str] = reference
    any_reference: Reader[str] = any_reference
    """How its own reference is read: so that none is taken which a spreadsheet has rewritten, or whatever it is."""

    metadata: Reader[str] = METADATA_VALUE

    def __str__(self) -> str:
        return self.name

    @property
    def prefix(self) -> str:
        """What the stage puts before the file's words for a row itself."""
        return f"{self.itself}_" if self.itself else ""

    @property
    def key(self) -> str:
        """The column of the stage that tells a row from all others."""
        return f"{self.prefix}external_reference"

    @property
    def parents(self) -> tuple[str, ...]:
        """Every kind of parent that an import of such a file writes, in the order of writing."""
        return (*self.beside, *([self.itself] if self.itself else []))

    @property
    def fields(self) -> tuple[str, ...]:
        """What the file may call its columns, besides those of metadata."""
        return (*self.own, *(f"{parent}_{name}" for parent in self.beside for name in PARENTS[parent]))

    @property
    def metadata_of(self) -> tuple[str, ...]:
        """What the columns of metadata begin with, in the words of the file."""
        return (METADATA, *(f"{start}{METADATA}" for start in self._of_parents))

    def column(self, field: str) -> str | None:
        """Return the column of the stage that a field fills, or None when there is no such field."""
        start, dot, key = field.partition(METADATA)
        if dot:
            known = start in {"", *self._of_parents} and 0 < len(key) <= _METADATA_KEY_LENGTH
        else:
            known = field in self.fields
        if not known:
            return None
        return field if field.startswith(self._of_parents) else self.prefix + field

    def field(self, column: str) -> str:
        """Return what the file calls a column of the stage."""
        return column.removeprefix(self.prefix)

    @property
    def _of_parents(self) -> tuple[str, ...]:
        return tuple(f"{parent}_" for parent in self.beside)


BILLS = Kind(
    "bills",
    own=(
        *("external_reference", "currency", "amount_due", "amount_paid"),
        *("bill_date", "due_date", "description"),
    ),
    phases=(Phase.CUSTOMERS, Phase.ACCOUNTS, Phase.BILLS),
    beside=("customer", "account"),
)
ACCOUNTS = Kind(
    "accounts",
    own=PARENTS["account"],
    phases=(Phase.CUSTOMERS, Phase.ACCOUNTS),
    beside=("customer",),
    itself="account",
)
CUSTOMERS = Kind("customers", own=PARENTS["customer"], phases=(Phase.CUSTOMERS,), itself="customer")
PAYMENTS = Kind(
    "payments",
    own=(
        *("external_reference", "amount", "currency", "method", "paid_at", "partner", "status"),
        *(
            "allocations",
            "obligation",
            "bill_external_reference",
            "account_external_reference",
            "customer_external_reference",
        ),
    ),
    phases=(Phase.PAYMENTS,),
    reference=payment_reference,
    any_reference=any_payment_reference,
    metadata=without_card(METADATA_VALUE),
)
KINDS = {kind.name: kind for kind in (CUSTOMERS, ACCOUNTS, BILLS, PAYMENTS)}
