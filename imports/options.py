"""The options of an import, once: what the command, the API and the console take, and what each of them means.

A sentence about an option calls it as the command does, `--due-days`; `as_field` says it in the words of the others.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.money import is_currency
from imports.amounts import MARKS, Amounts
from imports.cells import day
from imports.columns import AS_NUMBERS, BadOption, Options
from imports.kinds import BILLS, KINDS, Kind
from imports.workbooks import Spelling

_MOST_DUE_DAYS = 36_500
_WIDEST_PAD = 255
_DELIMITERS = {"tab": "\t", "\\t": "\t"}
_LONGEST = 500
_SOME_DAY = datetime(2004, 2, 29, tzinfo=UTC)
_NUMBER = re.compile(r"-?[0-9]{1,9}\Z")
_SPELT = re.compile(r"--([a-z][a-z-]*)")


@dataclass(frozen=True)
class Option:
    """One option: how it is written, and what it is when nobody says."""

    name: str
    help: str
    default: Any = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    repeats: bool = False
    kinds: tuple[Kind, ...] = tuple(KINDS.values())
    """The kinds of file that it is for."""

    of_file: bool = True
    """Whether it says how a file is to be understood, and not what a run does; a profile remembers it."""

    @property
    def spelt(self) -> str:
        """How the command calls it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_flag(self) -> bool:
        """Whether it is there or not, and says no more."""
        return self.default is False

    @property
    def is_number(self) -> bool:
        """Whether it is a whole number."""
        return self.metavar == "N"

    def read(self, texts: list[str]) -> Any:
        """Return what the texts of a form or a query mean.

        Raises:
            BadOption: they mean nothing.
        """
        if self.repeats:
            return texts
        if len(texts) > 1:
            raise BadOption(f"{self.spelt} stands twice.")
        [text] = texts
        if self.is_flag:
            if text not in {"true", "false"}:
                raise BadOption(f"{self.spelt} {text}: give true or false.")
            return text == "true"
        if self.choices and text not in self.choices:
            raise BadOption(f"{self.spelt} {text}: give one of {', '.join(self.choices)}.")
        if self.is_number:
            if not _NUMBER.match(text):
                raise BadOption(f"{self.spelt} {text}: give a whole number.")
            return int(text)
        return text


OPTIONS: tuple[Option, ...] = (
    Option("map", "SOURCE is a column, or a template such as {CustomerID}-{Country}; may be repeated",
        default=(), metavar="FIELD=SOURCE", repeats=True),
    Option("ignore_unknown", "ignore every column that is no field (else an error)", default=False),
    Option("amounts", "minor (default): 24000; major: 240.00, with no more decimals than the currency has",
        default="minor", choices=("minor", "major")),
    Option("decimal", "the decimal mark of major units, . (default) or ,", default=".", choices=(".", ",")),
    Option("thousands", "what divides their thousands: , or . or ' or the word blank (default: nothing)",
        choices=tuple(MARKS)),
    Option("currency_signs", "take a sign or code beside them, if it is that of their currency", default=False),
    Option("currency", "the currency of all {kind}, for a file without that column", metavar="C"),
    Option("due_days", "due so many days after bill_date, for a file without due_date", metavar="N", kinds=(BILLS,)),
    Option("date_format", "strptime (default %Y-%m-%d); a time part is dropped, not converted",
        default="%Y-%m-%d", metavar="F"),
    Option("excel_numbers", "references that a spreadsheet rewrote (1930571429.0): refuse (default), whole, text",
        default=AS_NUMBERS[0], choices=AS_NUMBERS),
    Option("pad", "give a reference of digits its lost zeros back, up to a width; may be repeated",
        default=(), metavar="FIELD=WIDTH", repeats=True),
    Option("encoding", "the file's encoding, unless UTF-8 or, with its mark, UTF-16", metavar="E"),
    Option("delimiter", "what divides the columns, or tab; for a header that two would divide", metavar="D"),
    Option("sheet", "the sheet of a workbook to read, where several have data", metavar="NAME"),
    Option("dry_run", "everything but the writing", default=False, of_file=False),
    Option("on_error", "skip (default) writes the good rows; abort writes nothing if any row is bad",
        default="skip", choices=("skip", "abort"), of_file=False),
    Option("max_errors", "write nothing once more than N rows are refused, and read no further", metavar="N",
        of_file=False),
    Option("events", "emit an event per row too, not import.completed alone", default=False, of_file=False),
)  # fmt: skip
"""All that every door takes; what only one of them knows, such as a path, is its own."""

BY_NAME = {option.name: option for option in OPTIONS}


def options_of(kind: Kind) -> list[Option]:
    """Return the options that a kind of file has."""
    return [option for option in OPTIONS if kind in option.kinds]


def read(kind: Kind, texts: Mapping[str, list[str]], *, usual: bool = False) -> dict[str, Any]:
    """Return what was asked for in a form or a query, by name; what is usual anyway, only where that is wanted.

    Raises:
        BadOption: an option is none, or makes no sense.
    """
    asked = {}
    for name, said in texts.items():
        option = BY_NAME.get(name)
        if option is None or kind not in option.kinds:
            known = ", ".join(option.spelt for option in options_of(kind))
            raise BadOption(f"--{name.replace('_', '-')} is no option of a file of {kind}. Known: {known}.")
        for text in said:
            if len(text) > _LONGEST or not text.isprintable():
                raise BadOption(f"{option.spelt}: give at most {_LONGEST} printable characters.")
        value = option.read(said)
        if usual or value != option.default:
            asked[name] = value
    understood(kind, asked)
    return asked


def combined(remembered: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said now over what a profile remembers: fields that are mapped or padded each for itself."""
    both = {**remembered, **said}
    for option in OPTIONS:
        name = option.name
        if option.repeats and name in remembered and name in said:
            # What is wrong with what is said, such as a field that is named twice, stays to be told.
            new = {entry.partition("=")[0] for entry in said[name]}
            both[name] = [one for one in remembered[name] if one.partition("=")[0] not in new] + [*said[name]]
    return both


def of_file(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that say how a file is to be understood, other than as is usual: what a profile remembers."""
    return {name: value for name, value in asked.items() if BY_NAME[name].of_file and value != BY_NAME[name].default}


def understood(kind: Kind, asked: Mapping[str, Any]) -> Options:
    """Return how a file is to be understood; what is not asked for is as usual.

    Raises:
        BadOption: an option makes no sense.
    """
    told = {option.name: asked.get(option.name, option.default) for option in OPTIONS}
    mapping, pad = _pairs("map", told["map"], "SOURCE"), _pairs("pad", told["pad"], "WIDTH")
    if wrong := [f"{name}={width}" for name, width in pad if not _is_width(width)]:
        raise BadOption(f"--pad {wrong[0]}: give a width of 1 to {_WIDEST_PAD}.")
    if len(dict(pad)) < len(pad):
        raise BadOption("--pad names a field twice.")
    _judge(told)
    return Options(
        mapping=mapping,
        ignore_unknown=told["ignore_unknown"],
        in_major=told["amounts"] == "major",
        currency=told["currency"],
        due_days=told["due_days"] if kind is BILLS else None,
        date_format=told["date_format"],
        abort=told["on_error"] == "abort",
        max_errors=told["max_errors"],
        events=told["events"],
        amounts=_amounts(told),
        excel_numbers=told["excel_numbers"],
        pad=tuple((name, int(width)) for name, width in pad),
        asked={name: value for name, value in asked.items() if value != BY_NAME[name].default},
    )


def opening(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a file is to be opened, for `Sheet.opened`.

    Raises:
        BadOption: the delimiter can be none.
    """
    told = {name: asked.get(name, BY_NAME[name].default) for name in ("encoding", "sheet", "date_format", "decimal")}
    return {
        "encoding": told["encoding"],
        "delimiter": delimiter_of(asked.get("delimiter")),
        "sheet": told["sheet"],
        "spelling": Spelling(told["date_format"], told["decimal"]),
    }


def delimiter_of(named: str | None) -> str | None:
    """Return the delimiter that is asked for.

    Raises:
        BadOption: it can be none.
    """
    found = named and _DELIMITERS.get(named, named)
    if found is not None and (len(found) != 1 or found.isalnum() or found in '"\r\n\0\ufeff'):
        raise BadOption(f"--delimiter {named}: give one character that is no letter, digit or quote; or tab.")
    return found


def _judge(told: Mapping[str, Any]) -> None:
    currency, due_days, most, pattern = (told[n] for n in ("currency", "due_days", "max_errors", "date_format"))
    if currency is not None and not is_currency(currency):
        raise BadOption(f"--currency {currency}: give an ISO 4217 code in upper case, such as ZAR.")
    if due_days is not None and not 0 <= due_days <= _MOST_DUE_DAYS:
        raise BadOption(f"--due-days {due_days}: give 0 to {_MOST_DUE_DAYS:,} days.")
    if most is not None and most < 0:
        raise BadOption(f"--max-errors {most}: give 0 or more.")
    if not _tells_a_day(pattern):
        raise BadOption(f"--date-format {pattern}: that tells no day; %Y-%m-%d does, for one.")
    delimiter_of(told["delimiter"])


def _amounts(told: Mapping[str, Any]) -> Amounts:
    amounts = Amounts(told["decimal"], told["thousands"], told["currency_signs"])
    for name in ("decimal", "thousands", "currency_signs"):
        if told[name] != BY_NAME[name].default and told["amounts"] != "major":
            raise BadOption(f"{BY_NAME[name].spelt} is for --amounts major.")
    if amounts.thousands and amounts.decimal in MARKS[amounts.thousands]:
        raise BadOption(f"--decimal and --thousands cannot both be {amounts.decimal}: name the other one too.")
    return amounts


def _pairs(option: str, entries: Iterable[str], what: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name, value) for name, _, value in (entry.partition("=") for entry in entries)]
    if strange := [name for name, value in pairs if not value]:
        raise BadOption(f"--{option} {strange[0]}: give FIELD={what}.")
    return tuple(pairs)


def _is_width(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= _WIDEST_PAD


def _tells_a_day(pattern: str) -> bool:
    try:
        return day(pattern)(_SOME_DAY.strftime(pattern)) == _SOME_DAY.date().isoformat()
    except (ValueError, UnicodeError, re.error, IndexError):
        return False


def named_in(sentence: str) -> str | None:
    """Return which option a sentence begins with, as a form or a query calls it."""
    found = _SPELT.match(sentence)
    return found[1].replace("-", "_") if found else None


def as_field(sentence: str) -> str:
    """Return a sentence in which options are called as a form or a query calls them."""
    return _SPELT.sub(lambda found: found[1].replace("-", "_"), sentence)
