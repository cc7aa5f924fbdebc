"""The kinds of value a request body may hold, each refusing what it would otherwise have to guess."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from core.money import MAX_AMOUNT, is_currency
from core.text import PAYMENT_REFERENCE, REFERENCE_LENGTH, is_payment_reference, is_reference, may_be_card

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_E164 = re.compile(r"\+[1-9]\d{1,14}\Z", re.ASCII)
_METADATA_KEYS = 10
_METADATA_KEY_LENGTH = 40
_METADATA_VALUE_LENGTH = 500


class Field(serializers.Field):
    """A value that is answered as it is kept."""

    @property
    def schema(self) -> dict[str, Any]:
        """What the OpenAPI document says of it."""
        raise NotImplementedError

    def to_representation(self, value: Any) -> Any:
        return value


class Text(Field):
    """Text, kept as it was sent."""

    default_error_messages = {
        "invalid_type": "Send text.",
        "blank": "Send some text.",
        "too_long": "At most {max_length} characters.",
    }

    def __init__(self, max_length: int, *, blank: bool = True, **options: Any) -> None:
        self.max_length = max_length
        self.blank = blank
        super().__init__(**options)

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", **({} if self.blank else {"minLength": 1}), "maxLength": self.max_length}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_type")
        if not (self.blank or data.strip()):
            self.fail("blank")
        if len(data) > self.max_length:
            self.fail("too_long", max_length=self.max_length)
        return data


class PaymentReference(Text):
    """The name of a payment by who took it, made of characters that every channel can carry."""

    default_error_messages = {"invalid_reference": "1 to 64 of A-Z a-z 0-9 . _ -"}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=64, **options)

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{PAYMENT_REFERENCE}$"}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not is_payment_reference(text):
            self.fail("invalid_reference")
        return text


class Choice(Field):
    """One of a few words."""

    default_error_messages = {"invalid_choice": "Send one of {words}."}

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        self.words = tuple(words)
        super().__init__(**options)

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.words:
            self.fail("invalid_choice", words=", ".join(self.words))
        return data


class Moment(Field):
    """A time, ISO 8601 with its offset."""

    default_error_messages = {"invalid_time": "Send a time with its offset, such as 2026-11-24T10:00:00Z."}

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or not _MOMENT.match(data):
            self.fail("invalid_time")
        try:
            return datetime.fromisoformat(data).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid_time")


class Reference(Text):
    """An external reference: the biller's own name for a record."""

    default_error_messages = {
        "invalid_reference": "1 to 255 printable characters, without a blank at either end.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=REFERENCE_LENGTH, **options)

    @property
    def schema(self) -> dict[str, Any]:
        return {**super().schema, "minLength": 1}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not is_reference(text):
            self.fail("invalid_reference")
        return text


class Email(Text):
    """An e-mail address."""

    default_error_messages = {"invalid_email": "Send an e-mail address, such as jo@example.com."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)
        self._check = serializers.EmailField().run_validators

    @property
    def schema(self) -> dict[str, Any]:
        return {**super().schema, "format": "email"}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            self._check(text)
        except ValidationError:
            self.fail("invalid_email")
        return text


class Phone(Text):
    """A telephone number in E.164."""

    default_error_messages = {"invalid_phone": "Send E.164: + and 2 to 15 digits, such as +27821234567."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=16, **options)

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\+[1-9][0-9]{1,14}$", "description": "E.164"}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not _E164.match(text):
            self.fail("invalid_phone")
        return text


class Currency(Field):
    """An ISO 4217 code in upper case, of a currency with a minor unit."""

    default_error_messages = {"invalid_currency": "Send an ISO 4217 code in upper case, such as ZAR."}

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217"}

    def to_internal_value(self, data: Any) -> str:
        if not is_currency(data):
            self.fail("invalid_currency")
        return str(data)


class Amount(Field):
    """An amount in minor units: a JSON integer, so 20.0, "2000", true and 1e3 are errors."""

    default_error_messages = {
        "invalid_type": "Send a whole number of minor units: ZAR 20.00 is 2000.",
        "out_of_range": "Send {least:,} to {most:,} minor units.",
    }

    def __init__(self, least: int, most: int = MAX_AMOUNT, **options: Any) -> None:
        self.least, self.most = least, most
        super().__init__(**options)

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "format": "int64", "minimum": self.least, "maximum": self.most}

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid_type")
        if not self.least <= data <= self.most:
            self.fail("out_of_range", least=self.least, most=self.most)
        return int(data)


class Day(Field):
    """A calendar date, YYYY-MM-DD."""

    default_error_messages = {"invalid_date": "Send a date as YYYY-MM-DD."}

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date"}

    def to_internal_value(self, data: Any) -> date:
        if not isinstance(data, str) or not _DATE.match(data):
            self.fail("invalid_date")
        try:
            return date.fromisoformat(data)
        except ValueError:
            self.fail("invalid_date")


class Flag(Field):
    """true or false."""

    default_error_messages = {"invalid_type": "Send true or false."}

    @property
    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid_type")
        return data


class Metadata(Field):
    """Text by text, at most 10 keys; in a PATCH or PUT a key set to null goes."""

    default_error_messages = {
        "invalid_type": "Send an object.",
        "too_many_keys": "At most 10 keys.",
        "invalid_metadata_key": "A key is 1 to 40 characters.",
        "invalid_metadata_value": "A value is text of at most 500 characters.",
        "card_number": "This looks like the number of a card, which is nothing to keep.",
    }

    def __init__(self, *, merges: bool = False, cards: bool = True, **options: Any) -> None:
        self.merges = merges
        self.cards = cards
        super().__init__(**options)

    @property
    def schema(self) -> dict[str, Any]:
        kept = {"type": ["string", "null"] if self.merges else "string", "maxLength": _METADATA_VALUE_LENGTH}
        return {
            "type": "object",
            **({} if self.merges else {"maxProperties": _METADATA_KEYS}),
            "propertyNames": {"minLength": 1, "maxLength": _METADATA_KEY_LENGTH},
            "additionalProperties": kept,
        }

    def to_internal_value(self, data: Any) -> dict[str, str | None]:
        if not isinstance(data, dict):
            self.fail("invalid_type")
        if sum(value is not None for value in data.values()) > _METADATA_KEYS:
            self.fail("too_many_keys")
        errors = {key: [problem] for key, value in data.items() if (problem := self._problem(key, value))}
        if errors:
            raise ValidationError(errors)
        return data

    def _problem(self, key: str, value: Any) -> ErrorDetail | None:
        if not 1 <= len(key) <= _METADATA_KEY_LENGTH:
            code = "invalid_metadata_key"
        elif not self.cards and (may_be_card(key) or may_be_card(str(value))):
            code = "card_number"
        elif (value is None and self.merges) or (isinstance(value, str) and len(value) <= _METADATA_VALUE_LENGTH):
            return None
        else:
            code = "invalid_metadata_value"
        return ErrorDetail(str(self.error_messages[code]), code)


class Several(Field):
    """A list of 1 to `most` objects of one shape, or a word that stands for one."""

    default_error_messages = {
        "invalid_type": "Send a list, or “{word}”.",
        "empty": "Send at least one.",
        "too_many": "At most {most}.",
    }

    def __init__(self, shape: serializers.Serializer, most: int, *, word: str, **options: Any) -> None:
        self.shape, self.most, self.word = shape, most, word
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str | list[dict[str, Any]]:
        if data == self.word:
            return self.word
        if not isinstance(data, list):
            self.fail("invalid_type", word=self.word)
        if not data:
            self.fail("empty")
        if len(data) > self.most:
            self.fail("too_many", most=self.most)
        values, errors = [], {}
        for place, one in enumerate(data):
            try:
                values.append(self.shape.run_validation(one))
            except ValidationError as error:
                errors[str(place)] = error.detail
        if errors:
            raise ValidationError(errors)
        return values


class Parent(Field):
    """A parent: the id or external reference of an existing one, or an object that describes one."""

    default_error_messages = {
        "invalid_type": "Send an id, an external reference or an object.",
        "invalid_reference": "This is neither an id nor an external reference.",
    }

    def __init__(self, shape: serializers.Serializer, **options: Any) -> None:
        self.shape = shape
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str | dict[str, Any]:
        if isinstance(data, Mapping):
            fields: dict[str, Any] = self.shape.run_validation(data)
            return fields
        if not isinstance(data, str):
            self.fail("invalid_type")
        if not is_reference(data):
            self.fail("invalid_reference")
        return data
