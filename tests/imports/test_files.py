"""Files as they come: their shape, their encoding, and options that make sense of them; contract, section 4."""

import io
import re
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from sheets import row, sheet

from bills.models import Bill
from customers.models import Customer
from imports import staging
from imports.models import Import


def test_a_line_is_where_its_record_starts(bring):
    run = bring(sheet(row(description="one\ntwo\nthree"), row("B2", amount_due="x"), row("B2")) + "\n" + "short\n")
    assert run.codes() == {5: ["invalid_type"], 6: ["duplicate_in_file"], 8: ["ragged_row"]}
    assert "Line 5 has this reference already." in run.errors[1]["_errors"]
    assert Bill.objects.get().description == "one\ntwo\nthree"


def test_text_that_no_column_can_hold_is_refused_by_row(bring):
    head = b"external_reference,currency,amount_due,customer_external_reference,description\n"
    run = bring(head + b"B1,ZAR,1,C1,a\0b\nB2,ZAR,1,C1,caf\xe9\nB3,ZAR,1,C1,fine\n")
    assert run.created == 1
    with open(run.errors_path, "rb") as file:  # noqa: PTH123 the path is text here
        told = file.read()
    assert b"(unprintable)" in told
    assert b"caf\xe9" in told
    assert b"(undecodable)" in told
    assert bring(head + b"B4,ZAR,1,C1,caf\xe9\n", "--encoding", "latin-1").created == 1
    assert Bill.objects.get(external_reference="B4").description == "café"


def test_backslashes_tabs_and_marks_of_copy_are_text_like_any_other(bring):
    odd = "\\N \\. \t\\t\r \\x41 \\\\"
    run = bring(sheet(row("\\N", description=odd, customer_name="\\.", **{"metadata.k": odd})))
    assert run.code == 0, run.errors
    bill = Bill.objects.get()
    assert (bill.external_reference, bill.description, bill.metadata) == ("\\N", odd, {"k": odd})
    assert Customer.objects.get().name == "\\."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty"),
        (b"\n\n", "The file is empty"),
        (b"\x1f\x8b\x08\x00broken", "damaged"),
        (b'external_reference,currency\n"B1,ZAR\nB2,ZAR\n', "Line 2: a quote that opens in this row is never closed"),
        (b"external_reference\n" + b"x" * 1_100_000, "Line 2 is longer than"),
        ("external_reference\nB1\n".encode("utf-16-le"), "name the file's encoding"),
        (b"external_reference,external_reference\nB1,B2\n", "more than once"),
        (b"currency\nZAR\n", "No column gives external_reference"),
        (b"external_reference,colour\nB1,red\n", "“colour”"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence_and_writes_nothing(bring, stored, content, sentence):
    before = stored()
    run = bring(content)
    assert (run.code, run.out) == (2, "")
    assert sentence in run.err
    assert stored() == before
    assert not Import.objects.under_way().exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--map", "colour=currency"], "there is no field “colour”"),
        (["--map", "description=colour"], "the file has no column “colour”"),
        (["--map", "description={colour}"], "the file has no column “colour”"),
        (["--map", "description={currency"], "--map description={currency"),
        (["--map", "description=currency", "--map", "description=currency"], "names a field twice"),
        (["--currency", "zar"], "--currency zar"),
        (["--currency", "ZAR"], "for files without a currency"),
        (["--due-days", "-1"], "--due-days -1"),
        (["--encoding", "klingon"], "There is no encoding “klingon”"),
        (["--encoding", "rot13"], "There is no encoding “rot13”"),
        (["--errors", "/nowhere/at/all.csv"], "--errors"),
        (["--date-format", "%Q"], "--date-format %Q"),
        (["--date-format", "%d/%m"], "--date-format %d/%m"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence_and_writes_nothing(bring, options, sentence):
    run = bring(sheet(row()), *options)
    assert (run.code, run.out) == (2, "")
    assert sentence in run.err
    assert not Bill.objects.exists()


def test_templates_and_headers_fill_fields_and_an_empty_part_empties_the_whole(bring):
    text = "No,Who,Where,Due\nB1,17850,United Kingdom,100\nB2,17850,,100\n"
    maps = ["external_reference=No", "amount_due=Due", "customer_external_reference=Who"]
    maps += ["account_external_reference={Who}-{Where}", "description=Bill {No} {{for}} {Who}"]
    run = bring(text, "--currency", "ZAR", *(part for entry in maps for part in ("--map", entry)))
    assert run.created == 2
    first, second = Bill.objects.order_by("external_reference")
    assert first.account.external_reference == "17850-United Kingdom"
    assert second.account_id is None
    assert first.description == "Bill B1 {for} 17850"


def test_standard_input_is_read_once_and_leaves_its_errors_in_the_folder(bring, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = sheet(row(), row("B2", amount_due="x"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    run = bring(Path("-"))
    assert (run.code, run.created) == (1, 1)
    assert "invalid_type" in (tmp_path / "stdin.errors.csv").read_text()


def test_where_the_refused_rows_cannot_be_written_a_warning_says_so_and_nothing_points_at_them(biller, tmp_path):
    file = tmp_path / "bills.csv"
    file.write_text(sheet(row(), row("B2", amount_due="x")))
    (tmp_path / "bills.csv.errors.csv").mkdir()
    err = io.StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("import_bills", str(file), "--biller", "acme", stdout=io.StringIO(), stderr=err)
    assert f"Warning: The refused rows could not be written to {file}.errors.csv: Is a directory.\n" in err.getvalue()
    assert "The refused rows and why" not in err.getvalue()
    assert Bill.objects.count() == 1


def test_amounts_in_major_units_follow_the_stored_currency_where_the_row_names_none(bring):
    bring(sheet(row(currency="KWD", customer_currency="JPY")))
    update = row(currency=None, amount_due="1.234", customer_balance="50")
    assert bring(sheet(update), "--amounts", "major").code == 0
    assert (Bill.objects.get().amount_due, Customer.objects.get().balance) == (1234, 50)
    unknown = row("B2", currency=None, amount_due="1")
    assert "currency_needed" in bring(sheet(unknown), "--amounts", "major").codes()[2]


# --- How much may be refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "code", "created"), [(1, 2, 0), (2, 1, 1)])
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_as_many_rows_may_be_refused_as_is_said(bring, most, code, created, options):
    run = bring(sheet(row("B1"), row("B2", amount_due="x"), row("B3", amount_due=0)), "--max-errors", most, *options)
    assert (run.code, run.rejected, sorted(run.codes())) == (code, 2, [3, 4])
    assert Bill.objects.count() == (0 if options else created)


def test_reading_stops_once_too_many_rows_are_wrong(bring, monkeypatch):
    monkeypatch.setattr(staging, "BATCH", 10)
    run = bring(sheet(*(row(f"B{number}", amount_due="x") for number in range(100))), "--max-errors", 14)
    assert (run.code, run.read, run.rejected) == (2, 20, 20)
    assert run.warnings == ["More than 14 rows are wrong: no more than 20 were read."]


def test_a_number_of_errors_is_no_less_than_none(bring):
    run = bring(sheet(row()), "--max-errors", -1)
    assert (run.code, run.err) == (2, "--max-errors -1: give 0 or more.")


@pytest.mark.parametrize(("bad", "told"), [(2, []), (7, ["2 more rows are refused."])])
def test_the_first_refused_rows_are_told_and_how_many_more(bring, tmp_path, bad, told):
    (tmp_path / "bills.csv").write_text(sheet(row("B0"), *(row(f"B{n}", amount_due="x") for n in range(1, bad + 1))))
    err = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("import_bills", str(tmp_path / "bills.csv"), "--biller", "acme", stdout=io.StringIO(), stderr=err)
    lines = [line for line in err.getvalue().splitlines() if not re.match(r"\w+: \d+ %", line)]
    said = "amount_due: Give a whole number of minor units: ZAR 20.00 is 2000. (invalid_type)"
    assert lines[:-1] == [f"Line {number}: {said}" for number in range(3, 3 + min(bad, 5))] + told
    assert lines[-1] == f"The refused rows and why: {tmp_path / 'bills.csv'}.errors.csv"
