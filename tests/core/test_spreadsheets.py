"""Text in a table that a spreadsheet may open: marked where it would be run, and given back exactly."""

import csv
import io
import random

import pytest
from django.db.models import F, TextField, Value

from billers.models import Biller
from core.spreadsheets import Marked, header_line, marked, name_of, unmarked, unmarked_column

HOSTILE = [
    *("", "'", "''", "-", "=", "=1+1", "+1", "-1", "-1.5", "+27821234567", "-1.", "-1a", "-1\n", "@x", "\tx", "\rx"),
    *("'=1+1", "''=1+1", "'-1", "''-1", "'+27821234567", "'x", "''x", "'\tx", "x=1", " =1", "é", "=é", "'\n=", "\n=1"),
    *("-٣", "-1\r", "'-1\n", "--1", "'--1", "+", "+-1", "@", "'@", "\\.", "\\N", '"', '="', "=,;|"),
]


def randomly(count):
    chance = random.Random(11)
    return ["".join(chance.choices("''''=+-@\t\r\n1.9ax ", k=chance.randrange(6))) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "+1"),
        ("-1.50", "-1.50"),
        ("-1\n", "'-1\n"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("'=1", "''=1"),
        ("''=1", "'''=1"),
        ("'-1", "'-1"),
        ("'tis", "'tis"),
        ("plain", "plain"),
    ],
)
def test_what_a_spreadsheet_would_run_or_what_looks_marked_gets_a_quote_and_nothing_else_does(text, cell):
    assert marked(text) == cell
    assert unmarked(cell) == text


def test_the_mark_comes_off_exactly_and_no_two_texts_share_a_cell():
    texts = {*HOSTILE, *randomly(20_000)}
    assert {unmarked(marked(text)) for text in texts} == texts
    assert [text for text in texts if unmarked(marked(text)) != text] == []
    assert len({marked(text) for text in texts}) == len(texts)
    assert [text for text in texts if marked(text).startswith(("=", "@", "\t", "\r"))] == []
    assert [*unmarked_column([*map(marked, texts)])] == [*texts]


def test_a_cell_that_was_never_marked_keeps_its_quotes():
    for cell in ("'", "'x", "''", "x'=1", "'-1", "'+27821234567"):
        assert unmarked(cell) == cell


def test_postgresql_marks_the_same_texts(biller):
    texts = sorted({*HOSTILE, *randomly(3_000)})
    told = Biller.objects.filter(pk=biller.pk)
    for start in range(0, len(texts), 50):
        some = texts[start : start + 50]
        cells = {f"c{place}": Marked(Value(text, output_field=TextField())) for place, text in enumerate(some)}
        row = told.annotate(**cells).values(*cells).get()
        assert [*row.values()] == [*map(marked, some)]
    assert told.annotate(nothing=Marked(F("country"))).get().nothing is None


@pytest.mark.parametrize(
    "name", ["metadata.route", "metadata.route ", "metadata.a '", "metadata.a'", "metadata.\xa0", "metadata.\n", "a' b"]
)
def test_a_header_gives_names_back_with_the_blanks_at_their_ends(name):
    [cells] = csv.reader(io.StringIO(header_line([name], "\n")))
    assert [*map(name_of, cells)] == [name]


def test_blanks_around_a_name_in_a_header_are_passed_over():
    assert [*map(name_of, [" amount_due ", "metadata.route ", "it's", "'"])] == [
        "amount_due",
        "metadata.route",
        "it's",
        "'",
    ]


def test_a_header_whose_names_hold_delimiters_is_quoted_whole():
    assert header_line(["a", "b"]) == "a,b\n"
    for other in ",;\t|":
        assert header_line(["a", f"b{other}c"]) == f'"a","b{other}c"\n'
