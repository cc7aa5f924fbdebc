"""A file of delimited text as records: compressed or not, in any encoding, from a path or from standard input."""

import codecs
import csv
import gzip
import hashlib
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from core.spreadsheets import DELIMITERS, name_of
from imports.cells import Fault

OWN_COLUMNS = ("_line", "_errors")
"""What the file of refused rows adds; a file that holds them was mended, and they are passed over."""
TOLD_COLUMNS = (
    *("id", "customer_id", "account_id", "status", "voided_at", "void_reason", "created_at", "updated_at"),
    *("amount_remaining", "payer_name", "actor", "reversed_at", "reversal_reason"),
)
"""What exports tell beside the fields that imports read: it is ours to say, so imports pass over it."""

_LONGEST_LINE = 1 << 20
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Unreadable(Exception):  # noqa: N818 said of a file, with a sentence
    """The file as a whole cannot be read; nothing was written."""


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
    def opened(cls, path: str, standard_input: BinaryIO, encoding: str | None = None) -> Iterator["Sheet"]:
        """Open a path, or `-`: that is copied to disk first, for it can be read only once.

        Raises:
            Unreadable: there is no such file, or it is no table of text.
        """
        try:
            with tempfile.TemporaryFile() if path == "-" else Path(path).open("rb") as file:
                if path == "-":
                    shutil.copyfileobj(standard_input, file, _BLOCK)
                sheet = cls(file, "stdin" if path == "-" else Path(path).name, "")
                sheet.encoding = sheet.known_encoding(encoding)
                sheet.find_columns()
                yield sheet
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
        """Return the encoding that was named, or the one the file's first bytes tell."""
        if named is None:
            with self._failures_named(), self._bytes() as raw:
                start = raw.read(4)
            return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")
        try:
            io.TextIOWrapper(io.BytesIO(), encoding=named)
        except LookupError as error:
            raise Unreadable(f"There is no encoding “{named}”.") from error
        return named

    def find_columns(self) -> None:
        """Read the header with the delimiter that makes the most columns of it.

        Raises:
            Unreadable: there is no header.
        """
        headers = {}
        for delimiter in DELIMITERS:
            self.delimiter = delimiter
            first = next(self._rows(), None)
            headers[delimiter] = first.cells if first is not None else []
        self.delimiter = max(headers, key=lambda delimiter: len(headers[delimiter]))
        self.header = [name_of(cell) for cell in headers[self.delimiter]]
        if not any(self.header):
            raise Unreadable("The file is empty: its first line must name the columns.")
        if any("\0" in name or not _encodable(name) for name in self.header):
            raise Unreadable(f"The header is not {self.encoding} text: name the file's encoding with --encoding.")

    def records(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
        """Yield the rows under the header; blank lines are none.

        Raises:
            Unreadable: the text breaks off, or cannot be told apart into rows.
        """
        rows = self._rows(progress)
        next(rows)
        width = len(self.header)
        for record in rows:
            if len(record.cells) == width or record.fault:
                yield record
            else:
                detail = f"The row has {len(record.cells)} cells, the header {width}."
                yield Record(record.line, record.cells, Fault("ragged_row", detail))

    def _rows(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
        with self._failures_named(), self._text() as lines:
            reader = csv.reader(_bounded(lines, progress, self.file.tell), delimiter=self.delimiter, strict=True)
            while True:
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
                    if cells:
                        yield Record(start, cells)

    @contextmanager
    def _bytes(self) -> Iterator[BinaryIO]:
        self.file.seek(0)
        packed = self.file.read(2) == _GZIP
        self.file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=self.file) as unpacked:
                yield unpacked  # type: ignore[misc]  # it reads like any binary file
        else:
            yield self.file

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        with self._bytes() as raw:
            lines = io.TextIOWrapper(raw, encoding=self.encoding, errors="surrogateescape", newline="")
            try:
                yield lines
            finally:
                lines.detach()

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Unreadable("The compressed file is damaged or breaks off.") from error
        except UnicodeError as error:
            raise Unreadable(f"The file is not {self.encoding} text: {error}.") from error


def _bounded(lines: io.TextIOWrapper, progress: Callable[[int], None], position: Callable[[], int]) -> Iterator[str]:
    """Yield the physical lines, none of them so long that memory suffers."""
    number = 0
    while line := lines.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
            raise Unreadable(f"Line {number} is longer than {_LONGEST_LINE:,} characters.")
        if not number & 0x3FFF:
            progress(position())
        yield line


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
