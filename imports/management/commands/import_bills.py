"""Import a file of bills: create or update them, and their customers and accounts, by external reference."""

from imports.import_command import ImportCommand
from imports.kinds import BILLS


class Command(ImportCommand):
    """Import a file of bills: create or update them, and their customers and accounts, by external reference."""

    help = __doc__.strip()
    kind = BILLS
