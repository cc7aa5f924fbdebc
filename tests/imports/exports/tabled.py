"""How tests ask for a list as a table, and read it."""

import csv
import io
from datetime import date

import pytest

from accounts.views import AccountViewSet
from billers.acts import perform
from bills.models import Bill
from bills.views import BillViewSet
from core.spreadsheets import name_of
from customers.views import CustomerViewSet
from ledger.views import EntryViewSet
from payments.views import PaymentViewSet

LISTINGS = {
    "customers": CustomerViewSet,
    "accounts": AccountViewSet,
    "bills": BillViewSet,
    "payments": PaymentViewSet,
    "entries": EntryViewSet,
}
KINDS = pytest.mark.parametrize("kind", LISTINGS)
DAY = date(2026, 1, 31)


def issued(biller, reference, **fields):
    """Issue a bill of a customer C, or change it."""
    bill = {"currency": "ZAR", "amount_due": 100, "bill_date": DAY, "customer": "C"} | fields
    return perform(biller, "test", lambda act: Bill.objects.put(act, reference, **bill)[0])


def asked(caller, kind, query=""):
    return caller.get(f"/billing/{kind}{query}", Accept="text/csv")


def content(response):
    """Return the bytes of a table that was answered."""
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return b"".join(response)


def read(text):
    """Return the header and the rows of a table, the cells as they stand there."""
    header, *rows = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
    names = [*map(name_of, header)]
    return names, [dict(zip(names, row, strict=True)) for row in rows]


def table(caller, kind, query=""):
    """Return the rows of a list as a table."""
    return read(content(asked(caller, kind, query)))[1]
