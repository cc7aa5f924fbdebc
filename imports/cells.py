"""From the text of a cell to the text that COPY reads, or to the fault that is said about it."""

import json
import re
from collections.abc import Callable, Sized
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from core.money import MAX_AMOUNT, exponents, is_currency
from core.text import REFERENCE_LENGTH, is_payment_reference, is_reference, may_be_card

NULL = r"\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_MINOR = re.compile(r"-?[0-9]+\Z")
_MAJOR = re.compile(r"(-?[0-9]+)(?:\.([0-9]+))?\Z")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}\Z")
# What Django's validator takes, and takes thirty times as long to: most addresses of a file look like this.
_PLAIN_EMAIL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9]{1,63}\.)+[A-Za-z]{2,63}\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_EMAIL_LENGTH = 254
OLDEST_FIRST = "oldest_first"
_MOST_ALLOCATIONS = 100
# What a spreadsheet makes of a long number that it takes for one, of a formula that fails, of a day shown as a time.
_WHOLE = re.compile(r"(-?[0-9]+)\.0+\Z")
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?E\+[0-9]{2,3}\Z")
_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"})
_SUSPECT = frozenset("0123456789-#")
_TIME = re.compile(r"[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?(?: ?[AaPp][Mm])?\Z")
_SERIAL = re.compile(r"[0-9]{5}(?:\.[0-9]+)?\Z")
_SLASHED = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}\Z")
_MARK = re.compile("\0(date|time|boolean|error|digits|formula)\0")
_DIGITS = 30
_REMEMBERED = 20_000
_REMEMBERED_LENGTH = 1 << 21


@dataclass(frozen=True)
class Fault:
    """What is wrong with a cell or with a whole row: a public code and a sentence."""

    code: str
    detail: str


T = TypeVar("T", bound=Sized)
Reader = Callable[[T], "str | Fault"]

NO_ALLOCATIONS = Fault(
    "invalid_allocations",
    'Give oldest_first, or JSON such as [{"obligation": "bill_...", "amount": 500}], 100 at most.',
)
NO_CURRENCY = Fault("currency_needed", "Without a currency an amount in major units cannot be read.")
NO_MINOR = Fault("invalid_type", "Give a whole number of minor units: ZAR 20.00 is 2000.")
NO_MAJOR = Fault("invalid_type", "Give an amount such as 20 or 20.00.")
AS_TEXT = "Format the column as text and fill it in again."
_ERROR = Fault("spreadsheet_error", "The cell holds the error of a formula, no value.")
_MARKED = {
    "date": Fault(
        "spreadsheet_date", f"The workbook holds a date here, which it may have made of something else. {AS_TEXT}"
    ),
    "time": Fault("spreadsheet_date", "The workbook holds a time of day here, without its day."),
    "boolean": Fault("spreadsheet_boolean", f"The workbook holds TRUE or FALSE here, and no text. {AS_TEXT}"),
    "error": _ERROR,
    "digits": Fault(
        "spreadsheet_number", f"A spreadsheet keeps 15 digits of a number: those beyond are lost. {AS_TEXT}"
    ),
    "formula": Fault(
        "spreadsheet_formula",
        "The cell holds a formula without its result: save the workbook once with a spreadsheet.",
    ),
}
"""What is said of cells that a workbook holds as something other than text or a number that is all there."""


class Remembered(dict[T, "str | Fault"], Generic[T]):
    """What each distinct cell was read as: in a column, most cells have been seen before."""

    def __init__(self, read: Reader[T]) -> None:
        super().__init__()
        self.read = read
        self.faulty = False
        self.length = 0

    def __missing__(self, cell: T) -> "str | Fault":
        value = self[cell] = self.read(cell) if cell else NULL
        self.length += len(cell)
        self.faulty = self.faulty or value.__class__ is Fault
        return value

    def forget(self) -> None:
        """Start anew once there is much to remember."""
        if len(self) > _REMEMBERED or self.length > _REMEMBERED_LENGTH:
            self.clear()
            self.faulty = False
            self.length = 0


def escaped(text: str) -> str:
    """Return text as COPY reads it."""
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)


def marked(text: str, what: str) -> str:
    """Return the text of a workbook's cell with a mark of what it is there; no reader takes that for text."""
    return f"{text}\0{what}\0"


def plain(cell: str) -> str:
    """Return a cell as it is shown, without a mark."""
    return _MARK.sub("", cell) if "\0" in cell else cell


def _said(cell: str, usual: Fault) -> Fault:
    """Return what the mark of a cell says, or else what is usually said."""
    found = _MARK.search(cell)
    return _MARKED[found[1]] if found else usual


def whole(cell: str) -> str:
    """Return a whole number that a spreadsheet gave decimals without them."""
    found = _WHOLE.match(cell)
    return found[1] if found else cell


def padded(width: int) -> Callable[[str], str]:
    """Return what gives a number the zeros back that it had before it, up to a width."""
    return lambda cell: cell.zfill(width) if cell.isascii() and cell.isdigit() else cell


def undamaged(cell: str) -> str:
    """Return a part of a reference, marked where a spreadsheet has rewritten it."""
    return marked(cell, "digits") if _WHOLE.match(cell) or _SCIENTIFIC.match(cell) else cell


def unspoilt(read: Reader[str]) -> Reader[str]:
    """Return the reader of a reference that refuses what a spreadsheet has rewritten."""

    def refusing(cell: str) -> str | Fault:
        # Any other beginning tells at once that it is none.
        if cell[:1] in _SUSPECT and (".0" in cell or "E+" in cell or cell in _ERRORS) and (fault := _damage(cell)):
            return fault
        return read(cell)

    return refusing


def any_reference(cell: str) -> str | Fault:
    """Read an external reference, whatever it looks like."""
    if cell.isascii() and cell.isprintable() and len(cell) <= REFERENCE_LENGTH and cell.strip(" ") == cell:
        return cell if "\\" not in cell else escaped(cell)
    if is_reference(cell):
        return escaped(cell)
    usual = Fault("invalid_reference", "Give 1 to 255 printable characters, without a blank at either end.")
    return _said(cell, usual)


def _damage(cell: str) -> Fault | None:
    if found := _WHOLE.match(cell):
        return Fault(
            "spreadsheet_number",
            f"A spreadsheet has made a number of this. If it was {found[1]}, say --excel-numbers whole; if it is meant,"
            " --excel-numbers text.",
        )
    if _SCIENTIFIC.match(cell):
        return Fault(
            "spreadsheet_number",
            f"A spreadsheet has shortened a long number to this, and its digits are lost. {AS_TEXT} If it is meant,"
            " say --excel-numbers text.",
        )
    return _ERROR if cell in _ERRORS else None


def any_payment_reference(cell: str) -> str | Fault:
    """Read the reference of a payment."""
    if is_payment_reference(cell):
        return cell
    return _said(cell, Fault("invalid_reference", "Give 1 to 64 of A-Z a-z 0-9 . _ -."))


reference, payment_reference = unspoilt(any_reference), unspoilt(any_payment_reference)


def allocations(cell: str) -> str | Fault:
    """Read how a payment is shared out: in a word, or as the JSON that the API takes and exports tell."""
    if cell == OLDEST_FIRST:
        return cell
    try:
        listed = [(one["obligation"], one["amount"]) for one in json.loads(cell)]
    except (ValueError, TypeError, LookupError, RecursionError):
        listed = []
    sound = all(type(key) is str and type(amount) is int and 1 <= amount <= MAX_AMOUNT for key, amount in listed)
    if not sound or not 1 <= len(listed) <= _MOST_ALLOCATIONS:
        return NO_ALLOCATIONS
    told = json.dumps([{"obligation": key, "amount": amount} for key, amount in listed])
    return NO_ALLOCATIONS if r"\u0000" in told or r"\ud" in told else escaped(told)


def choice(*words: str) -> Reader[str]:
    """Return the reader of one of these words."""

    def read(cell: str) -> str | Fault:
        return cell if cell in words else Fault("invalid_choice", f"Give one of {', '.join(words)}.")

    return read


def moment(cell: str) -> str | Fault:
    """Read a moment: ISO 8601 with its offset."""
    try:
        if _MOMENT.match(cell):
            return datetime.fromisoformat(cell).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        pass
    return Fault("invalid_time", "Give a time with its offset, such as 2026-11-24T10:00:00Z.")


def text(length: int, code: str = "too_long") -> Reader[str]:
    """Return the reader of text of at most so many characters."""

    def read(cell: str) -> str | Fault:
        if len(cell) > length:
            return Fault(code, f"Give at most {length} characters.")
        if "\0" in cell:
            said = _said(cell, Fault("unprintable", "The text holds a NUL character."))
            return read(plain(cell)) if said is _MARKED["date"] else said
        if not cell.isascii() and any("\ud800" <= character <= "\udfff" for character in cell):
            return Fault("undecodable", "The text is not in the file's encoding: name that with --encoding.")
        return escaped(cell)

    return read


def without_card(read: Reader[str]) -> Reader[str]:
    """Return the reader that refuses what may be the number of a card."""

    def refusing(cell: str) -> str | Fault:
        if may_be_card(cell):
            return Fault("card_number", "This looks like the number of a card, which is nothing to keep.")
        return read(cell)

    return refusing


METADATA_VALUE = text(500, "invalid_metadata_value")


def email(cell: str) -> str | Fault:
    """Read an e-mail address."""
    if _PLAIN_EMAIL.match(cell) and len(cell) <= _EMAIL_LENGTH:
        return cell
    try:
        validate_email(cell)
    except ValidationError:
        return _said(cell, Fault("invalid_email", "Give an e-mail address, such as jo@example.com."))
    return text(_EMAIL_LENGTH)(cell)


def phone(cell: str) -> str | Fault:
    """Read a telephone number."""
    if _E164.match(cell):
        return cell
    return _said(cell, Fault("invalid_phone", "Give E.164: + and 2 to 15 digits, such as +27821234567."))


def currency(cell: str) -> str | Fault:
    """Read a currency."""
    if is_currency(cell):
        return cell
    return _said(cell, Fault("invalid_currency", "Give an ISO 4217 code in upper case, such as ZAR."))


def _within(amount: int, least: int) -> str | Fault:
    if least <= amount <= MAX_AMOUNT:
        return str(amount)
    return Fault("out_of_range", f"Give {least:,} to {MAX_AMOUNT:,} minor units.")


def minor(least: int) -> Reader[str]:
    """Return the reader of whole minor units, from `least` up."""

    def read(cell: str) -> str | Fault:
        return _within(int(cell[:_DIGITS]), least) if _MINOR.match(cell) else _said(cell, NO_MINOR)

    return read


def major(least: int) -> Reader[tuple[str, str]]:
    """Return the reader of an amount in major units beside its currency; decimals the currency lacks are a fault."""

    def read(cell: tuple[str, str]) -> str | Fault:
        amount, code = cell
        if not amount:
            return NULL
        number, digits = _MAJOR.match(amount), exponents().get(code)
        if number is None:
            return _said(amount, NO_MAJOR)
        if digits is None:
            return NO_CURRENCY
        fraction = number[2] or ""
        if len(fraction) > digits:
            return Fault("too_many_decimals", f"{code} has {digits or 'no'} decimals.")
        return _within(int(number[1][:_DIGITS] + fraction.ljust(digits, "0")), least)

    return read


def day(pattern: str) -> Reader[str]:
    """Return the reader of dates in a strptime format; a time part is dropped."""

    def read(cell: str) -> str | Fault:
        try:
            return datetime.strptime(cell, pattern).date().isoformat()  # noqa: DTZ007 a date, not a moment
        except ValueError:
            said = _said(cell, Fault("invalid_date", f"Give a real date in the format {pattern}.{_hint(cell)}"))
            return read(plain(cell)) if said is _MARKED["date"] else said

    return read


def _hint(cell: str) -> str:
    """Return what may have become of a date; nothing is made of it, for it could be wrong."""
    if _TIME.match(cell):
        return " A spreadsheet showed only the time of this one and left its day out: export the column as dates."
    if _SERIAL.match(cell):
        return " This may be a spreadsheet's own count of days: export the column as dates."
    if _SLASHED.match(cell):
        return " If the file writes dates so, name its order: --date-format %d/%m/%Y has the day first."
    return ""
