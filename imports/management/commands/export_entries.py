"""Write a biller's ledger entries to a CSV file, or to standard output."""

from imports.export_commands import ExportCommand
from ledger.views import EntryViewSet


class Command(ExportCommand):
    help = "Write a biller's ledger entries to a CSV file, or to standard output."
    listing = EntryViewSet
