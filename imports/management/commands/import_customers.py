"""Import a file of customers: create or update them by external reference."""

from imports.import_command import ImportCommand
from imports.kinds import CUSTOMERS


class Command(ImportCommand):
    """Import a file of customers: create or update them by external reference."""

    help = __doc__.strip()
    kind = CUSTOMERS
