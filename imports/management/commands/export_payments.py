"""Write a biller's payments to a CSV file, or to standard output."""

from imports.export_commands import ExportCommand
from payments.views import PaymentViewSet


class Command(ExportCommand):
    help = "Write a biller's payments to a CSV file, or to standard output."
    listing = PaymentViewSet
