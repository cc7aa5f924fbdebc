"""What the options of a command say of a file, and how a biller's profile remembers it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.money import is_currency
from imports.amounts import MARKS, Amounts
from imports.cells import day
from imports.columns import AS_NUMBERS, BadOption, Options
from imports.workbooks import Spelling

USUAL: dict[str, Any] = {
    "mapping": [],
    "ignore_unknown": False,
    "amounts": "minor",
    "decimal": ".",
    "thousands": None,
    "currency_signs": False,
    "currency": None,
    "due_days": None,
    "date_format": "%Y-%m-%d",
    "excel_numbers": AS_NUMBERS[0],
    "pad": [],
    "encoding": None,
    "delimiter": None,
    "sheet": None,
}
"""The options that say how a file is to be understood, which a profile may hold, and what they are unless given."""

_LISTS = ("mapping", "pad")
_DELIMITERS = {"tab": "\t", "\\t": "\t"}
_MOST_DUE_DAYS = 36_500
_WIDEST_PAD = 255
_SOME_DAY = datetime(2004, 2, 29, tzinfo=UTC)


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's options that say how a file is to be understood, and were given."""
    return {name: options[name] for name in USUAL if options.get(name) not in (None, [])}


def unusual(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs from what is usual, which is all that a profile need remember."""
    return {name: value for name, value in told.items() if value != USUAL[name]}


def combined(remembered: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said now over what is remembered: fields that are mapped or padded each for itself."""
    both = {**remembered, **said}
    for name in _LISTS:
        if name in remembered and name in said:
            fields = {entry.partition("=")[0]: entry for entry in (*remembered[name], *said[name])}
            # What is wrong with it, such as a field that is named twice, stays to be said.
            new = {entry.partition("=")[0] for entry in said[name]}
            both[name] = [entry for field, entry in fields.items() if field not in new] + [*said[name]]
    return both


def delimiter_of(named: str | None) -> str | None:
    """Return the delimiter that is asked for.

    Raises:
        BadOption: it can be none.
    """
    found = named and _DELIMITERS.get(named, named)
    if found is not None and (len(found) != 1 or found.isalnum() or found in '"\r\n\0\ufeff'):
        raise BadOption(f"--delimiter {named}: give one character that is no letter, digit or quote; or tab.")
    return found


def spelling_of(told: Mapping[str, Any]) -> Spelling:
    """Return how dates and decimals are spelt."""
    return Spelling(told["date_format"], told["decimal"])


def understood(told: Mapping[str, Any], *, max_errors: int | None = None, **run: Any) -> Options:
    """Return the options of a run that are told so.

    Raises:
        BadOption: one of them makes no sense.
    """
    mapping, pad = _pairs("map", told["mapping"], "SOURCE"), _pairs("pad", told["pad"], "WIDTH")
    if wrong := [f"{name}={width}" for name, width in pad if not _is_width(width)]:
        raise BadOption(f"--pad {wrong[0]}: give a width of 1 to {_WIDEST_PAD}.")
    if len(dict(pad)) < len(pad):
        raise BadOption("--pad names a field twice.")
    _judge(told)
    if max_errors is not None and max_errors < 0:
        raise BadOption(f"--max-errors {max_errors}: give 0 or more.")
    return Options(
        mapping=mapping,
        ignore_unknown=told["ignore_unknown"],
        in_major=told["amounts"] == "major",
        currency=told["currency"],
        due_days=told["due_days"],
        date_format=told["date_format"],
        amounts=_amounts(told),
        excel_numbers=told["excel_numbers"],
        pad=tuple((name, int(width)) for name, width in pad),
        delimiter=delimiter_of(told["delimiter"]),
        sheet=told["sheet"],
        max_errors=max_errors,
        **run,
    )


def _judge(told: Mapping[str, Any]) -> None:
    currency, due_days, pattern = told["currency"], told["due_days"], told["date_format"]
    if currency is not None and not is_currency(currency):
        raise BadOption(f"--currency {currency}: give an ISO 4217 code in upper case, such as ZAR.")
    if due_days is not None and not 0 <= due_days <= _MOST_DUE_DAYS:
        raise BadOption(f"--due-days {due_days}: give 0 to {_MOST_DUE_DAYS:,} days.")
    if day(pattern)(_SOME_DAY.strftime(pattern)) != _SOME_DAY.date().isoformat():
        raise BadOption(f"--date-format {pattern}: that tells no day; %Y-%m-%d does, for one.")


def _amounts(told: Mapping[str, Any]) -> Amounts:
    amounts = Amounts(told["decimal"], told["thousands"], told["currency_signs"])
    for option, name in (("decimal", "decimal"), ("thousands", "thousands"), ("currency-signs", "currency_signs")):
        if told[name] != USUAL[name] and told["amounts"] != "major":
            raise BadOption(f"--{option} is for --amounts major.")
    if amounts.thousands and amounts.decimal in MARKS[amounts.thousands]:
        raise BadOption(f"--decimal and --thousands cannot both be {amounts.decimal}: name the other one too.")
    return amounts


def _pairs(option: str, entries: list[str], what: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name, value) for name, _, value in (entry.partition("=") for entry in entries)]
    if strange := [name for name, value in pairs if not value]:
        raise BadOption(f"--{option} {strange[0]}: give FIELD={what}.")
    return tuple(pairs)


def _is_width(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= _WIDEST_PAD
