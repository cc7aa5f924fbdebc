"""The file of refused rows: as they came, with the line they came from and what is wrong with each."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from core.spreadsheets import header_line
from imports.cells import plain
from imports.kinds import Kind
from imports.reading import OWN_COLUMNS, Sheet, WorkbookSheet
from imports.staging import rows

_BATCH = 5_000

Refused = tuple[int, str]
"""A line and what is wrong with it."""


def refused_lines(kind: Kind) -> Iterator[Refused]:
    """Yield the refused lines of the stage in the order of the file."""
    last = 0
    while found := rows(
        """
        SELECT line, jsonb_agg(jsonb_build_array(field, detail, code) ORDER BY field, code)
        FROM staged_fault WHERE line > %(last)s GROUP BY line ORDER BY line LIMIT %(limit)s
        """,
        {"last": last, "limit": _BATCH},
    ):
        for line, faults in found:
            yield line, " ".join(_told(kind.field(column), *fault) for column, *fault in json.loads(faults))
        last = found[-1][0]


def write(path: Path, sheet: Sheet, refused: Iterator[Refused]) -> None:
    """Write the refused rows of a sheet, in its own encoding and with its own delimiter; mended, they import again.

    Those of a workbook become CSV in UTF-8, with the mark that spreadsheets know it by.
    """
    own = [index for index, name in enumerate(sheet.header) if name in OWN_COLUMNS]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with unfinished.open("w", encoding=sheet.encoding, errors="surrogateescape", newline="") as file:
        out = csv.writer(file, delimiter=sheet.delimiter)
        file.write(header_line(_without(sheet.header, own), "\r\n", sheet.delimiter, OWN_COLUMNS))
        line, faults = next(refused, (0, ""))
        for record in sheet.records(whole=True):
            if record.line != line:
                continue
            cells = _shown(record.cells, sheet) + [""] * (len(sheet.header) - len(record.cells))
            kept, beyond = cells[: len(sheet.header)], cells[len(sheet.header) :]
            out.writerow([*_without(kept, own), line, _spelt(faults, sheet.encoding), *beyond])
            line, faults = next(refused, (0, ""))
    unfinished.replace(path)


def _told(field: str, detail: str, code: str) -> str:
    return f"{field}: {detail} ({code})" if field else f"{detail} ({code})"


def _without(cells: list[str], own: list[int]) -> list[str]:
    return [cell for index, cell in enumerate(cells) if index not in own]


def _shown(cells: list[str], sheet: Sheet) -> list[str]:
    return [plain(cell) for cell in cells] if isinstance(sheet, WorkbookSheet) else cells


def _spelt(text: str, encoding: str) -> str:
    """Return a sentence as far as the file's encoding can hold it."""
    return text.encode(encoding, "replace").decode(encoding)
