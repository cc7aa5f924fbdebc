"""Workbooks: each kind of cell is what it is there, and no workbook, however made, is more than a sentence."""

import gzip
import random
import tracemalloc
from datetime import date, datetime, time

import pytest
from workbooks import FORMATS, Raw, cell, sheet_xml, workbook, zipped

from imports import workbooks
from imports.cells import marked
from imports.reading import Sheet, Unreadable
from imports.workbooks import Spelling

HEADER = ["a", "b"]
SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def read(tmp_path):
    """Read a workbook's rows and the lines they stand at."""

    def read(content, **options):
        path = tmp_path / "bills.csv"  # for the name tells nothing
        path.write_bytes(content)
        with Sheet.opened(str(path), None, **options) as sheet:
            return [sheet.header, *(record.cells for record in sheet.records())]

    return read


def styled(style, value):
    return Raw(f's="{style}"><v>{value}</v>')


CELLS = [
    ("text", "text"),
    (" kept  as it is\n", " kept  as it is\n"),
    ("00123", "00123"),
    (Raw('t="str"><f>A1&amp;"x"</f><v>of a formula</v>'), "of a formula"),
    (Raw('t="inlineStr"><is><r><t>ri</t></r><r><t>ch</t></r><rPh><t>aloud</t></rPh></is>'), "rich"),
    ("_x0041_ and _x005F_x0041_", "A and _x0041_"),
    (1930571429, "1930571429"),
    (Raw("><v>1930571429.0</v>"), "1930571429"),
    (Raw("><v>1.930571429E9</v>"), "1930571429"),
    (999_999_999_999_999, "999999999999999"),
    (10**15, marked("1.00000000000000E+15", "digits")),
    (Raw("><v>1.2345678901234567E16</v>"), marked("1.23456789012346E+16", "digits")),
    (-(10**15), marked("-1.00000000000000E+15", "digits")),
    (240.5, "240.5"),
    (0.1 + 0.2, "0.3"),
    (20.000000000000004, "20"),
    (1e-7, "0.0000001"),
    (-0.5, "-0.5"),
    (0, "0"),
    (True, marked("TRUE", "boolean")),
    (Raw('t="e"><v>#N/A</v>'), marked("#N/A", "error")),
    (Raw("><f>1/0</f>"), marked("", "formula")),
    (Raw("><f>1+1</f><v>2</v>"), "2"),
    (date(2024, 2, 29), marked("2024-02-29", "date")),
    (datetime.fromisoformat("2024-02-29T23:59:59"), marked("2024-02-29", "date")),
    (date(9999, 12, 31), marked("9999-12-31", "date")),
    (styled(1, 2_958_466), marked("2958466", "error")),
    (styled(1, 61), marked("1900-03-01", "date")),
    (styled(1, 60), marked("1900-02-29", "error")),
    (styled(1, 59), marked("1900-02-28", "date")),
    (styled(1, 1), marked("1900-01-01", "date")),
    (styled(1, -1), marked("-1", "error")),
    (time(13, 30), marked("13:30:00", "time")),
    (styled(len(FORMATS), 45_351), marked("2024-02-29", "date")),
    (styled(FORMATS.index("0000000"), 42), "0000042"),
    (styled(FORMATS.index("0000000"), 12_345_678), "12345678"),
    (styled(FORMATS.index('"day" 0'), 45_351), "45351"),
    (styled(FORMATS.index("[Red]0.00"), 45_351), "45351"),
    (styled(FORMATS.index("[h]:mm"), 45_351), marked("2024-02-29", "date")),
    (styled(99, 7), "7"),
    (Raw('t="d"><v>2024-02-29T10:00:00</v>'), marked("2024-02-29", "date")),
]


@pytest.mark.parametrize(("value", "expected"), CELLS, ids=lambda value: repr(value)[:40])
def test_a_cell_is_what_it_is_in_the_workbook(read, value, expected):
    assert read(workbook(HEADER, ["x", value]))[1:] == [["x", expected]]


def test_dates_and_decimals_are_spelt_as_the_options_will_read_them(read):
    content = workbook(HEADER, [date(2024, 2, 29), 1234.5], ["1.234,5", 7])
    rows = read(content, spelling=Spelling("%d/%m/%Y", ","))
    assert rows[1:] == [[marked("29/02/2024", "date"), "1234,5"], ["1.234,5", "7"]]


def test_days_count_from_1904_where_the_workbook_says_so(read):
    assert read(workbook(HEADER, [styled(1, 0.5), styled(1, 1)], epoch_1904=True))[1] == [
        marked("12:00:00", "time"),
        marked("1904-01-02", "date"),
    ]


def test_a_header_is_what_it_shows(read):
    assert read(workbook(["a ", 2024, date(2024, 2, 29), True, None], ["x", 1, 2, 3]))[0] == [
        *("a", "2024", "2024-02-29", "TRUE"),
    ]


def test_texts_are_shared_and_their_pronunciation_is_none(read):
    texts = "<si><t>first</t></si><si><t/></si><si><r><t>se</t></r><r><t>cond</t></r><rPh><t>x</t></rPh></si>"
    content = workbook(
        HEADER,
        [Raw('t="s"><v>2</v>'), Raw('t="s"><v>0</v>')],
        [Raw('t="s"><v>1</v>'), Raw('t="s"><v>0</v>')],
        parts={"xl/sharedStrings.xml": f"<sst>{texts}</sst>"},
    )
    assert read(content)[1:] == [["second", "first"], ["", "first"]]
    for number in (3, -1):
        wrong = workbook(HEADER, [Raw(f't="s"><v>{number}</v>')], parts={"xl/sharedStrings.xml": f"<sst>{texts}</sst>"})
        with pytest.raises(Unreadable, match="names a text that is not there"):
            read(wrong)


def test_a_line_is_the_number_of_the_row_and_blank_rows_are_none(tmp_path):
    path = tmp_path / "bills.xlsx"
    path.write_bytes(workbook([], HEADER, [], [None, "x"], [styled(1, ""), None], ["y", None, None], ["z", "z", "z"]))
    with Sheet.opened(str(path), None) as sheet:
        told = [(record.line, record.cells, record.fault and record.fault.code) for record in sheet.records()]
    assert told == [(4, ["", "x"], None), (6, ["y", ""], None), (7, [], "ragged_row")]


def test_cells_and_rows_without_a_reference_follow_each_other_and_prefixes_mean_nothing(read):
    xml = (
        '<x:worksheet xmlns:x="m"><x:sheetData><x:row><x:c t="str"><x:v>a</x:v></x:c><x:c t="str"><x:v>b</x:v></x:c>'
        "</x:row><x:row><x:c><x:v>1</x:v></x:c><x:c/></x:row></x:sheetData></x:worksheet>"
    )
    assert read(workbook(parts={SHEET: xml})) == [["a", "b"], ["1", ""]]


def test_of_several_sheets_the_one_with_data_is_read_or_the_one_that_is_named(read):
    rows, other = (HEADER, ["x", "y"]), (HEADER, ["o", "p"])
    empty = ([], [None, styled(1, "")])
    assert read(workbook(*rows, more={"Notes": empty}))[1] == ["x", "y"]
    assert read(workbook(*empty, more={"Data": other}))[1] == ["o", "p"]
    several = workbook(*rows, more={"Notes": empty, "Old <&>": other})
    with pytest.raises(Unreadable, match=r"several sheets with data: name one with --sheet. “Bills”, “Old <&>”"):
        read(several)
    assert read(several, sheet="Old <&>")[1] == ["o", "p"]
    with pytest.raises(Unreadable, match=r"no sheet “old”. It has “Bills”, “Notes”, “Old <&>”"):
        read(several, sheet="old")
    with pytest.raises(Unreadable, match="empty"):
        read(several, sheet="Notes")


@pytest.mark.parametrize("pack", [lambda book: zipped({"bills.xlsx": book}), gzip.compress], ids=["zip", "gz"])
def test_a_workbook_may_be_packed_once_more(read, pack):
    assert read(pack(workbook(HEADER, ["x", 1])))[1] == ["x", "1"]


def raw(rows):
    return f"<worksheet><sheetData>{rows}</sheetData></worksheet>"


DEEP = "<a>" * 33 + "</a>" * 33
DAMAGED = {
    "no workbook": ({"xl/workbook.xml": None}, "no .xlsx workbook"),
    "no sheet": ({"xl/_rels/workbook.xml.rels": None}, "no sheet of cells"),
    "a part that is missing": ({SHEET: None}, "xl/worksheets/sheet1.xml is missing"),
    "no XML": ({SHEET: "nothing"}, "its XML cannot be read"),
    "XML that breaks off": ({SHEET: sheet_xml([HEADER])[:-40]}, "its XML cannot be read"),
    "no number": ({SHEET: raw('<row r="1"><c r="A1"><v>x</v></c></row>')}, "its XML cannot be read"),
    "no numbers": ({SHEET: raw('<row r="1"><c r="A1" t="s"><v>x</v></c></row>')}, "its XML cannot be read"),
    "a row twice": ({SHEET: raw('<row r="2"/><row r="2"/>')}, "row 2 follows row 2"),
    "a row that goes back": ({SHEET: raw('<row r="2"/><row r="1"/>')}, "row 1 follows row 2"),
    "a row beyond the last": ({SHEET: raw('<row r="1048577"/>')}, "row 1048577 follows row 0"),
    "a cell twice": ({SHEET: raw('<row><c r="A1"/><c r="A1"/></row>')}, "out of order"),
    "a cell of no column": ({SHEET: raw('<row><c r="é1"/></row>')}, "there is no cell é1"),
    "a column beyond the last": ({SHEET: raw('<row><c r="XFE1"/></row>')}, "more than 16,384 cells"),
    "entities": ({SHEET: '<!DOCTYPE x [<!ENTITY a "b">]>' + raw("")}, "declares entities"),
    "entities in a small part": ({"xl/styles.xml": '<!DOCTYPE x [<!ENTITY a "b">]><x/>'}, "declares entities"),
    "a deep sheet": ({SHEET: raw(DEEP)}, "nested deeper"),
    "a deep small part": ({"xl/workbook.xml": DEEP}, "nested deeper"),
    "deep texts": ({"xl/sharedStrings.xml": DEEP}, "nested deeper"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_workbook_is_refused_in_a_sentence(read, name):
    parts, sentence = DAMAGED[name]
    with pytest.raises(Unreadable, match=sentence):
        read(workbook(HEADER, [styled(1, 2), Raw('t="s"><v>0</v>')], parts=parts))


def test_the_last_cell_of_the_last_row_is_read_and_what_lies_between_takes_no_room(read):
    # A library that lays the sheet out as a rectangle asks for half a terabyte here.
    corners = raw(
        '<row r="1"><c r="A1" t="str"><v>a</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    )
    tracemalloc.start()
    assert read(workbook(parts={SHEET: corners})) == [["a"], []]
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def longer_than_any(kind):
    """Return parts that go on and on without a row or a text coming to its end, within the ratio of an archive."""
    filler = random.Random(1).randbytes(workbooks._LONGEST // 2 + (1 << 16)).hex()
    cells = {
        "a cell": f'<row><c t="str"><v>{filler}</v></c></row>',
        "a row": f"<row>{'<z/>' * (len(filler) // 4)}{filler}</row>",
        "an attribute": f'<row x="{filler}"/>',
        "before any row": f"<!--{filler}-->",
    }
    if kind == "a text":
        return {"xl/sharedStrings.xml": f"<sst><si><t>{filler}</t></si></sst>"}
    return {SHEET: raw(cells[kind])}


@pytest.mark.parametrize("kind", ["a cell", "a row", "an attribute", "before any row", "a text"])
def test_what_never_comes_to_its_end_is_refused_before_it_fills_the_memory(read, kind):
    content = workbook(HEADER, [Raw('t="s"><v>0</v>')], parts=longer_than_any(kind))
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"is longer than 4,194,304 bytes|unpacks to more than"):
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


def test_a_small_part_is_as_large_as_any_real_one_and_no_larger(read, monkeypatch):
    size = 10_000
    monkeypatch.setattr(workbooks, "_LARGEST_PART", size)
    content = workbook(HEADER, [styled(1, 2)], parts={"xl/styles.xml": "<styleSheet/>".ljust(size)})
    assert read(content)[1] == ["2", ""]
    with pytest.raises(Unreadable, match=r"xl/styles.xml is larger than any real one"):
        read(workbook(HEADER, [styled(1, 2)], parts={"xl/styles.xml": "<styleSheet/>".ljust(size + 1)}))


def test_texts_are_as_many_as_any_real_workbook_has_and_no_more(read, monkeypatch):
    monkeypatch.setattr(workbooks, "MOST_TEXTS", 3)
    for count in (2, 3):
        texts = "".join(f"<si><t>{number}</t></si>" for number in range(count))
        content = workbook(HEADER, [Raw('t="s"><v>0</v>')], parts={"xl/sharedStrings.xml": f"<sst>{texts}</sst>"})
        if count == 2:
            assert read(content)[1] == ["0", ""]
        else:
            with pytest.raises(Unreadable, match="more than 3 different texts"):
                read(content)


def test_a_bomb_is_refused_by_what_the_directory_says_before_any_of_it_is_unpacked(read):
    for part in (SHEET, "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml"):
        content = workbook(HEADER, [styled(1, 2), Raw('t="s"><v>0</v>')], parts={part: " " * (64 << 20)})
        assert len(content) < 100_000
        tracemalloc.start()
        with pytest.raises(Unreadable, match=r"more than 200 times its size|larger than any real one"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_rows(tmp_path):
    peaks = []
    for count in (2_000, 20_000):
        path = tmp_path / f"{count}.xlsx"
        texts = "".join(f"<si><t>Customer number {number}</t></si>" for number in range(count))
        rows = "".join(
            f'<row r="{n + 2}"><c r="A{n + 2}"><v>{n}</v></c><c r="B{n + 2}" t="s"><v>{n}</v></c></row>'
            for n in range(count)
        )
        header = "".join(cell(f"{name}1", name) for name in ("A", "B"))
        parts = {SHEET: raw(f'<row r="1">{header}</row>{rows}'), "xl/sharedStrings.xml": f"<sst>{texts}</sst>"}
        path.write_bytes(workbook(parts=parts))
        with Sheet.opened(str(path), None) as sheet:
            tracemalloc.start()
            last = None
            for last in sheet.records():  # noqa: B007 the last is looked at
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert last.cells == [str(count - 1), f"Customer number {count - 1}"]
    # But for eight bytes that say where each text is.
    assert peaks[1] - peaks[0] < 20_000 * 16 + (1 << 18)
