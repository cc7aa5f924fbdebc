"""The options of an import, once: what the command, the API and the console take, and what each of them means.

A sentence about an option calls it as the command does, `--due-days`; `as_field` says it in the words of the others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.money import is_currency
from imports.cells import day
from imports.columns import BadOption, Options
from imports.kinds import BILLS, KINDS, Kind

_MOST_DUE_DAYS = 36_500
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
    Option("currency", "the currency of all {kind}, for a file without that column", metavar="C"),
    Option("due_days", "due so many days after bill_date, for a file without due_date", metavar="N", kinds=(BILLS,)),
    Option("date_format", "strptime (default %Y-%m-%d); a time part is dropped, not converted",
        default="%Y-%m-%d", metavar="F"),
    Option("encoding", "the file's encoding, unless UTF-8 or, with its mark, UTF-16", metavar="E"),
    Option("dry_run", "everything but the writing", default=False),
    Option("on_error", "skip (default) writes the good rows; abort writes nothing if any row is bad",
        default="skip", choices=("skip", "abort")),
    Option("max_errors", "write nothing once more than N rows are refused, and read no further", metavar="N"),
    Option("events", "emit an event per row too, not import.completed alone", default=False),
)  # fmt: skip
"""All that every door takes; what only one of them knows, such as a path, is its own."""

BY_NAME = {option.name: option for option in OPTIONS}


def options_of(kind: Kind) -> list[Option]:
    """Return the options that a kind of file has."""
    return [option for option in OPTIONS if kind in option.kinds]


def read(kind: Kind, texts: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return what was asked for in a form or a query: the options that differ from what is usual, by name.

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
        if value != option.default:
            asked[name] = value
    understood(kind, asked)
    return asked


def understood(kind: Kind, asked: Mapping[str, Any]) -> Options:
    """Return how a file is to be understood; what is not asked for is as usual.

    Raises:
        BadOption: an option makes no sense.
    """
    told = {option.name: asked.get(option.name, option.default) for option in options_of(kind)}
    mapping = [tuple(entry.partition("=")[::2]) for entry in told["map"]]
    if strange := [name for name, source in mapping if not source]:
        raise BadOption(f"--map {strange[0]}: give FIELD=SOURCE.")
    if told["currency"] is not None and not is_currency(told["currency"]):
        raise BadOption(f"--currency {told['currency']}: give an ISO 4217 code in upper case, such as ZAR.")
    if told["max_errors"] is not None and told["max_errors"] < 0:
        raise BadOption(f"--max-errors {told['max_errors']}: give 0 or more.")
    due_days = told.get("due_days")
    if due_days is not None and not 0 <= due_days <= _MOST_DUE_DAYS:
        raise BadOption(f"--due-days {due_days}: give 0 to {_MOST_DUE_DAYS:,} days.")
    if not _tells_a_day(told["date_format"]):
        raise BadOption(f"--date-format {told['date_format']}: that tells no day; %Y-%m-%d does, for one.")
    return Options(
        mapping=tuple(mapping),
        ignore_unknown=told["ignore_unknown"],
        in_major=told["amounts"] == "major",
        currency=told["currency"],
        due_days=due_days,
        date_format=told["date_format"],
        abort=told["on_error"] == "abort",
        max_errors=told["max_errors"],
        events=told["events"],
    )


def _tells_a_day(pattern: str) -> bool:
    try:
        return day(pattern)(_SOME_DAY.strftime(pattern)) == _SOME_DAY.date().isoformat()
    except (ValueError, UnicodeError, re.error, IndexError):
        return False


def as_told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that an import keeps, by the names that every door knows."""
    told = dict(facts)
    if mapping := told.pop("mapping", None):
        told["map"] = [f"{field}={source}" for field, source in mapping]
    if told.pop("in_major", False):
        told["amounts"] = "major"
    if told.pop("abort", False):
        told["on_error"] = "abort"
    return told


def named_in(sentence: str) -> str | None:
    """Return which option a sentence begins with, as a form or a query calls it."""
    found = _SPELT.match(sentence)
    return found[1].replace("-", "_") if found else None


def as_field(sentence: str) -> str:
    """Return a sentence in which options are called as a form or a query calls them."""
    return _SPELT.sub(lambda found: found[1].replace("-", "_"), sentence)
