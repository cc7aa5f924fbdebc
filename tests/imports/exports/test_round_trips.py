"""What an export tells, an import takes back: nothing changes where it came from, and elsewhere it becomes the same."""

import random
from datetime import date

import pytest
from tabled import LISTINGS, issued

from accounts.models import Account
from billers.acts import perform
from bills.models import Bill
from customers.models import Customer
from imports.kinds import KINDS
from imports.reading import TOLD_COLUMNS
from payments.models import Payment

HOSTILE = [
    *("=1+1", "+1", "-1", "'=1+1", "''=1", "'-1", "@x", "\tx", "\rx\ny", 'a "quoted" word', "a,b;c\td|e", " x ", "'"),
    *("line\nline", "\r\n", "\\.", "\\N", '"', "NULL", "é漢\U0001f600", "-1\n", "--", "'+27821234567", "0", "\n=1"),
]
KEYS = ["route", "route ", "a,b;c;d;e;f;g;h;i;j;k;l;m;n", "=1", "a '", "\n", " x", "'", "Straße"]
COUNT = 150


def issue_hostile_bills(biller, seed):
    """Issue bills with text that spreadsheets, CSV and COPY stumble over, of customers and accounts, some void."""
    chance = random.Random(seed)

    def some():
        return chance.choice(HOSTILE) + chance.choice(["", *HOSTILE])

    def reference(number):
        return chance.choice(["=", "+", "-", "@", "'=", "''-", "'", "", '"', "a;b|"]) + str(number)

    for name in range(3):
        customer = {"external_reference": reference(name), "name": some()}
        account = {"external_reference": reference(name), "customer": customer, "name": some()}
        issued(biller, reference(f"A{name}"), customer=None, account=account)
    owners = [{"customer": key} for key in Customer.objects.for_biller(biller).values_list("pk", flat=True)]
    accounts = Account.objects.for_biller(biller).values_list("pk", flat=True)
    owners += [{"customer": None, "account": key} for key in accounts]
    for number in range(3, COUNT):
        fields = {
            "description": chance.choice([None, "", some()]),
            "due_date": chance.choice([None, date(2026, 3, 1)]),
            "amount_paid": chance.choice([0, 30, 100, 250]),
            "metadata": {key: chance.choice(["", some()]) for key in chance.sample(KEYS, chance.randrange(4))},
        }
        bill = issued(biller, reference(f"B{number}"), **chance.choice(owners), **fields)
        if chance.random() < 0.2 and not bill.amount_paid:
            perform(biller, "test", lambda act, bill=bill: Bill.objects.void(act, bill.pk))


def facts(biller, **narrowed):
    """What a file can tell of bills; an empty text is as good as none."""
    return sorted(
        (
            bill.external_reference,
            bill.customer.external_reference,
            bill.account and bill.account.external_reference,
            bill.currency,
            bill.amount_due,
            bill.amount_paid,
            bill.bill_date,
            bill.due_date,
            bill.description or None,
            sorted((key, value) for key, value in bill.metadata.items() if value),
        )
        for bill in Bill.objects.for_biller(biller).filter(**narrowed).select_related("customer", "account")
    )


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
@pytest.mark.parametrize("columns", [(), ("--columns", "all")])
def test_an_export_that_is_imported_changes_nothing(biller, export, bring, stored, tmp_path, name, columns):
    issue_hostile_bills(biller, seed=5)
    before = stored()
    assert export("bills", *columns, name=name)[1]["exported"] == COUNT
    run = bring(tmp_path / name)
    assert (run.code, run.report["warnings"]) == (0, []), run.err
    assert [run.read, run.unchanged, run.created, run.updated, run.rejected] == [COUNT, COUNT, 0, 0, 0]
    assert {*run.customers.values(), *run.accounts.values()} == {0}
    assert stored() == before


def test_an_export_that_is_imported_elsewhere_is_the_same_there(biller, other, export, bring, tmp_path):
    issue_hostile_bills(biller, seed=6)
    unpaid = facts(biller, status="UNPAID")
    assert 0 < len(unpaid) < COUNT
    assert export("bills", "--filter", "status=unpaid")[1]["exported"] == len(unpaid)
    run = bring(tmp_path / "out.csv", reference="other")
    assert (run.code, run.rejected, run.created) == (0, 0, len(unpaid))
    assert facts(other) == unpaid


def test_every_column_of_a_table_is_read_or_passed_over_by_imports():
    told = {(kind, column.name) for kind in KINDS.values() for column in LISTINGS[kind.name].table.columns}
    assert {name for kind, name in told if kind.column(name) is None} == {*TOLD_COLUMNS}


@pytest.mark.parametrize("kind", ["customers", "accounts", "payments"])
@pytest.mark.parametrize("columns", [(), ("--columns", "all")])
def test_the_same_of_all_other_records(records, export, bring, stored, tmp_path, kind, columns):
    exported = export(kind, *columns)[1]["exported"]
    before = stored() | {"payments": [*Payment.objects.order_by("pk").values_list()]}
    run = bring(tmp_path / "out.csv", kind=kind)
    assert (run.code, run.report["warnings"]) == (0, []), run.err
    assert [run.read, run.unchanged, run.created, run.updated] == [exported, exported, 0, 0]
    assert stored() | {"payments": [*Payment.objects.order_by("pk").values_list()]} == before


def test_a_payment_that_was_reversed_elsewhere_is_not_taken(records, export, bring, other, tmp_path):
    export("payments")
    before = Payment.objects.count()
    run = bring(tmp_path / "out.csv", kind="payments", reference="other")
    assert run.code == 2
    assert {code for codes in run.codes().values() for code in codes} == {"payment_reversed", "payment_not_found"}
    assert Payment.objects.count() == before


def test_what_is_ours_to_say_is_passed_over_and_not_believed(biller, bring):
    issued(biller, "B", customer={"external_reference": "C"}, description="old")
    id_of_bill = Bill.objects.get().pk
    run = bring("id,external_reference,status,created_at,description\nbill_x,B,PAID,1999-01-01,new\n")
    assert (run.code, run.updated) == (0, 1)
    bill = Bill.objects.get()
    assert (bill.pk, bill.status, bill.description, bill.created_at.year) == (id_of_bill, "UNPAID", "new", 2026)


def test_other_columns_are_still_errors(biller, bring):
    run = bring("id,external_reference,overdue\nbill_x,B,false\n")
    assert run.code == 2
    assert "These columns are no fields: “overdue”." in run.err


def test_a_column_that_is_passed_over_can_be_named_by_map(biller, bring):
    head = "id,currency,amount_due,customer_external_reference"
    assert bring(f"{head}\n17,ZAR,5,C\n", "--map", "external_reference=id").code == 0
    assert Bill.objects.get().external_reference == "17"


def test_refused_rows_keep_their_marks_until_they_are_mended(biller, bring, tmp_path):
    head = (
        '"external_reference","currency","amount_due","customer_external_reference","description","metadata.a;b \'"\n'
    )
    run = bring(f"{head}'=B,ZAR,zero,'=C,''=D,'-x\n")
    assert (run.code, run.rejected) == (2, 1)
    assert not Bill.objects.exists()
    mended = (tmp_path / "bills.csv.errors.csv").read_text().replace("zero", "7")
    assert bring(mended, name="mended.csv").code == 0
    bill = Bill.objects.get()
    assert (bill.external_reference, bill.customer.external_reference) == ("=B", "=C")
    assert (bill.description, bill.metadata) == ("'=D", {"a;b ": "-x"})


def test_a_quote_that_no_export_made_stays(biller, bring):
    head = "external_reference,currency,amount_due,customer_external_reference,description\n"
    assert bring(f"{head}'B,ZAR,7,'-5,'tis\n").code == 0
    bill = Bill.objects.get()
    assert (bill.external_reference, bill.customer.external_reference, bill.description) == ("'B", "'-5", "'tis")
