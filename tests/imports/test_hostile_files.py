"""Files made to hurt: odd CSV, and strings that have broken other products."""

import json

import pytest
from sheets import row, sheet

from bills.models import Bill
from core.text import is_reference
from customers.models import Customer
from imports.reading import Sheet

SPECTRUM = (
    *("comma_in_quotes", "empty", "empty_crlf", "escaped_quotes", "json", "newlines", "newlines_crlf"),
    *("quotes_and_newlines", "simple", "simple_crlf", "utf8"),
)


@pytest.mark.parametrize("name", SPECTRUM)
def test_csv_is_read_as_its_authors_meant_it(shared, name):
    folder = shared / "hostile/csv"
    expected = json.loads((folder / f"json/{name}.json").read_text())
    with Sheet.opened(str(folder / f"csvs/{name}.csv"), None) as file:
        read = [dict(zip(file.header, record.cells, strict=True)) for record in file.records()]
    # Git may have changed the line ends inside the quotes of a file.
    assert json.loads(json.dumps(read).replace(r"\r\n", r"\n")) == json.loads(
        json.dumps(expected).replace(r"\r\n", r"\n")
    )


@pytest.mark.parametrize("name", SPECTRUM)
def test_odd_csv_imports_or_is_refused(bring, shared, tmp_path, name):
    file = shared / f"hostile/csv/csvs/{name}.csv"
    first = file.read_text().partition("\n")[0].partition(",")[0].strip()
    run = bring(file, "--map", f"external_reference={first}", "--ignore-unknown", "--errors", tmp_path / "errors.csv")
    assert (run.code, run.created) == (2, 0)
    assert run.read == run.rejected > 0


def test_naughty_strings_are_kept_exactly_or_refused(bring, shared):
    lines = (shared / "hostile/blns.txt").read_text(encoding="utf-8").split("\n")
    naughty = [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]
    rows = [
        row(
            text, customer_external_reference=f"C{number}", customer_name=text, description=text, **{"metadata.k": text}
        )
        for number, text in enumerate(naughty)
    ]
    run = bring(sheet(*rows))
    numbers = {"1.00", "-1.00", "0.00", "-0.0", "1E+02"}  # as a spreadsheet leaves references behind
    accepted = [text for text in naughty if is_reference(text) and text not in numbers]
    assert run.read == len(naughty) > 400
    assert run.created == len(accepted) > 300
    kept = {bill.external_reference: bill for bill in Bill.objects.select_related("customer")}
    assert {*kept} == {*accepted}
    for text, bill in kept.items():
        assert (bill.description, bill.customer.name, bill.metadata) == (text, text, {"k": text})
    assert bring(sheet(*rows)).unchanged == len(accepted)
    assert Customer.objects.count() == len(accepted)


@pytest.mark.parametrize(
    "field", ["amount_due", "amount_paid", "currency", "bill_date", "due_date", "customer_email", "customer_phone"]
)
def test_naughty_strings_are_refused_where_they_mean_nothing(bring, shared, field):
    lines = (shared / "hostile/blns.txt").read_text(encoding="utf-8").split("\n")
    naughty = [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]
    run = bring(sheet(*(row(f"B{number}", **{field: text}) for number, text in enumerate(naughty))))
    # A few of them are numbers.
    assert run.rejected >= len(naughty) - 15
    assert run.read == len(naughty)
