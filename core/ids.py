"""Ids that name their kind: ``bill_`` and 22 base62 digits of a time-ordered UUID.

Python and the wire see the prefixed text; PostgreSQL sees the 16 bytes of a UUIDv7 (RFC 9562).
"""

import os
import threading
import time
import uuid
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Two digits at a time, and numbers of at most ten digits at a time, which Python divides fastest.
_PAIRS = [a + b for a in _DIGITS for b in _DIGITS]
_VALUES = {pair: value for value, pair in enumerate(_PAIRS)}
_TEN_DIGITS = 62**10
_WIDTH = 22
_TOO_LARGE = 1 << 128


_last_stamp = 0
_stamping = threading.Lock()


def uuid7() -> uuid.UUID:
    """Return a UUIDv7: 60 bits of time, in 4096ths of a millisecond, then 62 random bits.

    One process's ids rise, however fast they are made: what happened to a record keeps its order.
    """
    global _last_stamp  # noqa: PLW0603 the one place that remembers
    with _stamping:
        _last_stamp = stamp = max(time.time_ns() * 4096 // 1_000_000, _last_stamp + 1)
    noise = int.from_bytes(os.urandom(8), "big") >> 2
    return uuid.UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | noise)


def encode(prefix: str, value: uuid.UUID) -> str:
    """Return the wire form of a UUID, e.g. ``bill_`` and 22 digits."""
    return encode_number(prefix, value.int)


def encode_number(prefix: str, number: int) -> str:
    """Return the wire form of a UUID that is at hand as a number, which is quicker to come by."""
    rest, low = divmod(number, _TEN_DIGITS)
    first, high = divmod(rest, _TEN_DIGITS)
    return f"{prefix}_{_PAIRS[first]}{_ten_digits(high)}{_ten_digits(low)}"


def _ten_digits(number: int) -> str:
    number, e = divmod(number, 3844)
    number, d = divmod(number, 3844)
    number, c = divmod(number, 3844)
    a, b = divmod(number, 3844)
    return f"{_PAIRS[a]}{_PAIRS[b]}{_PAIRS[c]}{_PAIRS[d]}{_PAIRS[e]}"


def decode(prefix: str, text: object) -> uuid.UUID | None:
    """Return the UUID that ``text`` names, or None when it is not an id of this kind."""
    if not isinstance(text, str) or len(text) != len(prefix) + 1 + _WIDTH or not text.startswith(prefix + "_"):
        return None
    return _number(text[-_WIDTH:])


@lru_cache(maxsize=4096)  # one request names the same few ids many times over
def _number(digits: str) -> uuid.UUID | None:
    number = 0
    for place in range(0, _WIDTH, 2):
        value = _VALUES.get(digits[place : place + 2])
        if value is None:
            return None
        number = number * 3844 + value
    return uuid.UUID(int=number) if number < _TOO_LARGE else None


def as_uuid(text: str) -> uuid.UUID | None:
    """Return the UUID of an id of any kind."""
    return decode(text.partition("_")[0], text)


def uuid_of(text: str) -> uuid.UUID:
    """Return the UUID of an id of ours, whatever its kind.

    Raises:
        ValueError: the text is no id.
    """
    if (named := as_uuid(text)) is None:
        raise ValueError(f"“{text}” is no id.")
    return named


def new_id(prefix: str) -> str:
    """Return a fresh id of this kind."""
    return encode(prefix, uuid7())


if TYPE_CHECKING:
    _UUIDField = models.UUIDField[str | uuid.UUID, str]
else:
    _UUIDField = models.UUIDField


class PrefixedIdField(_UUIDField):
    """A UUID column that Python knows by its prefixed form; a primary key makes its own."""

    def __init__(self, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        if options.get("primary_key"):
            options.setdefault("default", partial(new_id, prefix))
            options.setdefault("editable", False)
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        if self.primary_key:
            options.pop("default", None)
            options.pop("editable", None)
        return name, path, [self.prefix, *args], options

    def reader(self, value: uuid.UUID | None) -> str | None:
        """Return the prefixed form of what the database holds."""
        return None if value is None else encode(self.prefix, value)

    def from_db_value(self, value: uuid.UUID | None, *_: object) -> str | None:
        return self.reader(value)

    def to_python(self, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, uuid.UUID):
            return encode(self.prefix, value)
        if decode(self.prefix, value) is None:
            raise ValidationError(
                "“%(value)s” is no %(prefix)s_ id.", code="invalid", params={"value": value, "prefix": self.prefix}
            )
        return value

    def get_prep_value(self, value: Any) -> Any:
        return models.Field.get_prep_value(self, value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None or isinstance(value, uuid.UUID) or hasattr(value, "as_sql"):
            return value
        named = decode(self.prefix, value)
        if named is None:
            return self.to_python(value)
        return named

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.value_from_object(obj))

    def formfield(self, **options: Any) -> Any:
        return models.Field.formfield(self, **options)
