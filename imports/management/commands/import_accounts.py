"""Import a file of accounts: create or update them, and their customers, by external reference."""

from imports.import_command import ImportCommand
from imports.kinds import ACCOUNTS


class Command(ImportCommand):
    """Import a file of accounts: create or update them, and their customers, by external reference."""

    help = __doc__.strip()
    kind = ACCOUNTS
