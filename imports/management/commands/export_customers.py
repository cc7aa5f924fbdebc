"""Write a biller's customers to a CSV file, or to standard output."""

from customers.views import CustomerViewSet
from imports.export_commands import ExportCommand


class Command(ExportCommand):
    help = "Write a biller's customers to a CSV file, or to standard output."
    listing = CustomerViewSet
