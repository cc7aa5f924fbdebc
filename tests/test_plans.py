"""How PostgreSQL reads a biller that its statistics have not met: by the same indexes as any other."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account
from bills.models import Bill
from customers.models import Customer

CUSTOMERS = 400
BILLS = 2000
PAGE = 10


def fill(biller):
    """Give a biller customers, an account each and bills, none of them paid."""
    customers = [Customer(biller=biller, external_reference=f"C-{n}", name=f"Name {n}") for n in range(CUSTOMERS)]
    Customer.objects.bulk_create(customers)
    accounts = [
        Account(biller=biller, external_reference=f"A-{n}", customer_id=owner.pk) for n, owner in enumerate(customers)
    ]
    Account.objects.bulk_create(accounts)
    Bill.objects.bulk_create(
        Bill(
            biller=biller,
            external_reference=f"INV-{n}",
            customer_id=(account := accounts[n % CUSTOMERS]).customer_id,
            account_id=account.pk,
            currency="ZAR",
            amount_due=n + 1,
            bill_date="2026-01-01",
            due_date="2026-02-01",
        )
        for n in range(BILLS)
    )


@pytest.fixture
def unmet(api, biller, other):
    """The API of a biller that came after the statistics were gathered."""
    fill(other)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    fill(biller)
    return api


def touched(api, path):
    """Return how many rows of each table the reading statement of a GET looks at."""
    with CaptureQueriesContext(connection) as captured:
        assert api.get(path).status_code == 200
    [reading] = [query["sql"] for query in captured if 'FROM "bills_bill"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + reading.replace("%", "%%"))
        [(found,)] = cursor.fetchall()
    rows = {}

    def walk(node):
        if "Relation Name" in node:
            looked = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            rows[node["Relation Name"]] = rows.get(node["Relation Name"], 0) + looked
        for child in node.get("Plans", []):
            walk(child)

    walk(json.loads(found)[0]["Plan"] if isinstance(found, str) else found[0]["Plan"])
    return rows


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ("", PAGE + 1),
        ("expand=customer,account", PAGE + 1),
        ("status=unpaid", PAGE + 1),
        ("status=unpaid&sort=due_date", PAGE + 1),
        ("status=paid", 0),
        ("status=voided", 0),
        ("sort=-amount_due", PAGE + 1),
        ("sort=-updated_at", PAGE + 1),
        ("external_reference=INV-7", 1),
        ("customer=C-7", 5),
        ("account=A-7", 5),
    ],
)
def test_a_list_looks_at_the_rows_it_answers_and_no_more(unmet, asked, most):
    rows = touched(unmet, f"/billing/bills?limit={PAGE}&{asked}")
    assert rows["bills_bill"] <= most, rows
    # Each parent once a row, once more where it is expanded or asked for.
    assert max(rows.get("accounts_account", 0), rows.get("customers_customer", 0) / 2) <= most + 1, rows


def test_one_record_looks_at_one_row_of_each_table(unmet):
    assert set(touched(unmet, "/billing/bills/INV-7").values()) == {1}
