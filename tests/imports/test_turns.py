"""An import among others: runs of the same file at once, changes made beside it, and a stage lost in a crash."""

import subprocess
import sys
import threading
from functools import partial
from os import environ
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection
from sheets import row, sheet

from bench.serving import url_of_scratch
from billers.acts import perform
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from imports import importing
from imports.importing import FileImport
from imports.models import Import, Phase
from ledger.models import Entry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def interrupted(monkeypatch):
    """Do something of one's own between two steps of the next import: before the first that is in this phase."""

    def interrupt(phase, deed, *, once=True):
        chunk = FileImport._chunk
        done = []

        def interrupting(self, size):
            if self.imported.phase == phase and not (once and done):
                done.append(True)
                deed()
            return chunk(self, size)

        monkeypatch.setattr(FileImport, "_chunk", interrupting)

    return interrupt


class Killed(Exception):  # noqa: N818 a death, not an error
    """What a test stops an import with."""


def killed():
    raise Killed


def test_runs_of_one_file_at_once_write_it_once(biller, tmp_path):
    rows = 3000
    file = tmp_path / "bills.csv"
    file.write_text(
        sheet(*(row(f"B{n}", amount_paid=n % 2, customer_external_reference=f"C{n % 500}") for n in range(rows)))
    )
    command = [sys.executable, "manage.py", "import_bills", str(file), "--biller", "acme"]
    place = {"cwd": settings.BASE_DIR, "env": {**environ, "DATABASE_URL": url_of_scratch()}}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    runs = [subprocess.Popen(command, **place, **silent) for _ in range(3)]
    assert [run.wait(timeout=120) for run in runs] == [0, 0, 0]
    assert (Bill.objects.count(), Customer.objects.count(), Entry.objects.count()) == (rows, 500, rows // 2)
    assert {*Bill.objects.values_list("version", flat=True)} == {1}
    assert not Import.objects.under_way().exists()


def test_a_run_goes_on_from_the_chunk_that_was_committed_last(bring, interrupted, monkeypatch):
    monkeypatch.setattr(importing, "CHUNK", 10)
    file = sheet(*(row(f"B{n}", amount_due=n + 1) for n in range(35)))
    steps = []

    def third():
        steps.append(Bill.objects.count())
        if len(steps) == 3:
            killed()

    interrupted(Phase.BILLS, third, once=False)
    with pytest.raises(Killed):
        bring(file)
    assert steps == [0, 10, 20]
    # Somebody corrects a bill that was written already: the rest of the file is none of its business.
    bill = Bill.objects.get(external_reference="B3")
    perform(bill.biller, "api:test", lambda act: Bill.objects.amend(act, bill.pk, amount_due=999))
    run = bring(file)
    assert (run.code, run.created, run.unchanged) == (0, 35, 0)
    assert Bill.objects.get(external_reference="B3").amount_due == 999
    assert Bill.objects.count() == 35
    assert Import.objects.count() == 1
    assert Event.objects.filter(type="import.completed").count() == 1


def test_a_stage_lost_in_a_crash_is_read_again(bring, interrupted, monkeypatch):
    monkeypatch.setattr(importing, "CHUNK", 10)
    file = sheet(*(row(f"B{n}", amount_paid=5) for n in range(35)))
    interrupted(Phase.BILLS, lambda: killed() if Bill.objects.count() == 20 else None, once=False)
    with pytest.raises(Killed):
        bring(file)
    with connection.cursor() as cursor:  # as recovery does with unlogged tables
        tables = ("line", "fault", "customer", "account")
        stage = Import.objects.get().stage
        cursor.execute("TRUNCATE " + ", ".join(f"{stage}.staged_{table}" for table in tables))
    interrupted(Phase.BILLS, lambda: None)
    monkeypatch.undo()
    run = bring(file)
    assert (run.code, run.read, run.created, run.unchanged) == (0, 35, 15, 20)
    assert (Bill.objects.count(), Entry.objects.count()) == (35, 35)


def test_a_bill_voided_meanwhile_is_refused_and_the_others_are_written(bring, interrupted, biller):
    bring(sheet(*(row(f"B{n}") for n in range(5))))

    def void():
        perform(biller, "api:test", lambda act: Bill.objects.void(act, "B2"))

    interrupted(Phase.BILLS, void)
    run = bring(sheet(*(row(f"B{n}", amount_due=200) for n in range(5))))
    assert (run.code, run.updated, run.codes()) == (1, 4, {4: ["bill_voided"]})
    assert Bill.objects.get(external_reference="B2").amount_due == 100


def test_records_created_meanwhile_are_updated_instead(bring, interrupted, biller):
    def issue():
        fields = {"currency": "ZAR", "amount_due": 7, "amount_paid": 3, "external_reference": "B1"}
        account = {"external_reference": "A1", "customer": {"external_reference": "C1", "name": "Ann"}}
        perform(biller, "api:test", lambda act: Bill.objects.issue(act, account=account, **fields))

    interrupted(Phase.CUSTOMERS, issue)
    run = bring(sheet(row(account_external_reference="A1", amount_paid=5, customer_name="Bob"), row("B2")))
    assert (run.code, run.created, run.updated) == (0, 1, 1)
    assert run.customers == {"created": 0, "updated": 1}
    assert run.accounts == {"created": 0, "updated": 0}
    bill = Bill.objects.get(external_reference="B1")
    assert (bill.amount_due, bill.amount_paid, bill.customer.name, bill.entry_count) == (100, 5, "Bob", 2)


def test_a_parent_that_the_rules_refuse_by_now_takes_its_rows_with_it(bring, interrupted, biller):
    bring(sheet(row(customer_currency="ZAR")))

    def owe():
        perform(biller, "api:test", lambda act: Customer.objects.amend(act, "C1", balance=50))

    interrupted(Phase.CUSTOMERS, owe)
    other = row("B9", customer_external_reference="C9", customer_currency="USD")
    run = bring(sheet(row("B8", customer_currency="USD"), other))
    assert (run.code, run.created) == (1, 1)
    assert run.codes() == {2: ["customer_currency_fixed_by_balance"]}
    assert Customer.objects.get(external_reference="C1").currency == "ZAR"


def test_a_change_made_beside_an_import_is_not_lost(bring, biller):
    bring(sheet(*(row(f"B{n}", amount_paid=1) for n in range(300))))
    state = SimpleNamespace(stop=False, told={})

    def describe():
        number = 0
        while not state.stop:
            key, text = f"B{number % 300}", f"{number}"
            perform(biller, "api:test", partial(Bill.objects.amend, key=key, description=text))
            state.told[key] = text
            number += 1
        connection.close()

    writer = threading.Thread(target=describe)
    writer.start()
    try:
        for paid in (2, 3, 4):
            assert bring(sheet(*(row(f"B{n}", amount_paid=paid) for n in range(300)))).updated == 300
    finally:
        state.stop = True
        writer.join()
    assert {*Bill.objects.values_list("amount_paid", "entry_count")} == {(4, 4)}
    kept = dict(Bill.objects.exclude(description=None).values_list("external_reference", "description"))
    assert kept == state.told


def test_the_same_file_of_another_biller_is_another_import(bring, other, interrupted):
    file = sheet(*(row(f"B{number}") for number in range(3)))
    interrupted(Phase.CUSTOMERS, killed)
    with pytest.raises(Killed):
        bring(file)
    assert bring(file, reference=other.reference).created == 3
    assert Import.objects.get(finished_at=None).biller.reference == "acme"
    assert bring(file).created == 3
    assert sorted(Bill.objects.values_list("biller__reference", flat=True)) == ["acme"] * 3 + [other.reference] * 3
