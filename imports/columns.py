"""Which column of a file gives which field, and how the cells become the columns of the stage."""

import json
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from imports import cells
from imports.cells import NULL, Fault, Remembered, escaped
from imports.kinds import BILLS, METADATA, PARENTS, Kind
from imports.reading import OWN_COLUMNS, Record
from payments.models import Method

Column = Sequence[str]
"""The cells of one column, from top to bottom."""

_OF_PARENTS = {
    "external_reference": cells.reference,
    "name": cells.text(255),
    "email": cells.email,
    "phone": cells.phone,
    "currency": cells.currency,
}
BALANCE = "balance"
LEAST = {"amount_due": 1, "amount_paid": 0, "amount": 1} | {
    f"{parent}_{BALANCE}": -cells.MAX_AMOUNT for parent in PARENTS
}
"""The least that each amount may be, in minor units."""

READERS: dict[str, cells.Reader[str]] = {
    "currency": cells.currency,
    "description": cells.text(500),
    "method": cells.choice(*Method.values),
    "paid_at": cells.moment,
    "obligation": cells.text(64),
    "bill_external_reference": cells.reference,
    "allocations": cells.allocations,
    "partner": cells.reference,
    **{f"{parent}_{name}": _OF_PARENTS[name] for parent, names in PARENTS.items() for name in names if name != BALANCE},
}
"""How each column of the stage is read that is no amount and no date."""

DATES = ("bill_date", "due_date")


class BadOption(Exception):  # noqa: N818 said of the command line, with a sentence
    """An option, or the header under the options, makes no sense; nothing was written."""


@dataclass(frozen=True)
class Options:
    """How a file is to be understood, as the command's options of the same names say."""

    mapping: tuple[tuple[str, str], ...] = ()
    ignore_unknown: bool = False
    in_major: bool = False
    currency: str | None = None
    due_days: int | None = None
    date_format: str = "%Y-%m-%d"
    abort: bool = False
    max_errors: int | None = None
    events: bool = False

    @property
    def most_refused(self) -> int | None:
        """How many rows may be refused before nothing is written, or None where any number may."""
        return 0 if self.abort else self.max_errors

    def __str__(self) -> str:
        return json.dumps(self.facts, sort_keys=True)

    @property
    def facts(self) -> dict[str, Any]:
        """The options that differ from what is usual."""
        return {name: value for name, value in vars(self).items() if value != getattr(Options, name, None)}


@dataclass
class Layout:
    """The columns of one file, ready to read batches of its records."""

    kind: Kind
    header: list[str]
    options: Options
    stored_currencies: Callable[[str, Iterable[str]], dict[str, str]]
    """Tells the currencies of stored records by reference; for amounts in major units whose row names none."""

    sources: dict[str, Callable[[list[Column]], Column]] = field(default_factory=dict)
    memory: dict[str, Remembered[Any]] = field(default_factory=dict)
    faulty: int = 0
    """How many records had a fault so far."""

    def __post_init__(self) -> None:
        named = dict(self.options.mapping)
        if len(named) < len(self.options.mapping):
            raise BadOption("--map names a field twice.")
        if strange := [name for name in named if self.kind.column(name) is None]:
            raise BadOption(
                f"--map: there is no field {_listed(strange)}. "
                f"There are {_listed(self.kind.fields)} and metadata.<key>."
            )
        used = set(named)
        for name, source in named.items():
            self.sources[str(self.kind.column(name))] = self._source(name, source, used)
        for name in self.header:
            column = self.kind.column(name)
            if column and column not in self.sources:
                self.sources[column] = self._column(name)
                used.add(name)
        unknown = [name or "(unnamed)" for name in self.header if name not in used and name not in OWN_COLUMNS]
        if unknown and not self.options.ignore_unknown:
            raise BadOption(
                f"These columns are no fields: {_listed(unknown)}. Say where they go with --map, or --ignore-unknown."
            )
        if self.kind.key not in self.sources:
            raise BadOption("No column gives external_reference: say which does with --map external_reference=COLUMN.")
        self._apply_options()

    def _apply_options(self) -> None:
        """Let options stand in for the columns that they are for files without."""
        currency = f"{self.kind.prefix}currency"
        for option, name in (("currency", currency), ("due_days", "due_date")):
            if getattr(self.options, option) is not None and name in self.sources:
                told = f"--{option.replace('_', '-')} is for files without a {self.kind.field(name)}"
                raise BadOption(f"{told}; this one has it.")
        if self.options.currency is not None and self.kind is not BILLS:
            code = self.options.currency
            self.sources[currency] = lambda table: [code] * len(table[0])

    @property
    def columns(self) -> list[str]:
        """The columns of the stage that a batch fills."""
        plain = [name for name in self.sources if METADATA not in name]
        return ["line", "readable", "faults", *plain, *self.metadata]

    @property
    def metadata(self) -> dict[str, list[str]]:
        """The keys of each metadata column of the stage."""
        keys: dict[str, list[str]] = {}
        for name in self.sources:
            prefix, dot, key = name.partition(METADATA)
            if dot:
                keys.setdefault(f"{prefix}metadata", []).append(key)
        return keys

    def lines(self, records: Sequence[Record]) -> str:
        """Return a batch of records as COPY text for `columns`."""
        blank = [""] * len(self.header)
        table: list[Column] = [
            *zip(*(record.cells if record.fault is None else blank for record in records), strict=True)
        ]
        faults: dict[int, list[tuple[str, Fault]]] = {
            index: [("", record.fault)] for index, record in enumerate(records) if record.fault
        }
        raw = {name: source(table) for name, source in self.sources.items()}
        self._require(raw, faults)
        staged = {name: self._read(name, raw, faults) for name in raw}
        self.faulty += len(faults)
        columns = [
            [str(record.line) for record in records],
            ["f" if record.fault else "t" for record in records],
            [_told(faults[index]) if index in faults else NULL for index in range(len(records))],
            *(column for name, column in staged.items() if METADATA not in name),
            *(self._gathered(name, keys, raw, staged) for name, keys in self.metadata.items()),
        ]
        return "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True))

    def _read(self, name: str, raw: dict[str, Column], faults: dict[int, list[tuple[str, Fault]]]) -> list[str]:
        memory = self.memory.get(name)
        if memory is None:
            memory = self.memory[name] = Remembered(self._reader(name))
        memory.forget()
        column: Sequence[Any] = raw[name]
        if name in LEAST and self.options.in_major:
            column = [*zip(column, self._currencies(name, raw), strict=True)]
        values: list[Any] = [memory[cell] for cell in column]
        if memory.faulty:
            for index, value in enumerate(values):
                if value.__class__ is Fault:
                    faults.setdefault(index, []).append((name, value))
                    values[index] = NULL
        return values

    def _reader(self, name: str) -> cells.Reader[Any]:
        if name in LEAST:
            return cells.major(LEAST[name]) if self.options.in_major else cells.minor(LEAST[name])
        if name in DATES:
            return cells.day(self.options.date_format)
        if name == self.kind.key:
            return self.kind.reference
        return READERS[name] if METADATA not in name else self.kind.metadata

    def _currencies(self, name: str, raw: dict[str, Column]) -> Column:
        """Return the currency of each amount: the row's, the option's, or that of the stored record."""
        prefix = name.removesuffix(BALANCE) if name.endswith(BALANCE) else ""
        count = len(raw[name])
        column = raw.get(f"{prefix}currency", [(not prefix and self.options.currency) or ""] * count)
        references = raw.get(f"{prefix}external_reference", [""] * count)
        wanting = {
            ref for ref, code, amount in zip(references, column, raw[name], strict=True) if ref and amount and not code
        }
        if not wanting:
            return column
        stored = self.stored_currencies(prefix.rstrip("_") or self.kind.name.rstrip("s"), wanting)
        return [code or stored.get(ref, "") for ref, code in zip(references, column, strict=True)]

    def _require(self, raw: dict[str, Column], faults: dict[int, list[tuple[str, Fault]]]) -> None:
        """Say which rows lack a reference: their own, or that of a parent they describe."""
        absent = Fault("required", "This field is required.")
        for index, cell in enumerate(raw[self.kind.key]):
            if not cell and index not in faults:
                faults[index] = [(self.kind.key, absent)]
        for parent in self.kind.beside:
            key = f"{parent}_external_reference"
            described = [column for name, column in raw.items() if name.startswith(f"{parent}_") and name != key]
            if not described:
                continue
            references = raw.get(key, [""] * len(described[0]))
            for index, (reference, *others) in enumerate(zip(references, *described, strict=True)):
                if not reference and any(others):
                    faults.setdefault(index, []).append((key, absent))

    def _gathered(self, name: str, keys: list[str], raw: dict[str, Column], staged: dict[str, list[str]]) -> list[str]:
        """Return one column of JSON from the columns of its keys; an empty or faulty cell gives no key."""
        names = [name.removesuffix("metadata") + METADATA + key for key in keys]
        texts = zip(*(raw[one] for one in names), strict=True)
        fine = zip(*(staged[one] for one in names), strict=True)
        gathered = []
        for row, kept in zip(texts, fine, strict=True):
            found = {key: cell for key, cell, value in zip(keys, row, kept, strict=True) if value != NULL}
            gathered.append(escaped(json.dumps(found)) if found else NULL)
        return gathered

    def _source(self, name: str, source: str, used: set[str]) -> Callable[[list[Column]], Column]:
        if source in self.header:
            used.add(source)
            return self._column(source)
        try:
            parts = [*string.Formatter().parse(source)]
        except ValueError as error:
            raise BadOption(f"--map {name}={source}: {error}.") from error
        places = [place for _, place, _, _ in parts if place is not None]
        if strange := [place for place in places or [source] if place not in self.header]:
            raise BadOption(f"--map {name}={source}: the file has no column {_listed(strange)}.")
        used.update(places)
        columns = [self._column(place) for place in places]
        pattern = "".join(
            literal.replace("{", "{{").replace("}", "}}") + ("{}" if place is not None else "")
            for literal, place, _, _ in parts
        )

        def filled(table: list[Column]) -> Column:
            """Fill the template; where one of its cells is empty, so is the whole."""
            found = zip(*(column(table) for column in columns), strict=True)
            return [pattern.format(*row) if all(row) else "" for row in found]

        return filled

    def _column(self, name: str) -> Callable[[list[Column]], Column]:
        if self.header.count(name) > 1:
            raise BadOption(f"The column “{name}” stands in the header more than once.")
        index = self.header.index(name)
        return lambda table: table[index]


def _told(faults: list[tuple[str, Fault]]) -> str:
    return escaped(json.dumps([{"field": name, "code": fault.code, "detail": fault.detail} for name, fault in faults]))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
