"""Write a biller's bills to a CSV file, or to standard output."""

from bills.views import BillViewSet
from imports.export_commands import ExportCommand


class Command(ExportCommand):
    help = "Write a biller's bills to a CSV file, or to standard output."
    listing = BillViewSet
