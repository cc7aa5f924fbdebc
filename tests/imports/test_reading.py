"""Any file that text can come in: delimiters, encodings, line ends, archives; and nothing of it is guessed."""

import codecs
import gzip
import io
import itertools
import random
import struct
import tracemalloc
import zipfile

import pytest
from workbooks import workbook, zipped

from imports import archives, reading
from imports.reading import Sheet, Unreadable

HEADER = ["external_reference", "who", "note"]
ROWS = [
    ["B1", "José", "a,b;c\td|e"],
    ["B2", "Zoë", 'says "hi"'],
    ["B3", "", "two\nlines"],
    ["B4", "Ångström", "ends with\rCR"],
    ["", "", ""],
]
LINES = {"\n": [2, 3, 4, 6, 8], "\r\n": [2, 3, 4, 6, 8], "\r": [2, 3, 4, 6, 8]}
ENCODINGS = {
    "utf-8": None,
    "utf-8-sig": None,
    "utf-16": None,
    "utf-16-be with its mark": None,
    "utf-32": None,
    "latin-1": "latin-1",
    "cp1252": "windows-1252",
    "utf-16-le": "utf-16-le",
}
PACKED = {
    "plain": lambda content: content,
    "gz": gzip.compress,
    "gz in two members": lambda content: gzip.compress(content[:7]) + gzip.compress(content[7:]),
    "zip": lambda content: zipped({"folder/": b"", "folder/bills.csv": content, "__MACOSX/folder/._bills.csv": b"x"}),
    "zip, stored": lambda content: zipped({"bills.csv": content}, zipfile.ZIP_STORED),
}


def encoded(text, encoding):
    if encoding == "utf-16-be with its mark":
        return codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    return text.encode(encoding)


def written(delimiter, newline):
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in [HEADER, *ROWS]]
    return newline.join(delimiter.join(row) for row in quoted) + newline


@pytest.fixture
def read(tmp_path):
    """Read bytes as a file that is called nothing in particular; return the header and the records."""

    def read(content, encoding=None, **options):
        path = tmp_path / "anything"
        path.write_bytes(content)
        with Sheet.opened(str(path), None, encoding, **options) as sheet:
            return sheet.header, [*sheet.records()]

    return read


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("packing", PACKED)
def test_every_encoding_delimiter_and_line_end_is_read_packed_or_not(read, encoding, packing):
    for delimiter, newline in itertools.product(",;\t|", LINES):
        content = PACKED[packing](encoded(written(delimiter, newline), encoding))
        header, records = read(content, ENCODINGS[encoding])
        assert header == HEADER
        assert [record.cells for record in records] == ROWS
        assert [record.fault for record in records] == [None] * len(ROWS)
        assert [record.line for record in records] == LINES[newline]


@pytest.mark.parametrize("packing", PACKED)
def test_standard_input_is_told_by_its_bytes_too(packing):
    content = PACKED[packing](written(";", "\r").encode())
    with Sheet.opened("-", io.BytesIO(content)) as sheet:
        first = [record.cells for record in sheet.records()]
        again = [record.cells for record in sheet.records()]
    assert (sheet.name, sheet.header, first) == ("stdin", HEADER, ROWS)
    assert again == first


def test_a_header_that_two_delimiters_divide_alike_is_asked_about(read):
    content = b"a,b;c\n1,2;3\n"
    with pytest.raises(Unreadable, match="divided by “,” or “;”: say by which with --delimiter"):
        read(content)
    assert read(content, delimiter=";") == (["a,b", "c"], [reading.Record(2, ["1,2", "3"])])
    # One that divides it further is no rival, nor are two when there is but one column.
    assert read(b"a;b;c,d\n")[0] == ["a", "b", "c,d"]
    assert read(b"a\n1\n")[0] == ["a"]


def test_any_other_delimiter_is_read_where_it_is_named(read):
    assert read(b"a^b\n1^2\n", delimiter="^")[1] == [reading.Record(2, ["1", "2"])]


def test_the_line_by_which_spreadsheets_name_the_delimiter_is_no_header(read):
    for mark in (b"", codecs.BOM_UTF8):
        assert read(mark + b"sep=;\r\na;b,c\r\n1;2\r\n") == (["a", "b,c"], [reading.Record(3, ["1", "2"])])
    # What is asked for goes before what the file says.
    assert read(b"sep=;\na;b,c\n", delimiter=",")[0] == ["a;b", "c"]
    assert read(b"sep=ab,c\n")[0] == ["sep=ab", "c"]


def test_a_named_encoding_that_the_files_mark_contradicts_is_refused(read):
    with pytest.raises(Unreadable, match="begins with the mark of UTF-8: it is not latin-1"):
        read(codecs.BOM_UTF8 + b"a\n", "latin-1")
    with pytest.raises(Unreadable, match="begins with the mark of UTF-16: it is not utf-8"):
        read("a\n".encode("utf-16"), "utf-8")
    assert read(codecs.BOM_UTF8 + b'"a"\n', "UTF8")[0] == ["a"]
    assert read("a\n".encode("utf-16"), "utf-16-le")[0] == ["a"]


def test_latin_1_is_never_guessed(read):
    _, records = read("name\ncafé\n".encode("latin-1"))
    assert records[0].cells == ["caf\udce9"]
    assert read("name\ncafé\n".encode("latin-1"), "latin-1")[1][0].cells == ["café"]
    with pytest.raises(Unreadable, match="name the file's encoding with --encoding"):
        read("näme\ncafé\n".encode("latin-1"))


def test_a_row_is_as_long_as_any_real_one_and_no_longer(read):
    longest = reading._LONGEST_ROW
    assert read(f"a,b\n{'x' * (longest - 1)},y\n".encode())[1][0].fault is None
    for text in (f"a,b\n{'x' * longest},y\n", "a,b\n" + '"' + "x\n" * (longest // 2) + '",y\n'):
        [record] = read(text.encode())[1]
        assert (record.fault.code, record.cells, record.line) == ("row_too_long", [], 2)


def test_a_header_names_a_thousand_columns_at_most(read):
    columns = ",".join(f"c{number}" for number in range(1_000))
    assert len(read(f"{columns}\n".encode())[0]) == 1_000
    with pytest.raises(Unreadable, match="names 1,001 columns: at most 1,000"):
        read(f"{columns},one\n".encode())


def test_a_ragged_row_is_held_only_for_the_file_of_refused_rows(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("a,b\n" + "," * 50_000 + "\n")
    with Sheet.opened(str(path), None) as sheet:
        assert [len(record.cells) for record in sheet.records()] == [0]
        assert [len(record.cells) for record in sheet.records(whole=True)] == [50_001]


ONE = b"external_reference\nB1\n"
UNREADABLE = {
    "a zip of two": (zipped({"a.csv": ONE, "b.csv": ONE}), "holds 2 files: pack the one to read alone"),
    "a zip of none": (zipped({"folder/": b""}), "holds no file"),
    "an empty zip": (zipped({}), "holds no file"),
    "a zip in a zip": (zipped({"a.zip": zipped({"a.csv": ONE})}), "holds another archive"),
    "a gz in a zip": (zipped({"a.gz": gzip.compress(ONE)}), "holds another archive"),
    "a zip in a gz": (gzip.compress(zipped({"a.csv": ONE})), "holds another archive"),
    "a gz that breaks off": (gzip.compress(ONE * 1000)[:-12], "damaged or breaks off"),
    "a zip that breaks off": (zipped({"a.csv": ONE * 1000})[:-30], "damaged or breaks off"),
    "a zip packed by lzma": (zipped({"a.csv": ONE}, zipfile.ZIP_LZMA), "packed in an unusual way"),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(600), "an old .xls or a workbook with a password"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_archive_of_no_one_table_is_refused_in_a_sentence(read, name):
    content, sentence = UNREADABLE[name]
    with pytest.raises(Unreadable, match=sentence):
        read(content)


def test_an_encrypted_archive_is_refused(read):
    content = bytearray(zipped({"a.csv": ONE}))
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        content[content.index(start) + (6 if start.endswith(b"\x04") else 8)] |= 1
    with pytest.raises(Unreadable, match="is encrypted: unpack it first"):
        read(bytes(content))


def test_a_wrong_checksum_is_noticed(read):
    content = bytearray(zipped({"a.csv": ONE}, zipfile.ZIP_STORED))
    content[content.index(b"B1")] = ord("C")
    with pytest.raises(Unreadable, match="damaged"):
        read(bytes(content))


# --- Bombs: refused by what comes out of them, after little of it, without a clock ------------------------------------

BLANKS = b"external_reference\n" + b"\n" * (64 << 20)
NULS = bytes(64 << 20)


@pytest.mark.parametrize("content", [BLANKS, NULS], ids=["blank lines", "nothing"])
@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped({"a": content})], ids=["gz", "zip"])
def test_a_bomb_is_refused_after_a_megabyte_or_two(read, monkeypatch, content, pack):
    content = pack(content)
    assert len(content) < 100_000
    judged = []
    judge = archives._judge
    monkeypatch.setattr(archives, "_judge", lambda unpacked, packed: (judged.append(unpacked), judge(unpacked, packed)))
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"unpacks to more than 200 times its size|is longer than"):
        read(content)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    # The directory of a zip tells all of it before any of it is unpacked.
    assert len(judged) == 1 or judged[-1] < 2 << 20


def test_what_comes_out_is_bounded_by_ratio_and_by_size_to_the_byte(monkeypatch):
    monkeypatch.setattr(archives, "_UNJUDGED", 10)
    archives._judge(10, 0)
    archives._judge(2_000, 10)
    with pytest.raises(Unreadable, match="more than 200 times"):
        archives._judge(2_001, 10)
    archives._judge(archives.MOST_BYTES, archives.MOST_BYTES)
    with pytest.raises(Unreadable, match="more than 4 GiB"):
        archives._judge(archives.MOST_BYTES + 1, archives.MOST_BYTES)


def test_a_directory_that_lies_about_sizes_is_noticed(read):
    content = bytearray(zipped({"a.csv": ONE * 1000}))
    struct.pack_into("<L", content, content.index(b"PK\x01\x02") + 24, 10)
    with pytest.raises(Unreadable, match=r"damaged|empty"):
        read(bytes(content))


def test_an_archive_holds_a_thousand_files_at_most(read):
    files = {f"__MACOSX/{number}": b"" for number in range(999)} | {"a.csv": ONE}
    assert read(zipped(files))[0] == ["external_reference"]
    with pytest.raises(Unreadable, match="holds more than 1,000 files"):
        read(zipped({**files, "__MACOSX/one": b""}))


def told_directory(count, length, *, in_64_bits=False):
    """Return a zip that is nothing but what it says of its directory."""
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 4, 0)
    if not in_64_bits:
        return b"PK\x03\x04" + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, length, 4, 0)
    larger = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, 4)
    return b"PK\x03\x04" + larger + struct.pack("<4sLQL", b"PK\x06\x07", 0, 4, 1) + end


@pytest.mark.parametrize("in_64_bits", [False, True])
def test_a_directory_is_judged_before_it_is_read_wherever_its_size_is_told(in_64_bits, monkeypatch):
    within = (1_000, 1 << 20)
    monkeypatch.setattr(zipfile, "ZipFile", lambda file: "opened")
    assert archives.zip_of(io.BytesIO(told_directory(*within, in_64_bits=in_64_bits))) == "opened"
    for count, length in ((1_001, 1 << 20), (1_000, (1 << 20) + 1)):
        with pytest.raises(Unreadable, match="holds more than 1,000 files"):
            archives.zip_of(io.BytesIO(told_directory(count, length, in_64_bits=in_64_bits)))


def test_bytes_gone_wrong_are_never_more_than_a_sentence(read):
    chance = random.Random(15)
    rows = (["external_reference", "amount"], *([f"B{number}", number] for number in range(50)))
    wholes = [workbook(*rows), zipped({"a.csv": ONE * 99}), gzip.compress(ONE * 99)]
    refusals = []
    for _ in range(600):
        content = bytearray(chance.choice(wholes))
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            read(bytes(content[: chance.choice([len(content), chance.randrange(len(content))])]))
        except Unreadable as refusal:
            refusals.append(str(refusal))
    assert 0 < len(refusals) < 600
    assert all(refusal.endswith(".") for refusal in refusals)
