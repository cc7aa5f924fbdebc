"""The first rows of a file as they will be understood, before anything is read in earnest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from imports.columns import BadOption, Layout
from imports.fetching import fetched
from imports.headers import lenient, spelled
from imports.kinds import KINDS, Kind
from imports.models import Import
from imports.options import understood
from imports.reading import OWN_COLUMNS, Unreadable

ROWS = 10


@dataclass
class Preview:
    """A file's header with the fields that its columns give, and its first rows; or why it cannot be read so."""

    header: list[str] = field(default_factory=list)
    fields: list[list[str]] = field(default_factory=list)
    """For each column the fields it gives, alone or in a template; none where it is passed over."""
    rows: list[list[str]] = field(default_factory=list)
    trouble: str = ""

    @property
    def columns(self) -> list[tuple[str, list[str]]]:
        """Each column's name and the fields it gives."""
        return [*zip(self.header, self.fields, strict=True)]

    @property
    def unknown(self) -> list[str]:
        """The columns that give no field."""
        return [name for name, fields in self.columns if not fields and name not in OWN_COLUMNS]


def preview(imported: Import, asked: Mapping[str, Any]) -> Preview:
    """Return how the file of an import begins, read with these options."""
    kind, shown = KINDS[imported.kind], Preview()
    try:
        options = understood(kind, asked)
        with fetched(imported, asked) as (sheet, _):
            shown.header = sheet.header
            shown.fields = [_given_by(kind, name, options.mapping) for name in sheet.header]
            records = islice(sheet.records(), ROWS)
            shown.rows = [record.cells[: len(sheet.header)] for record in records]
            Layout(kind, sheet.header, options, lambda *_: {})
    except (BadOption, Unreadable) as refusal:
        shown.trouble = str(refusal)
    return shown


def _given_by(kind: Kind, name: str, mapping: tuple[tuple[str, str], ...]) -> list[str]:
    mapped = [to for to, source in mapping if spelled(source) == spelled(name) or f"{{{name}}}" in source]
    own = [name] if kind.column(name) else [*lenient([name], kind.fields, kind.metadata_of)]
    return [field for field in own if field not in dict(mapping)] + mapped
