"""How a file comes in over the API: as the body itself, or as a part of a form; on to the disk, never into memory."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from api.problems import Problem

PART = "file"
FORM = "multipart/form-data"
WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PLAIN = ("text/csv", "application/gzip", "application/x-gzip", "application/zip", WORKBOOK, "application/octet-stream")
"""What the body may be, where it is the file itself."""

_BLOCK = 1 << 16
_BLANK = ("", "0", None)
_NAME_LENGTH = 255
_WHOLE = "Send the file with a Content-Length: without one, a body that breaks off looks like a whole one."


@dataclass
class Upload:
    """A file that has come in, and what the form said beside it."""

    file: BinaryIO
    name: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)
    hashed: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=32))

    @property
    def digest(self) -> str:
        """What tells these bytes from all others."""
        return str(self.hashed.hexdigest())

    def write(self, block: bytes) -> None:
        """Add to the file."""
        self.hashed.update(block)
        self.file.write(block)


@contextmanager
def uploaded(request: HttpRequest) -> Iterator[Upload]:
    """Take the file that a request brings.

    Raises:
        Problem: 400 when there is none or it breaks off, 413 when it is too large, 415 for any other kind of body.
    """
    media = (request.content_type or "").lower()
    if media not in {FORM, *PLAIN}:
        raise Problem(415, "unsupported_media_type", f"Send the file as {', '.join(PLAIN)} or in {FORM}.")
    length = request.META.get("CONTENT_LENGTH")
    if length in _BLANK:
        raise Problem(400, "invalid_request", _WHOLE if length in {"", None} else "The body is empty.")
    counted = _Counted(request)
    with ExitStack() as kept:
        upload = _form(request, counted, kept) if media == FORM else _body(counted, int(length), kept)
        if counted.read_so_far != int(length):
            raise Problem(400, "invalid_request", "The request ended before its body did.")
        yield upload


class _Counted:
    """The body of a request, and how much of it there was."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.read_so_far = 0

    def read(self, size: int = _BLOCK) -> bytes:
        block = self.request.read(size)
        self.read_so_far += len(block)
        return block


def _too_large() -> Problem:
    return Problem(413, "request_too_large", f"A file holds at most {settings.IMPORT_MAX_BYTES:,} bytes.")


def _body(counted: _Counted, length: int, kept: ExitStack) -> Upload:
    if length > settings.IMPORT_MAX_BYTES:
        raise _too_large()
    file: Any = kept.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 the stack closes it
    upload = Upload(file)
    while block := counted.read():
        upload.write(block)
    return upload


class _Keeper(FileUploadHandler):
    """Writes the file's part of a form to the disk, and no more of it than a file may hold."""

    def __init__(self, kept: ExitStack) -> None:
        super().__init__()
        self.kept = kept
        self.upload: Upload | None = None

    def new_file(self, *args: Any, **options: Any) -> None:
        super().new_file(*args, **options)
        if self.field_name != PART or self.upload is not None:
            raise Problem(400, "invalid_request", f"A form brings one file, in the part “{PART}”.")
        file: Any = self.kept.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 the stack closes it
        self.upload = Upload(file, name=self.file_name or "")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.IMPORT_MAX_BYTES:
            raise _too_large()
        if self.upload is not None:
            self.upload.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        return UploadedFile(size=file_size)


def _form(request: HttpRequest, counted: _Counted, kept: ExitStack) -> Upload:
    keeper = _Keeper(kept)
    try:
        fields, _ = MultiPartParser(request.META, counted, [keeper], "utf-8").parse()  # type: ignore[arg-type]
    except MultiPartParserError:
        raise Problem(400, "invalid_request", "The form cannot be read.") from None
    if keeper.upload is None:
        raise Problem(400, "file_required", f"The form brings no file: send it in the part “{PART}”.")
    keeper.upload.fields = {name: [str(text) for text in fields.getlist(name)] for name in fields}
    return keeper.upload


def last_part(name: str) -> str:
    """Return the name of a file without the folders that some browsers and systems put before it."""
    return PurePosixPath(PureWindowsPath(name).name).name[:_NAME_LENGTH]
