"""How PostgreSQL reads a biller that its statistics have not met: by the same indexes as any other."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench.loading import load, load_payments
from billers.acts import Act
from bills.models import Bill
from ledger.models import Entry, Kind

PAGE = 10
MET, UNMET = 20_000, 2_000


@pytest.fixture
def unmet(api, biller, other):
    """The API of a biller that came after the statistics were gathered."""
    # So many that PostgreSQL, which takes every biller for an average one, expects more than a page of the new one's.
    load(other, 10**9, MET)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    load(biller, 0, UNMET)
    return api


def touched(api, path, *marks):
    """Return how many rows of each table the statement of a GET looks at, the one that has these marks."""
    with CaptureQueriesContext(connection) as captured:
        assert api.get(path).status_code == 200
    [reading] = [query["sql"] for query in captured if all(mark in query["sql"] for mark in marks)]
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


MOST = {
    "": PAGE + 1,
    "expand=customer,account": PAGE + 1,
    "status=unpaid": PAGE + 1,
    "status=unpaid&sort=due_date": PAGE + 1,
    "status=paid": 0,
    "status=voided": 0,
    "sort=-amount_due": PAGE + 1,
    "sort=-updated_at": PAGE + 1,
    "external_reference=INV-7": 1,
    "customer=C-7": 5,
    "account=A-7": 5,
}


def test_a_list_looks_at_the_rows_it_answers_and_no_more(unmet):
    too_many = {}
    for asked, most in MOST.items():
        rows = touched(unmet, f"/billing/bills?limit={PAGE}&{asked}", 'FROM "bills_bill"')
        # Each parent once a row, once more where it is expanded or asked for.
        parents = max(rows.get("accounts_account", 0), rows.get("customers_customer", 0) / 2)
        if rows["bills_bill"] > most or parents > most + 1:
            too_many[asked] = rows
    assert too_many == {}


def test_one_record_looks_at_one_row_of_each_table(unmet):
    assert set(touched(unmet, "/billing/bills/INV-8", 'FROM "bills_bill"').values()) == {1}


def test_a_page_of_payments_that_stand_looks_at_no_more_than_it_and_those_undone_among_them(
    api, api_for, biller, other_partner
):
    load_payments(biller, [other_partner], MET)  # every other one is the partner's, every hundredth was undone
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for caller, path, undone in (
        (api, "/billing/payments?limit=100&reversed=false", 1),
        (api_for(other_partner), "/partner/payments?limit=100&reversed=false", 2),
    ):
        rows = touched(caller, path, 'FROM "payments_payment"', "ORDER BY")
        assert rows["payments_payment"] == 101 + undone
        assert rows["payments_reversal"] <= undone  # PostgreSQL 15 rounds a row in many loops down to none


def read_of_the_ledger():
    """Return how many entries this transaction has read so far: one by one, and by an index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = %s",
            [Entry._meta.db_table],
        )
        return cursor.fetchone()


@pytest.mark.parametrize("analyzed", [False, True], ids=["unknown", "known to be empty"])
def test_an_entry_looks_at_the_one_before_it_and_no_more_though_the_ledger_was_empty(biller, analyzed):
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ledger_entry")
        if analyzed:
            cursor.execute("ANALYZE ledger_entry")
    load(biller, 0, UNMET)
    act = Act(biller, "test")
    bills = list(Bill.objects.for_biller(biller))
    for number, some in enumerate((bills[:1], bills, bills[:1])):  # the first of them makes the plan
        entries = [Entry.of(act, bill, 1, Kind.ADJUSTMENT, before=bill.amount_paid) for bill in some]
        before = read_of_the_ledger()
        Entry.objects.bulk_create(entries)
        one_by_one, by_index = (now - then for now, then in zip(read_of_the_ledger(), before, strict=True))
        assert (one_by_one, by_index) == (0, [0, 1, 1][number])
        Bill.objects.recompute(entries)
