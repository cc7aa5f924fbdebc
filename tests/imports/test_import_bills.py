"""import_bills from files of its own making: contract, section 4."""

import gzip
import os
import random
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db.models import Sum

from bench.serving import url_of_scratch
from billers.models import Biller
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry

HEAD = "external_reference,currency,amount_due,amount_paid,customer_external_reference,customer_name\n"
GOOD = HEAD + "B1,ZAR,100,0,C1,Ann\nB2,ZAR,200,50,C1,Ann\n"
MIXED = GOOD + "B3,ZAR,zero,0,C1,Ann\nB1,ZAR,100,0,C1,Ann\nB4,XXX,5,0,C1,Ann\n"


def test_good_rows_are_written_and_bad_ones_are_told_with_their_lines(bring):
    run = bring(MIXED)
    assert (run.code, run.read, run.created, run.rejected) == (1, 5, 2, 3)
    assert [int(row["_line"]) for row in run.errors] == [4, 5, 6]
    assert all(row["_errors"] for row in run.errors)
    assert "duplicate_in_file" in run.errors[1]["_errors"]
    assert list(Bill.objects.order_by("external_reference").values_list("external_reference", "amount_paid")) == [
        ("B1", 0),
        ("B2", 50),
    ]
    assert [(entry.kind, entry.amount) for entry in Entry.objects.all()] == [("import", 50)]


def test_a_mended_error_file_is_accepted_as_it_is(bring):
    errors = bring(MIXED).errors_path
    with open(errors, encoding="utf-8") as file:  # noqa: PTH123 the path is text here
        mended = file.read().replace("zero", "7").replace("XXX", "USD").replace("B1,", "B9,")
    run = bring(mended, name="mended.csv")
    assert (run.code, run.created, run.rejected) == (0, 3, 0)


def test_a_dry_run_tells_everything_and_writes_nothing(bring, stored):
    before = stored()
    run = bring(MIXED, "--dry-run")
    assert (run.code, run.created, run.rejected) == (1, 2, 3)
    assert run.totals == {"ZAR": {"amount_due": 300, "amount_paid": 50}}
    assert stored() == before


def test_abort_writes_nothing_if_any_row_is_bad(bring, stored):
    before = stored()
    assert bring(MIXED, "--on-error", "abort").code == 2
    assert stored() == before
    assert bring(GOOD, "--on-error", "abort").code == 0


def test_the_same_file_twice_changes_nothing(bring, stored):
    bring(GOOD)
    before = stored()
    run = bring(GOOD)
    assert (run.code, run.created, run.updated, run.unchanged) == (0, 0, 0, 2)
    assert stored() == before


def test_an_empty_cell_leaves_the_field_untouched(bring):
    bring(GOOD)
    run = bring(HEAD + "B2,,250,,,\n")
    assert (run.code, run.updated) == (0, 1)
    bill = Bill.objects.get(external_reference="B2")
    assert (bill.amount_due, bill.amount_paid, bill.customer.name) == (250, 50, "Ann")


def test_the_last_row_of_a_parent_wins_with_a_warning(bring):
    run = bring(HEAD + "B1,ZAR,1,0,C1,Ann\nB2,ZAR,1,0,C1,Anna\n")
    assert Customer.objects.get().name == "Anna"
    assert len(run.warnings) == 1


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), "bom.csv"),
        (GOOD.encode("utf-16"), "utf16.csv"),
        (GOOD.replace(",", ";").encode(), "semicolons.csv"),
        (GOOD.replace(",", "\t").encode(), "tabs.csv"),
        (GOOD.replace("\n", "\r\n").encode(), "crlf.csv"),
        (gzip.compress(GOOD.encode()), "bills.csv.gz"),
    ],
)
def test_files_are_read_as_they_come(bring, content, name):
    run = bring(content, name=name)
    assert (run.code, run.created) == (0, 2), run.err


@pytest.mark.parametrize(
    ("amount", "currency", "minor"), [("240.00", "ZAR", 24000), ("240", "JPY", 240), ("1.234", "KWD", 1234)]
)
def test_major_amounts_are_exact(bring, amount, currency, minor):
    run = bring(HEAD + f"B1,{currency},{amount},,C1,\n", "--amounts", "major")
    assert run.code == 0, run.err
    assert Bill.objects.get().amount_due == minor


@pytest.mark.parametrize(("amount", "currency"), [("240.001", "ZAR"), ("240.5", "JPY"), ("1e3", "ZAR"), ("-1", "ZAR")])
def test_an_amount_the_currency_cannot_hold_is_refused(bring, amount, currency):
    assert bring(HEAD + f"B1,{currency},{amount},,C1,\n", "--amounts", "major").code == 2
    assert Bill.objects.count() == 0


def test_what_cannot_be_done_exits_with_2_and_one_line(bring):
    for run in (
        bring(GOOD, reference="nobody"),
        bring(b"\xff\xfe\xfd"),
        bring("a,b\n1,2\n"),
        bring(GOOD, "--map", "x"),
    ):
        assert run.code == 2
        assert "Traceback" not in run.err
    assert Bill.objects.count() == 0


def test_another_billers_records_are_out_of_reach(bring, stored):
    other = Biller.objects.found(name="Other", reference="other")["live"]
    bring(GOOD)
    mine = list(Bill.objects.order_by("pk").values_list())
    run = bring(GOOD.replace("100", "999"), reference="other")
    assert (run.code, run.created) == (0, 2)
    assert list(Bill.objects.exclude(biller=other).order_by("pk").values_list()) == mine


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kills", "rows", "longest"), [(5, 20_000, 2.0), pytest.param(100, 100_000, 8.0, marks=pytest.mark.prove)]
)
def test_an_import_killed_anywhere_is_completed_by_running_it_again(tmp_path, kills, rows, longest):
    """A file that is through before all kills are spent is followed by another."""
    Biller.objects.found(name="Acme", reference="acme")
    environment = {**os.environ, "DATABASE_URL": url_of_scratch()}
    chance = random.Random(7)

    def run(file, limit):
        """Run the import of a file for so many seconds; tell whether it came to its end."""
        command = [sys.executable, "manage.py", "import_bills", str(file), "--biller", "acme", "--json"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, **silent)
        try:
            assert running.wait(timeout=limit) == 0
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
            return False
        return True

    files, killed = 0, 0
    while killed < kills:
        file = tmp_path / f"{files}.csv"
        lines = (f"B{files}-{n},ZAR,{100 + n},{n % 3},C{n % 5000},Name {n % 5000}\n" for n in range(rows))
        file.write_text(HEAD + "".join(lines))
        files += 1
        while killed < kills and not run(file, chance.uniform(0.3, longest)):
            killed += 1
    assert run(file, 300)
    assert (Bill.objects.count(), Customer.objects.count()) == (files * rows, 5000)
    assert Entry.objects.count() == files * sum(n % 3 > 0 for n in range(rows))
    assert Bill.objects.aggregate(sum=Sum("amount_due"))["sum"] == files * sum(100 + n for n in range(rows))
    assert {*Bill.objects.values_list("version", flat=True).distinct()} == {1}
    call_command("check_ledger", verbosity=0)
