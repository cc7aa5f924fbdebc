"""What a file is packed in, told by its first bytes; it is unpacked as it is read, and never without bounds."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
MOST_BYTES = 1 << 32
"""How much may come out of an archive."""

MOST_RATIO = 200
"""How many times its packed size may come out of it. Rows that differ in nothing but a number come to less than 100."""

MOST_ENTRIES = 1_000
DAMAGED = "The compressed file is damaged or breaks off."

_UNJUDGED = 1 << 20  # what is smaller hurts nobody, whatever its ratio
_BLOCK = 1 << 16
_EMPTY_ZIP = b"PK\x05\x06"
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_PLACE_64 = struct.Struct("<4sLQL")
_LONGEST_COMMENT = 1 << 16
_LONGEST_DIRECTORY = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
# What zipfile and zlib raise of bytes that are no archive, or no longer one.
_FAILURES = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, struct.error, NotImplementedError, ValueError)


class Unreadable(Exception):  # noqa: N818 said of a file, with a sentence
    """The file as a whole cannot be read; nothing was written."""


class Bounded(io.RawIOBase):
    """What comes out of an archive, as long as it is in proportion to what went in."""

    def __init__(self, unpacked: BinaryIO, packed: Callable[[], int]) -> None:
        self.unpacked = unpacked
        self.packed = packed
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer is told as a memoryview
        """Read on.

        Raises:
            Unreadable: there is more of it than any real file would be.
        """
        try:
            block = self.unpacked.read(len(buffer))
        except _FAILURES as error:
            raise Unreadable(DAMAGED) from error
        buffer[: len(block)] = block
        self.count += len(block)
        _judge(self.count, self.packed())
        return len(block)


def _judge(unpacked: int, packed: int) -> None:
    if unpacked > MOST_BYTES:
        raise Unreadable(f"The file holds more than {MOST_BYTES >> 30} GiB once it is unpacked.")
    if unpacked > _UNJUDGED and unpacked > packed * MOST_RATIO:
        raise Unreadable(f"The file unpacks to more than {MOST_RATIO} times its size: no real table does.")


def start_of(file: BinaryIO) -> bytes:
    """Return the first bytes of a file, by which it is known."""
    file.seek(0)
    start = file.read(4)
    if start == _OLD_OFFICE:
        raise Unreadable("This is an old .xls or a workbook with a password: save it as .xlsx without one.")
    file.seek(0)
    return start


def is_archive(start: bytes) -> bool:
    """Tell whether a file that begins so is packed."""
    return start.startswith(GZIP) or start in {ZIP, _EMPTY_ZIP}


@contextmanager
def unpacked(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the bytes of a file from the first on; where it is a gzip or the zip of one file, those within.

    Raises:
        Unreadable: it is damaged, holds none or several files, or more than any real file does.
    """
    start = start_of(file)
    if start.startswith(GZIP):
        with gzip.GzipFile(fileobj=file) as within:
            yield _bounded(cast("BinaryIO", within), file.tell)
    elif start in {ZIP, _EMPTY_ZIP}:
        archive = zip_of(file)
        entry = _only(archive)
        with opened(archive, entry) as within:
            yield within
    else:
        yield file


def zip_of(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip whose directory is of a reasonable size.

    Raises:
        Unreadable: it is not, or it is damaged.
    """
    try:
        count, length = _directory(file)
        if count > MOST_ENTRIES or length > _LONGEST_DIRECTORY:
            raise Unreadable(f"The archive holds more than {MOST_ENTRIES:,} files.")
        return zipfile.ZipFile(file)
    except (*_FAILURES, OSError) as error:  # that of a place that is not in the file
        raise Unreadable(DAMAGED) from error


@contextmanager
def opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    """Yield the bytes of one file of a zip, which is judged by what the directory says of it before it is read.

    Raises:
        Unreadable: it is encrypted, damaged, or larger than any real file.
    """
    if entry.flag_bits & _ENCRYPTED:
        raise Unreadable("The archive is encrypted: unpack it first.")
    if entry.compress_type not in _METHODS:
        raise Unreadable("The archive is packed in an unusual way: pack it as .zip or .gz usually is.")
    _judge(entry.file_size, entry.compress_size)
    try:
        within = archive.open(entry)
    except (*_FAILURES, OSError) as error:
        raise Unreadable(DAMAGED) from error
    with within:
        yield _bounded(cast("BinaryIO", within), lambda: entry.compress_size)


def _bounded(within: BinaryIO, packed: Callable[[], int]) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(Bounded(within, packed), _BLOCK))


def _only(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one file of a zip; what macOS packs beside each is none."""
    named = {one.filename: one for one in archive.infolist()}
    files = [one for name, one in named.items() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(files) == 1:
        return files[0]
    if not files:
        raise Unreadable("The archive holds no file.")
    raise Unreadable(f"The archive holds {len(files)} files: pack the one to read alone.")


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Return how many entries a zip says it has and how long their directory is, before that is read into memory."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - _LONGEST_COMMENT - _END.size, 0))
    before = file.tell()
    tail = file.read()
    place = tail.rfind(_EMPTY_ZIP)
    if place < 0:
        raise zipfile.BadZipFile
    _, _, _, _, count, length, _, _ = _END.unpack_from(tail, place)
    file.seek(max(before + place - _PLACE_64.size, 0))
    told, _, where, _ = _PLACE_64.unpack(file.read(_PLACE_64.size).ljust(_PLACE_64.size, b"\0"))
    if told == b"PK\x06\x07":
        file.seek(min(where, size))
        *_, count, length, _ = _END_64.unpack(file.read(_END_64.size))
    return count, length
