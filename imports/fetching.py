"""The file of an import, put together again from its pieces and opened."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imports.models import Import, Piece, What
from imports.options import opening
from imports.reading import Sheet, Unreadable


@contextmanager
def fetched(imported: Import, asked: Mapping[str, Any]) -> Iterator[tuple[Sheet, Path]]:
    """Open the file of an import as the options say; yield it, and a folder that lasts as long.

    Raises:
        Unreadable: it is no table.
        BadOption: the delimiter can be none.
    """
    with tempfile.TemporaryDirectory(prefix="import-") as name:
        folder = Path(name)
        path = folder / "file"
        with path.open("wb") as file:
            for piece in Piece.objects.bytes_of(imported, What.SOURCE):
                file.write(piece)
        try:
            with Sheet.opened(str(path), **opening(asked)) as sheet:
                sheet.name = imported.file_name
                yield sheet, folder
        except Unreadable as refusal:
            raise Unreadable(str(refusal).replace(f"{path}: ", "")) from refusal
