"""Write a biller's accounts to a CSV file, or to standard output."""

from accounts.views import AccountViewSet
from imports.export_commands import ExportCommand


class Command(ExportCommand):
    help = "Write a biller's accounts to a CSV file, or to standard output."
    listing = AccountViewSet
