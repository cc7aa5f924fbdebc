"""The rows of a workbook (.xlsx), read from its XML as they stream: never more than a row is held.

A library that lays a sheet out as a rectangle is brought down by two cells at opposite corners of it.
"""

import mmap
import re
import tempfile
import zipfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, BinaryIO
from xml.parsers import expat

from imports import archives
from imports.archives import Unreadable
from imports.cells import marked

MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
"""What a sheet has at most, in any spreadsheet."""

MOST_TEXTS = 1 << 24
_BLOCK = 1 << 14
_LONGEST = 1 << 22  # bytes of XML without the end of a row or of a text
_LARGEST_PART = 1 << 25  # of those that hold no cells
_DEEPEST = 32
_DIGITS = 15
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_BUILT_IN_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
# What a format shows as it stands: quoted, escaped, padded, or in brackets, a colour for one; but [h] is elapsed time.
_SHOWN_AS_IT_IS = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_ZEROS = re.compile(r"0{2,15}")
_LAST_DAY = 2_958_465  # 9999-12-31
_NO_DAY = 60  # 1900-02-29, which spreadsheets believe in


@dataclass(frozen=True)
class Spelling:
    """How the options say that dates and decimals are spelt: those of a workbook are written so to be read again."""

    date_format: str = "%Y-%m-%d"
    decimal: str = "."


USUAL = Spelling()

Row = tuple[int, list[str]]
"""The number of a row and its cells, up to the last that is not empty."""


class Workbook:
    """A workbook and the texts that its sheets share."""

    def __init__(self, archive: zipfile.ZipFile, spelling: Spelling) -> None:
        self.archive = archive
        self.spelling = spelling
        self.epoch_1904 = False
        self.parts: dict[str, str] = {}
        self.sheets = dict(self._sheets())
        if not self.sheets:
            raise Unreadable("The workbook has no sheet of cells.")

    @staticmethod
    def known(archive: zipfile.ZipFile) -> bool:
        """Tell whether a zip is a document of office software, and not an archive of files."""
        return "[Content_Types].xml" in archive.namelist()

    def chosen(self, name: str | None) -> str:
        """Return the sheet of this name, or the only one that has anything in it.

        Raises:
            Unreadable: there is none of this name, or none was named and there are several.
        """
        if name is not None:
            if name not in self.sheets:
                raise Unreadable(f"The workbook has no sheet “{name}”. It has {_listed(self.sheets)}.")
            return name
        filled = [one for one in self.sheets if next(self.rows(one), None)] if len(self.sheets) > 1 else [*self.sheets]
        if len(filled) > 1:
            raise Unreadable(f"The workbook has several sheets with data: name one with --sheet. {_listed(filled)}.")
        return filled[0] if filled else next(iter(self.sheets))

    def size(self, sheet: str) -> int:
        """Return how many bytes of XML a sheet is."""
        return self._entry(self.sheets[sheet]).file_size

    def rows(self, sheet: str, progress: Callable[[int], None] = lambda _: None) -> Iterator[Row]:
        """Yield the rows of a sheet that have anything in them.

        Raises:
            Unreadable: the workbook is damaged, or larger than any real one.
        """
        reading = _Rows(self.texts, self.kinds, self.spelling, epoch_1904=self.epoch_1904)
        with archives.opened(self.archive, self._entry(self.sheets[sheet])) as part:
            done = 0
            for length in _parsed(part, reading.parser, reading.mark):
                yield from reading.taken()
                done += length
                progress(done)
                if reading.over:
                    return

    @cached_property
    def texts(self) -> "Texts":
        """The texts that cells name by their number."""
        texts = Texts()
        if "sharedStrings" in self.parts:
            with archives.opened(self.archive, self._entry(self.parts["sharedStrings"])) as part:
                texts.read(part)
        return texts

    @cached_property
    def kinds(self) -> list[int]:
        """What each style makes of a number: a day (-1), as many digits at least, or nothing (0)."""
        formats: dict[str, str] = {}
        kinds: list[int] = []
        for path, told in self._elements(self.parts.get("styles", ""), "numFmts/numFmt", "cellXfs/xf"):
            if path == "numFmts/numFmt":
                formats[told.get("numFmtId", "")] = told.get("formatCode", "")
            else:
                number = told.get("numFmtId", "0")
                kinds.append(_kind(number, formats.get(number, "")))
        return kinds

    def _sheets(self) -> Iterator[tuple[str, str]]:
        if "xl/workbook.xml" not in self.archive.namelist():
            raise Unreadable("The file is no .xlsx workbook: save it as one, or as CSV.")
        for _, told in self._elements("xl/_rels/workbook.xml.rels", "Relationships/Relationship"):
            kind, target = told.get("Type", "").rpartition("/")[2], told.get("Target", "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            # Of the others there is one of each kind.
            self.parts[told.get("Id", "") if kind == "worksheet" else kind] = part
        for path, told in self._elements("xl/workbook.xml", "workbook/workbookPr", "sheets/sheet"):
            if path == "workbook/workbookPr":
                self.epoch_1904 = told.get("date1904") in {"1", "true"}
            key = next((value for name, value in told.items() if name.endswith(":id")), None)
            if key in self.parts:
                yield told.get("name", ""), self.parts[key]

    def _elements(self, part_name: str, *wanted: str) -> list[tuple[str, dict[str, str]]]:
        """Return the elements of a small part that are called so under such a parent, with their attributes."""
        if part_name not in self.archive.namelist():
            return []
        entry = self._entry(part_name)
        if entry.file_size > _LARGEST_PART:
            raise Unreadable(f"The workbook's {part_name} is larger than any real one.")
        kin = _Kin(wanted)
        with archives.opened(self.archive, entry) as part:
            for _ in _parsed(part, kin.parser, lambda: len(kin.found)):
                pass
        return kin.found

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self.archive.getinfo(name)
        except KeyError as error:
            raise Unreadable(f"The workbook is damaged: {name} is missing.") from error


class _Elements:
    """A parser that tells of the elements it knows, whatever their prefix, and of the text within some of them."""

    def __init__(self) -> None:
        self.parser = _parser()
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._begun, self._ended
        self.begins: dict[str, Callable[[dict[str, str]], None]] = {"rPh": self._pronounced}
        self.ends: dict[str, Callable[[], None]] = {"rPh": self._written}
        self.pieces: list[str] = []
        self.depth = 0
        self.names = _Names()
        self.aloud = False

    def _begun(self, tag: str, told: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("The workbook is damaged: its XML is nested deeper than any real one's.")
        begin = self.begins.get(self.names[tag])
        if begin is not None:
            begin(told)

    def _ended(self, tag: str) -> None:
        self.depth -= 1
        end = self.ends.get(self.names[tag])
        if end is not None:
            end()

    def _pronounced(self, _: dict[str, str]) -> None:
        self.aloud = True

    def _written(self) -> None:
        self.aloud = False

    def _hear(self, _: dict[str, str]) -> None:
        if not self.aloud:
            self.parser.CharacterDataHandler = self.pieces.append

    def _ignore(self) -> None:
        self.parser.CharacterDataHandler = None


class _Names(dict[str, str]):
    """The names of elements without their prefix."""

    def __missing__(self, tag: str) -> str:
        name = tag.rpartition(":")[2]
        if len(self) < MOST_COLUMNS:
            self[tag] = name
        return name


class _Kin(_Elements):
    """The elements that are called so under such a parent, with their attributes."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        super().__init__()
        self.wanted = wanted
        self.path = [""]
        self.found: list[tuple[str, dict[str, str]]] = []

    def _begun(self, tag: str, told: dict[str, str]) -> None:
        super()._begun(tag, told)
        self.path[self.depth :] = [self.names[tag]]
        kin = "/".join(self.path[-2:])
        if kin in self.wanted:
            self.found.append((kin, told))


class Texts(_Elements):
    """The shared texts of a workbook, kept on disk: there may be more of them than memory should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = array("Q", [0])
        self.bytes: Any = b""
        self.found: list[bytes] = []
        self.begins["t"] = self._hear
        self.ends |= {"t": self._ignore, "si": self._keep}

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self.stops) - 1:
            raise Unreadable("The workbook is damaged: a cell names a text that is not there.")
        return str(self.bytes[self.stops[number] : self.stops[number + 1]], "utf-8", "surrogatepass")

    def read(self, part: BinaryIO) -> None:
        """Read them all.

        Raises:
            Unreadable: there are more than any real workbook has.
        """
        with tempfile.TemporaryFile() as kept:
            for _ in _parsed(part, self.parser, lambda: len(self.stops) + len(self.found)):
                for text in self.found:
                    self.stops.append(self.stops[-1] + len(text))
                kept.writelines(self.found)
                self.found.clear()
                if len(self.stops) > MOST_TEXTS:
                    raise Unreadable(f"The workbook has more than {MOST_TEXTS:,} different texts.")
            kept.flush()
            if self.stops[-1]:
                self.bytes = mmap.mmap(kept.fileno(), self.stops[-1], access=mmap.ACCESS_READ)

    def _keep(self) -> None:
        self.found.append(_unescaped("".join(self.pieces)).encode("utf-8", "surrogatepass"))
        self.pieces.clear()


class _Rows(_Elements):
    """The rows of a sheet: those that have ended since they were last taken."""

    def __init__(self, texts: Texts, kinds: list[int], spelling: Spelling, *, epoch_1904: bool) -> None:
        super().__init__()
        self.texts, self.kinds, self.spelling, self.epoch_1904 = texts, kinds, spelling, epoch_1904
        self.found: list[Row] = []
        self.cells: list[str] = []
        self.cell: dict[str, str] = {}
        self.number = self.counted = 0
        self.formula = self.over = False
        self.places: dict[str, int] = {}
        self.begins |= {"row": self._begin_row, "c": self._begin_cell, "f": self._begin_formula}
        self.begins |= {"v": self._hear, "t": self._hear}
        self.ends |= {"row": self._end_row, "c": self._end_cell, "sheetData": self._end}
        self.ends |= {"v": self._ignore, "t": self._ignore}

    def taken(self) -> list[Row]:
        """Return the rows that have ended, and forget them."""
        found, self.found = self.found, []
        return found

    def mark(self) -> int:
        """Return what rises with each row that ends."""
        return self.counted

    def _begin_cell(self, told: dict[str, str]) -> None:
        self.cell = told

    def _begin_formula(self, _: dict[str, str]) -> None:
        self.formula = True

    def _end_cell(self) -> None:
        self._pass(self.cell.get("r"))
        if self.pieces:
            self.cells[-1] = self._text("".join(self.pieces), self.cell)
            self.pieces.clear()
        elif self.formula:
            self.cells[-1] = marked("", "formula")
        self.formula = False

    def _end_row(self) -> None:
        self.counted += 1
        if any(self.cells):
            self.found.append((self.number, self.cells))
        self.cells = []

    def _end(self) -> None:
        self.over = True

    def _begin_row(self, told: dict[str, str]) -> None:
        number = int(told.get("r", self.number + 1))
        if not self.number < number <= MOST_ROWS:
            raise Unreadable(f"The workbook is damaged: row {number} follows row {self.number}.")
        self.number = number

    def _pass(self, place: str | None) -> None:
        """Make room up to a cell: those that are left out are empty."""
        missing = (self._column(place) if place else len(self.cells) + 1) - len(self.cells)
        if missing <= 0:
            raise Unreadable(f"The workbook is damaged: the cells of row {self.number} are out of order.")
        self.cells.extend([""] * missing)
        if len(self.cells) > MOST_COLUMNS:
            raise Unreadable(f"Row {self.number} has more than {MOST_COLUMNS:,} cells.")

    def _column(self, place: str) -> int:
        letters = place.rstrip("0123456789")
        column = self.places.get(letters)
        if column is None:
            if not re.fullmatch("[A-Z]{1,3}", letters):
                raise Unreadable(f"The workbook is damaged: there is no cell {place[:20]}.")
            column = 0
            for letter in letters:
                column = column * 26 + ord(letter) - 64
            self.places[letters] = column
        return column

    def _text(self, raw: str, cell: dict[str, str]) -> str:
        kind = cell.get("t", "n")
        if kind == "s":
            return self.texts[int(raw)]
        if kind == "n":
            return self._number(raw, cell.get("s"))
        if kind == "b":
            return marked("TRUE" if raw == "1" else "FALSE", "boolean")
        if kind == "e":
            return marked(raw, "error")
        if kind == "d":
            return self._day(datetime.fromisoformat(raw).replace(tzinfo=None))
        return _unescaped(raw)

    def _number(self, raw: str, style: str | None) -> str:
        kind = self.kinds[int(style)] if style is not None and int(style) < len(self.kinds) else 0
        if kind < 0:
            return self._serial(float(raw))
        if len(raw) <= _DIGITS and raw.isdigit() and raw[0] != "0":
            return raw.rjust(kind, "0")
        number = float(raw)
        if not abs(number) < 10**_DIGITS:  # nor is it none
            return marked(f"{number:.{_DIGITS - 1}E}", "digits")
        # As a spreadsheet shows it; what lies beyond is what binary fractions leave behind.
        shown = f"{Decimal(f'{number:.{_DIGITS}g}'):f}"
        return shown.rjust(kind, "0") if "." not in shown else shown.replace(".", self.spelling.decimal)

    def _serial(self, number: float) -> str:
        if not 0 <= number < _LAST_DAY + 1:
            return marked(f"{number:.{_DIGITS}g}", "error")
        start = datetime(1904, 1, 1) if self.epoch_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 a day, no moment
        if not self.epoch_1904 and number < _NO_DAY + 1:
            if number >= _NO_DAY:
                return marked("1900-02-29", "error")
            start += timedelta(days=1)
        moment = start + timedelta(seconds=round(number * 86_400))
        return marked(moment.strftime("%H:%M:%S"), "time") if number < 1 else self._day(moment)

    def _day(self, moment: datetime) -> str:
        return marked(moment.strftime(self.spelling.date_format), "date")


def _parser() -> Any:
    """Return a parser that refuses what a workbook never has, and a bomb may have: declarations of its own."""

    def declared(*_: object) -> None:
        raise Unreadable("The workbook declares entities: no real one does.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = declared
    return parser


def _parsed(part: BinaryIO, parser: Any, mark: Callable[[], int]) -> Iterator[int]:
    """Parse block after block and yield the length of each; nothing may go on for long without raising the mark."""
    reached, since = mark(), 0
    try:
        while block := part.read(_BLOCK):
            parser.Parse(block, False)
            yield len(block)
            since += len(block)
            if mark() > reached:
                reached, since = mark(), 0
            elif since > _LONGEST:
                raise Unreadable(f"A row or text of the workbook is longer than {_LONGEST:,} bytes.")
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, OverflowError) as error:
        raise Unreadable("The workbook is damaged: its XML cannot be read.") from error


def _kind(number: str, pattern: str) -> int:
    if number.isdigit() and int(number) in _BUILT_IN_DATES:
        return -1
    if _ZEROS.fullmatch(pattern):
        return len(pattern)
    shown = _SHOWN_AS_IT_IS.sub("", pattern.partition(";")[0]).lower()
    return -1 if re.search("[ymdhs]", shown) and "general" not in shown else 0


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _listed(names: Any) -> str:
    return ", ".join(f"“{name}”" for name in names)
