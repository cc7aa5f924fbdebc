"""Import a file of payments that the biller took itself, each of a bill, an account or a customer."""

from imports.import_command import ImportCommand
from imports.kinds import PAYMENTS


class Command(ImportCommand):
    """Import a file of payments that the biller took itself, each of a bill, an account or a customer."""

    help = __doc__.strip()
    kind = PAYMENTS
    existing = "A payment that exists is never changed: a row that says the same is unchanged, any other is refused."
