"""What people and spreadsheets do to a file is read by an option that says so, or refused with the reason."""

import gzip
import io
import time
from datetime import date

import pytest
from django.core.management import call_command
from sheets import row, sheet
from workbooks import Raw, workbook, zipped

from bills.models import Bill
from customers.models import Customer
from imports.models import Import
from imports.showing import Rate, Shown

MAJOR = ("--amounts", "major")
COMMA = (*MAJOR, "--decimal", ",", "--thousands", ".")


def amounts(*cells, currency="EUR"):
    return sheet(*(row(f"B{number}", currency=currency, amount_due=cell) for number, cell in enumerate(cells)))


# --- Amounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "options", "expected"),
    [
        ("1.234,50", COMMA, 123450),
        ("1234,5", COMMA, 123450),
        ("1.234.567,89", COMMA, 123456789),
        ("1.234", COMMA, 123400),
        ("1,234.50", (*MAJOR, "--thousands", ","), 123450),
        ("12,34,567.00", (*MAJOR, "--thousands", ","), 123456700),
        ("1'234.50", (*MAJOR, "--thousands", "'"), 123450),
        ("1\u2019234.50", (*MAJOR, "--thousands", "'"), 123450),
        ("1 234,50", (*MAJOR, "--thousands", "blank", "--decimal", ","), 123450),
        ("1\u00a0234,50", (*MAJOR, "--thousands", "blank", "--decimal", ","), 123450),
        ("1\u202f234", (*MAJOR, "--thousands", "blank"), 123400),
        ("€ 240", (*MAJOR, "--currency-signs"), 24000),
        ("240.50€", (*MAJOR, "--currency-signs"), 24050),
        ("EUR 240", (*MAJOR, "--currency-signs"), 24000),
        ("1.234,50 EUR", (*COMMA, "--currency-signs"), 123450),
    ],
)
def test_amounts_are_read_as_the_options_say_they_are_written(bring, cell, options, expected):
    run = bring(amounts(cell), *options)
    assert run.code == 0, run.errors
    assert Bill.objects.get().amount_due == expected


@pytest.mark.parametrize(
    ("cell", "options", "code"),
    [
        ("1.234", MAJOR, "too_many_decimals"),
        ("1,234", MAJOR, "invalid_type"),
        ("1,50", MAJOR, "invalid_type"),
        ("€240", MAJOR, "invalid_type"),
        ("240.00", COMMA, "invalid_type"),
        ("1.23,50", COMMA, "invalid_type"),
        ("1.2345,50", COMMA, "invalid_type"),
        ("1234.567,50", COMMA, "invalid_type"),
        ("1.234,505", COMMA, "too_many_decimals"),
        ("1 234,50", COMMA, "invalid_type"),
        ("1,234,56", (*MAJOR, "--thousands", ","), "invalid_type"),
        ("$240", (*MAJOR, "--currency-signs"), "currency_sign_differs"),
        ("USD 240", (*MAJOR, "--currency-signs"), "currency_sign_differs"),
        ("€240 EUR", (*MAJOR, "--currency-signs"), "invalid_type"),
        ("EUR", (*MAJOR, "--currency-signs"), "invalid_type"),
        ("2 for 240", (*MAJOR, "--currency-signs"), "invalid_type"),
        ("(240)", (*MAJOR, "--currency-signs"), "invalid_type"),
        ("240-", (*MAJOR, "--currency-signs"), "invalid_type"),
        ("-240", (*MAJOR, "--currency-signs"), "out_of_range"),
    ],
)
def test_an_amount_that_is_written_otherwise_is_refused_and_never_guessed(bring, cell, options, code):
    run = bring(amounts(cell), *options)
    assert (run.code, run.codes()) == (2, {2: [code]})
    assert not Bill.objects.exists()


def test_a_sign_stands_for_its_currencies_alone(bring):
    rows = [row(code, currency=code, amount_due="$ 2") for code in ("USD", "AUD", "CAD")]
    rows += [row("ZAR", currency="ZAR", amount_due="R 2"), row("EUR", currency="EUR", amount_due="R 2")]
    run = bring(sheet(*rows), *MAJOR, "--currency-signs")
    assert (run.created, run.codes()) == (4, {6: ["currency_sign_differs"]})
    assert "“R” is not how EUR is written." in run.errors[0]["_errors"]


def test_balances_below_nothing_keep_their_minus_wherever_it_stands(bring):
    for place, cell in enumerate(("-€ 5,00", "€ -5,00", "\u22125,00 €")):
        update = row(f"B{place}", amount_due="1", customer_currency="EUR", customer_balance=cell, currency="EUR")
        assert bring(sheet(update), *COMMA, "--currency-signs").code == 0
        assert Customer.objects.get().balance == -500


# --- What spreadsheets do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["external_reference", "customer_external_reference", "account_external_reference"])
def test_a_reference_that_a_spreadsheet_took_for_a_number_is_refused_or_read_by_an_option(bring, field):
    rows = row(**{field: "1930571429.0"}), row("B2", **{field: "1.93057E+09"})
    run = bring(sheet(*rows))
    assert (run.code, run.codes()) == (2, {2: ["spreadsheet_number"], 3: ["spreadsheet_number"]})
    assert "If it was 1930571429, say --excel-numbers whole" in run.errors[0]["_errors"]
    assert "its digits are lost" in run.errors[1]["_errors"]
    assert not Customer.objects.exists()

    whole = bring(sheet(*rows), "--excel-numbers", "whole")
    assert (whole.created, whole.codes()) == (1, {3: ["spreadsheet_number"]})
    assert bring(sheet(*rows), "--excel-numbers", "text").created == 2 if field == "external_reference" else 1
    found = {"bill": Bill, "customer": Customer}[field.partition("_")[0] if "customer" in field else "bill"].objects
    kept = found.values_list("account__external_reference" if "account" in field else "external_reference", flat=True)
    assert "1930571429" in kept


def test_a_part_of_a_reference_that_a_spreadsheet_rewrote_is_refused_or_read_too(bring):
    text = "No,Who,Where,Due\nB1,17850.0,UK,100\n"
    maps = ["--map", "external_reference=No", "--map", "amount_due=Due", "--map", "customer_external_reference=Who"]
    maps += ["--map", "account_external_reference={Who}-{Where}", "--currency", "ZAR", "--ignore-unknown"]
    run = bring(text, *maps)
    assert (run.code, run.codes()) == (2, {2: ["spreadsheet_number"] * 2})
    assert bring(text, *maps, "--excel-numbers", "whole").created == 1
    bill = Bill.objects.get()
    assert (bill.account.external_reference, bill.customer.external_reference) == ("17850-UK", "17850")
    assert bring(text, *maps, "--excel-numbers", "text").codes() == {2: ["bill_owner_fixed"] * 2}


def test_whole_numbers_with_decimals_are_minor_units_where_the_option_says_so(bring):
    assert bring(amounts("2000.0")).codes() == {2: ["invalid_type"]}
    assert bring(amounts("2000.0"), "--excel-numbers", "whole").code == 0
    assert Bill.objects.get().amount_due == 2000
    assert bring(amounts("2000.5"), "--excel-numbers", "whole").codes() == {2: ["invalid_type"]}


def test_the_error_of_a_formula_is_no_reference(bring):
    run = bring(sheet(row("#N/A"), row("B2", customer_external_reference="#REF!"), row("#1")))
    assert run.codes() == {2: ["spreadsheet_error"], 3: ["spreadsheet_error"]}
    assert Bill.objects.get().external_reference == "#1"


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("00:00.0", "A spreadsheet showed only the time of this one and left its day out"),
        ("12:30", "left its day out"),
        ("45351", "This may be a spreadsheet's own count of days"),
        ("31/01/2024", "--date-format %d/%m/%Y has the day first"),
        ("2024-31-01", "Give a real date in the format %Y-%m-%d. (invalid_date)"),
    ],
)
def test_a_date_that_a_spreadsheet_spoilt_is_refused_and_the_sentence_says_what_happened(bring, cell, sentence):
    run = bring(sheet(row(bill_date=cell)))
    assert (run.code, run.codes()) == (2, {2: ["invalid_date"]})
    assert sentence in run.errors[0]["_errors"]


def test_day_first_dates_are_read_by_their_format_alone(bring):
    assert bring(sheet(row(bill_date="02/01/2024")), "--date-format", "%d/%m/%Y").code == 0
    assert Bill.objects.get().bill_date == date(2024, 1, 2)


def test_lost_zeros_come_back_up_to_a_width(bring):
    rows = [row(f"B{number}", customer_external_reference=cell) for number, cell in enumerate(("42", "12345", "C7"))]
    assert bring(sheet(*rows), "--pad", "customer_external_reference=4").code == 0
    kept = Customer.objects.order_by("external_reference").values_list("external_reference", flat=True)
    assert [*kept] == ["0042", "12345", "C7"]
    assert bring(sheet(row("7.0")), "--pad", "external_reference=3", "--excel-numbers", "whole").code == 0
    assert Bill.objects.filter(external_reference="007").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--decimal", ","], "--decimal is for --amounts major"),
        (["--thousands", "blank"], "--thousands is for --amounts major"),
        (["--currency-signs"], "--currency-signs is for --amounts major"),
        ([*MAJOR, "--thousands", "."], "--decimal and --thousands cannot both be ."),
        (["--pad", "external_reference"], "--pad external_reference: give FIELD=WIDTH"),
        (["--pad", "external_reference=0"], "give a width of 1 to 255"),
        (["--pad", "external_reference=256"], "give a width of 1 to 255"),
        (["--pad", "external_reference=3", "--pad", "external_reference=4"], "--pad names a field twice"),
        (["--pad", "description=3"], "--pad: “description” is no reference that the file gives"),
        (["--pad", "account_external_reference=3"], "“account_external_reference” is no reference that the file gives"),
        (["--delimiter", ""], "--delimiter : give one character"),
        (["--delimiter", "ab"], "--delimiter ab: give one character"),
        (["--delimiter", '"'], "give one character"),
        (["--profile", "two words"], "--profile two words: Name a profile by"),
        (["--save-profile", "x" * 65], "Name a profile by 1 to 64"),
        (["--profile", "absent"], "--profile absent: Acme has none of this name"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_sentence_and_writes_nothing(bring, options, sentence):
    run = bring(sheet(row()), *options)
    assert (run.code, run.out) == (2, "")
    assert sentence in run.err
    assert not Bill.objects.exists()


# --- Workbooks --------------------------------------------------------------------------------------------------------

FIELDS = ["external_reference", "currency", "amount_due", "bill_date", "customer_external_reference", "description"]


def test_a_workbook_is_imported_as_what_it_holds_and_again_changes_nothing(bring):
    book = workbook(
        FIELDS,
        [1930571429, "ZAR", 240.5, date(2024, 2, 29), "0017", date(2024, 2, 29)],
        ["B2", "ZAR", 7, Raw('t="inlineStr"><is><t>01/03/2024</t></is>'), 42, 12.5],
    )
    options = (*MAJOR, "--date-format", "%d/%m/%Y", "--pad", "customer_external_reference=4")
    run = bring(book, *options, name="bills.xlsx")
    assert (run.code, run.created) == (0, 2), run.errors
    first, second = Bill.objects.order_by("external_reference").select_related("customer")
    assert (first.external_reference, first.amount_due, first.bill_date) == ("1930571429", 24050, date(2024, 2, 29))
    assert (first.description, first.customer.external_reference) == ("29/02/2024", "0017")
    assert (second.amount_due, second.bill_date, second.description) == (700, date(2024, 3, 1), "12.5")
    assert second.customer.external_reference == "0042"
    assert bring(book, *options, name="bills.xlsx").unchanged == 2


def test_numbers_of_a_workbook_are_never_taken_for_written_ones(bring):
    # With a point for thousands, the number 1.234 must not become 1234.
    book = workbook(FIELDS, ["B1", "KWD", 1.234, None, "C", None], ["B2", "KWD", "1.234", None, "C", None])
    assert bring(book, *COMMA).code == 0
    assert [*Bill.objects.order_by("external_reference").values_list("amount_due", flat=True)] == [1234, 1_234_000]


SPOILT = {
    "external_reference": [
        (True, "spreadsheet_boolean"),
        (Raw('t="e"><v>#N/A</v>'), "spreadsheet_error"),
        (10**15, "spreadsheet_number"),
        (date(2024, 2, 1), "spreadsheet_date"),
        (Raw("><f>A1</f>"), "spreadsheet_formula"),
    ],
    "currency": [(date(2024, 2, 1), "spreadsheet_date")],
    "amount_due": [
        (True, "spreadsheet_boolean"),
        (10**15, "spreadsheet_number"),
        (date(2024, 1, 1), "spreadsheet_date"),
    ],
    "bill_date": [
        (Raw('s="1"><v>0.5</v>'), "spreadsheet_date"),
        (True, "spreadsheet_boolean"),
        (45351, "invalid_date"),
        (Raw('s="1"><v>60</v>'), "spreadsheet_error"),
    ],
    "description": [(True, "spreadsheet_boolean"), (Raw('t="e"><v>#REF!</v>'), "spreadsheet_error")],
    "customer_email": [(True, "spreadsheet_boolean"), (date(2024, 1, 1), "spreadsheet_date")],
    "customer_phone": [(10**15, "spreadsheet_number")],
    "metadata.k": [(True, "spreadsheet_boolean")],
}


@pytest.mark.parametrize(
    ("field", "value", "code"), [(f, value, code) for f, pairs in SPOILT.items() for value, code in pairs], ids=str
)
@pytest.mark.parametrize("options", [(), MAJOR], ids=["minor", "major"])
def test_a_cell_that_is_neither_text_nor_a_whole_number_is_refused_where_it_means_nothing(
    bring, field, value, code, options
):
    good = row() | {field: value}
    run = bring(workbook([*good], [*good.values()]), *options, name="bills.xlsx")
    # An amount in major units cannot be read either, beside a currency that is none.
    beside = ["currency_needed"] if field == "currency" and options else []
    assert (run.code, run.codes()) == (2, {2: [*beside, code]})
    assert not Customer.objects.exists()


def test_a_spoilt_cell_in_a_column_that_is_ignored_hurts_nobody(bring):
    good = row() | {"colour": True}
    assert bring(workbook([*good], [*good.values()]), "--ignore-unknown").code == 0


def test_dates_are_kept_in_metadata_as_they_are_shown(bring):
    good = row() | {"metadata.read": date(2024, 2, 29)}
    assert bring(workbook([*good], [*good.values()])).code == 0
    assert Bill.objects.get().metadata == {"read": "2024-02-29"}


def test_the_refused_rows_of_a_workbook_are_text_that_imports_once_mended(bring, tmp_path):
    options = (*COMMA, "--date-format", "%d/%m/%Y")
    book = workbook(
        FIELDS,
        ["B1", "ZAR", 1234.5, date(2024, 2, 29), True, "é"],
        ["B2", "ZAR", 2, date(2024, 2, 29), "C", "fine"],
        ["B3", "ZAR", 2, date(2024, 2, 29), "C", "é", "too much"],
    )
    run = bring(book, *options, name="bills.xlsx")
    assert (run.code, run.created, run.rejected) == (1, 1, 2)
    refused = tmp_path / "bills.xlsx.errors.csv"
    lines = refused.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == ",".join([*FIELDS, "_line", "_errors"])
    assert lines[1].startswith('B1,ZAR,"1234,5",29/02/2024,TRUE,é,2,')
    assert lines[2].endswith(",too much")
    assert refused.read_bytes().startswith(b"\xef\xbb\xbf")
    mended = refused.read_text(encoding="utf-8-sig").replace("TRUE", "C9").replace(",too much", "")
    again = bring(mended.encode("utf-8-sig"), *options, name="mended.csv")
    assert (again.code, again.created) == (0, 2), again.errors
    bill = Bill.objects.get(external_reference="B1")
    assert (bill.amount_due, bill.bill_date, bill.description) == (123450, date(2024, 2, 29), "é")
    assert bill.customer.external_reference == "C9"


def test_a_workbook_with_several_sheets_is_asked_about(bring):
    good = row()
    book = workbook(["a"], ["b"], more={"Bills of May": ([*good], [*good.values()])})
    run = bring(book)
    assert (run.code, "name one with --sheet. “Bills”, “Bills of May”." in run.err) == (2, True)
    assert bring(book, "--sheet", "Bills of May").created == 1


def test_a_file_that_is_read_in_another_way_is_another_import(bring):
    book = workbook([*row()], [*row().values()])
    ways = [(), ("--sheet", "Bills"), ("--excel-numbers", "text"), ("--pad", "external_reference=9"), MAJOR]
    ways += [(*MAJOR, "--thousands", ","), (*MAJOR, "--currency-signs")]
    for way in ways:
        assert bring(book, *way).code == 0
    assert len({*Import.objects.values_list("fingerprint", flat=True)}) == len(ways)
    assert Import.objects.get(options__has_key="pad").options == {"pad": ["external_reference=9"]}


# --- Headers ----------------------------------------------------------------------------------------------------------


def test_headers_match_however_they_are_spelled_and_the_match_is_shown(bring):
    header = "External Reference,CURRENCY, Amount-Due ,customer external_reference,Metadata.Route No,Metadata.k"
    run = bring(f"{header}\nB1,ZAR,5,C,7,8\n")
    assert run.code == 0, run.err
    assert Bill.objects.get().metadata == {"Route No": "7", "k": "8"}
    assert (
        "Columns: external_reference ← “External Reference”, currency ← “CURRENCY”, amount_due ← “Amount-Due”, "
        "customer_external_reference ← “customer external_reference”, "
        "metadata.Route No ← “Metadata.Route No”, metadata.k ← “Metadata.k”." in run.err
    )


def test_what_is_mapped_and_what_is_ignored_is_shown_and_an_exact_file_stays_quiet(bring):
    assert "Columns:" not in bring(sheet(row())).err
    text = "InvoiceNo,currency,amount_due,Customer ID,Lines\nB1,ZAR,5,C,7\n"
    maps = ("--map", "external_reference=invoice no", "--map", "customer_external_reference={Customer ID}")
    run = bring(text, *maps, "--map", "description={Customer ID} x", "--ignore-unknown", "--dry-run")
    assert (
        "Columns: external_reference ← “InvoiceNo”, customer_external_reference ← “{Customer ID}”, "
        "description ← “{Customer ID} x”, currency, amount_due. Ignored: “Lines”." in run.err
    )


def test_an_exact_header_wins_over_one_that_is_spelled_alike(bring):
    text = "external_reference,External Reference,currency,amount_due,customer_external_reference\nB1,X,ZAR,5,C\n"
    assert "These columns are no fields: “External Reference”" in bring(text).err
    assert bring(text, "--ignore-unknown").code == 0
    assert Bill.objects.get().external_reference == "B1"
    assert bring(text, "--map", "description=External Reference").updated == 1
    assert Bill.objects.get().description == "X"


@pytest.mark.parametrize(
    ("header", "options", "sentence"),
    [
        (
            "External Reference,EXTERNAL_REFERENCE",
            (),
            "“External Reference” and “EXTERNAL_REFERENCE” both look like ext",
        ),
        ("Bill No,bill_no", ("--map", "external_reference=billno"), "“Bill No” and “bill_no” both look like “billno”"),
        ("Metadata.k,metadata.k,METADATA.k", (), "“Metadata.k” and “METADATA.k” both look like metadata.k"),
        ("-,external_reference", ("--map", "description=*"), "the file has no column “*”"),
    ],
)
def test_two_columns_that_match_one_name_are_an_error_that_names_both(bring, header, options, sentence):
    run = bring(f"{header}\n1,2,3\n", *options)
    assert (run.code, sentence in run.err) == (2, True), run.err


def test_the_columns_of_a_mended_file_are_passed_over_as_they_are_called(bring):
    text = sheet(row(_line="7", _errors="none"))
    assert "Columns:" not in bring(text).err


# --- What else must not break -----------------------------------------------------------------------------------------


def test_a_reference_with_a_nul_is_refused_where_its_stored_currency_is_asked_for(bring):
    run = bring(sheet(row("B\0", currency=None, amount_due="1.00")), *MAJOR)
    assert (run.code, run.rejected) == (2, 1)


@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped({"May.csv": content})], ids=["gz", "zip"])
def test_the_refused_rows_of_an_archive_are_in_its_own_encoding_and_import_once_mended(bring, tmp_path, pack):
    text = sheet(row(description="café"), row("B2", amount_due="x", description="naïve")).replace(",", ";")
    options = ("--encoding", "latin-1")
    run = bring(pack(text.encode("latin-1")), *options, name="bills")
    assert (run.code, run.created) == (1, 1)
    refused = (tmp_path / "bills.errors.csv").read_bytes()
    assert refused.startswith(b"external_reference;currency;")
    assert "naïve".encode("latin-1") in refused
    mended = refused.replace(b";x;", b";5;")
    assert bring(pack(mended), *options, name="mended").created == 1
    assert {*Bill.objects.values_list("description", flat=True)} == {"café", "naïve"}


def test_a_terminal_sees_a_bar_with_the_rate():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with Shown(Terminal()) as shown:
        for done in (0, 5_000_000, 10_000_000):
            shown.progress("Reading", done, 10_000_000)
            shown.progress("Writing", done // 1000, 10_000)
            time.sleep(0.01)
        reading, writing = (str(Rate().render(task)) for task in shown.bar.tasks)
    assert reading.endswith(" MB/s")
    assert writing.endswith("/s")
    assert "B" not in writing


def test_plain_lines_tell_how_far_it_has_come(biller, tmp_path):
    file = tmp_path / "bills.csv"
    file.write_text(sheet(row()))
    err = io.StringIO()
    call_command("import_bills", str(file), "--biller", "acme", stdout=io.StringIO(), stderr=err)
    assert "Writing: 100 %" in err.getvalue()
