"""A file as records: delimited text or a workbook, packed or not, in any encoding, from a path or standard input."""

import codecs
import csv
import hashlib
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core.spreadsheets import DELIMITERS, name_of
from imports import archives
from imports.archives import Unreadable
from imports.cells import Fault, plain
from imports.workbooks import USUAL, Spelling, Workbook

__all__ = ["DELIMITERS", "OWN_COLUMNS", "Record", "Sheet", "Unreadable", "WorkbookSheet"]

OWN_COLUMNS = ("_line", "_errors")
"""What the file of refused rows adds; a file that holds them was mended, and they are passed over."""
TOLD_COLUMNS = (
    *("id", "customer_id", "account_id", "status", "voided_at", "void_reason", "created_at", "updated_at"),
    *("amount_remaining", "payer_name", "actor", "reversed_at", "reversal_reason"),
)
"""What exports tell beside the fields that imports read: it is ours to say, so imports pass over it."""

MOST_COLUMNS = 1_000
_LONGEST_LINE = 1 << 20
_LONGEST_ROW = 1 << 16
_SUSPICIOUS_LINES = 100  # of one row: its cells are measured
_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR = re.compile(r'\ufeff?sep=([^\w\s"]|\t)[\r\n]*\Z', re.IGNORECASE)
"""What spreadsheets write above a header to say the delimiter."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Record:
    """One row: the line where it starts, its cells, and what is wrong with its shape."""

    line: int
    cells: list[str]
    fault: Fault | None = None


@dataclass
class Sheet:
    """A file that can be read more than once: its header first, then its records."""

    file: BinaryIO
    name: str
    encoding: str
    delimiter: str = ","
    header: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: str,
        standard_input: BinaryIO | None = None,
        encoding: str | None = None,
        *,
        delimiter: str | None = None,
        sheet: str | None = None,
        spelling: Spelling = USUAL,
    ) -> Iterator["Sheet"]:
        """Open a path, or `-`: that is copied to disk first, for it can be read only once.

        What the file is its bytes tell, and not its name. `sheet` names one of a workbook, which is spelt as `spelling`
        says; `encoding` and `delimiter` are those of text.

        Raises:
            Unreadable: there is no such file, or it is no table.
        """
        try:
            with tempfile.TemporaryFile() if path == "-" else Path(path).open("rb") as file:
                if path == "-":
                    shutil.copyfileobj(standard_input or io.BytesIO(), file, _BLOCK)
                with _workbook_of(file) as apart:
                    opened = cls(file, "stdin" if path == "-" else Path(path).name, "")
                    if apart is None:
                        opened.encoding = opened.known_encoding(encoding)
                    else:
                        opened = WorkbookSheet.of(opened, Workbook(archives.zip_of(apart), spelling), sheet)
                    opened.find_columns(delimiter)
                    yield opened
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror or error}.") from error

    @property
    def size(self) -> int:
        """How many bytes there are to read."""
        return self.file.seek(0, io.SEEK_END)

    def fingerprint(self, options: str) -> str:
        """Return what tells this file, read with these options, from all others."""
        digest = hashlib.blake2b(options.encode(), digest_size=32)
        self.file.seek(0)
        while block := self.file.read(_BLOCK):
            digest.update(block)
        return digest.hexdigest()

    def known_encoding(self, named: str | None) -> str:
        """Return the encoding that was named, or the one the file's first bytes tell.

        Raises:
            Unreadable: there is none of this name, or the file's mark tells another.
        """
        with archives.unpacked(self.file) as raw:
            start = raw.read(4)
        told = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)
        if named is None:
            return told or "utf-8"
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=named)
        except LookupError as error:
            raise Unreadable(f"There is no encoding “{named}”.") from error
        if told is None:
            return named
        family = told.removesuffix("-sig")
        if not codecs.lookup(named).name.startswith(family):
            raise Unreadable(f"The file begins with the mark of {family.upper()}: it is not {named}.")
        return told

    def find_columns(self, delimiter: str | None = None) -> None:
        """Read the header with the delimiter that is named, or else with the one that makes the most columns of it.

        Raises:
            Unreadable: there is no header, or it can be taken apart in two ways.
        """
        with self._text() as lines:
            told = _SEPARATOR.match(lines.readline(_LONGEST_LINE))
        self.rows_above = 1 if told else 0
        one = delimiter or (told and told[1])
        headers = {}
        for self.delimiter in [one] if one else DELIMITERS:
            headers[self.delimiter] = self._first_row()
        self.delimiter = max(headers, key=lambda delimiter: len(headers[delimiter]))
        self.header = headers.pop(self.delimiter)
        rivals = [rival for rival, names in headers.items() if len(names) == len(self.header) > 1]
        self._judge_header()
        if rivals:
            either = " or ".join(f"“{_shown(one)}”" for one in (self.delimiter, *rivals))
            raise Unreadable(f"The header can be divided by {either}: say by which with --delimiter.")

    rows_above = 0
    """How many rows stand above the header."""

    def records(self, progress: Progress = lambda _: None, *, whole: bool = False) -> Iterator[Record]:
        """Yield the rows under the header; blank lines are none. A faulty one has its cells only when `whole`.

        Raises:
            Unreadable: the text breaks off, or cannot be told apart into rows.
        """
        rows = self._rows(progress)
        for _ in range(self.rows_above + 1):
            next(rows)
        width = len(self.header)
        for record in rows:
            if record.fault is None and len(record.cells) == width:
                yield record
                continue
            detail = f"The row has {len(record.cells)} cells, the header {width}."
            yield Record(record.line, record.cells if whole else [], record.fault or Fault("ragged_row", detail))

    def _first_row(self) -> list[str]:
        rows = [record for record in self._rows(lambda _: None, self.rows_above + 1) if record.fault is None]
        return [name_of(plain(name)) for name in rows[-1].cells] if len(rows) > self.rows_above else []

    def _judge_header(self) -> None:
        if not any(self.header):
            raise Unreadable("The file is empty: its first line must name the columns.")
        if any("\0" in name or not _encodable(name) for name in self.header):
            raise Unreadable(f"The header is not {self.encoding} text: name the file's encoding with --encoding.")
        if len(self.header) > MOST_COLUMNS:
            raise Unreadable(f"The header names {len(self.header):,} columns: at most {MOST_COLUMNS:,} are read.")

    def _rows(self, progress: Progress, most: int | None = None) -> Iterator[Record]:
        with self._text() as lines:
            physical = _Lines(lines, progress, self.file.tell)
            reader = csv.reader(physical, delimiter=self.delimiter, strict=True)
            count = 0
            while most is None or count < most:
                start = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "end of data" in str(error) or "field limit" in str(error):
                        raise Unreadable(f"Line {start}: a quote that opens in this row is never closed.") from error
                    yield Record(start, [], Fault("malformed_row", f"The row is not CSV: {error}."))
                else:
                    if not cells:
                        continue
                    if physical.long or reader.line_num - start > _SUSPICIOUS_LINES:
                        physical.long = False
                        yield Record(start, cells, _too_long(cells))
                    else:
                        yield Record(start, cells)
                count += 1

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        with archives.unpacked(self.file) as raw:
            lines = io.TextIOWrapper(raw, encoding=self.encoding, errors="surrogateescape", newline="")
            try:
                yield lines
            except UnicodeError as error:
                raise Unreadable(f"The file is not {self.encoding} text: {error}.") from error
            finally:
                lines.detach()


@dataclass
class WorkbookSheet(Sheet):
    """One sheet of a workbook; a row's line is the number that the workbook shows beside it."""

    book: Workbook = field(kw_only=True)
    chosen: str = field(kw_only=True)

    @classmethod
    def of(cls, sheet: Sheet, book: Workbook, chosen: str | None) -> "WorkbookSheet":
        """Return a file as the workbook that it is; its refused rows become text that spreadsheets know as UTF-8."""
        return cls(sheet.file, sheet.name, "utf-8-sig", book=book, chosen=book.chosen(chosen))

    @property
    def size(self) -> int:
        """How many bytes of XML there are to read."""
        return self.book.size(self.chosen)

    def find_columns(self, delimiter: str | None = None) -> None:
        """Read the header: the first row that has anything in it."""
        self.header = self._first_row()
        self._judge_header()

    def _rows(self, progress: Progress, most: int | None = None) -> Iterator[Record]:
        width = len(self.header)
        for count, (line, cells) in enumerate(self.book.rows(self.chosen, progress)):
            if count == most:
                return
            last = len(cells)
            while last > width and not cells[last - 1]:
                last -= 1
            told = cells[:last] + [""] * (width - last)
            yield Record(line, told, _too_long(told) if sum(map(len, told)) > _LONGEST_ROW else None)


class _Lines:
    """The physical lines of a text, none of them so long that memory suffers."""

    def __init__(self, lines: io.TextIOWrapper, progress: Progress, position: Callable[[], int]) -> None:
        self.lines, self.progress, self.position = lines, progress, position
        self.long = False

    def __iter__(self) -> Iterator[str]:
        number = 0
        while line := self.lines.readline(_LONGEST_LINE):
            number += 1
            if len(line) > _LONGEST_ROW:
                self.long = True
                if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
                    raise Unreadable(f"Line {number} is longer than {_LONGEST_LINE:,} characters.")
            if not number & 0x3FFF:
                self.progress(self.position())
            yield line


@contextmanager
def _workbook_of(file: BinaryIO) -> Iterator[BinaryIO | None]:
    """Yield the workbook that a file is, or that is packed in it: that is unpacked to disk, as it is read by leaps."""
    if _is_workbook(file):
        yield file
        return
    with tempfile.TemporaryFile() as apart:
        with archives.unpacked(file) as within:
            start = b"" if within is file else within.read(4)
            if archives.is_archive(start):
                apart.write(start)
                shutil.copyfileobj(within, apart, _BLOCK)
        if not archives.is_archive(start):
            yield None
        elif _is_workbook(apart):
            yield apart
        else:
            raise Unreadable("The archive holds another archive: unpack it first.")


def _is_workbook(file: BinaryIO) -> bool:
    return archives.start_of(file) == archives.ZIP and Workbook.known(archives.zip_of(file))


def _too_long(cells: list[str]) -> Fault | None:
    if sum(map(len, cells)) > _LONGEST_ROW:
        return Fault("row_too_long", f"The row is longer than {_LONGEST_ROW:,} characters.")
    return None


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else delimiter


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
