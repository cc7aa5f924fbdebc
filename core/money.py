"""Amounts are integers in the currency's minor unit; how many digits that unit has comes from ISO 4217."""

from functools import cache
from typing import Any

from django.db import models
from iso4217 import Currency

MAX_AMOUNT = 999_999_999_999
"""The largest amount of one record, in minor units; a credit may be as large."""


@cache
def exponents() -> dict[str, int]:
    """Return the decimals of each ISO 4217 currency that has a minor unit defined (JPY 0, ZAR 2, KWD 3)."""
    return {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}


def is_currency(code: object) -> bool:
    """Tell whether ``code`` is an upper-case ISO 4217 code whose minor unit is defined (so not XXX, not XAU)."""
    return isinstance(code, str) and code in exponents()


def display(amount: int, currency: str) -> str:
    """Return an amount of minor units for people: ``display(2000, "ZAR")`` is ``ZAR 20.00``."""
    digits = exponents()[currency]
    sign = "-" if amount < 0 else ""
    whole, fraction = divmod(abs(amount), 10**digits)
    return f"{currency} {sign}{whole:,}" + (f".{fraction:0{digits}d}" if digits else "")


class AmountField(models.BigIntegerField):
    """An amount in minor units: a 64-bit integer, never a float."""


class CurrencyField(models.CharField):
    """An ISO 4217 code."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("max_length", 3)
        super().__init__(**options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        if options.get("max_length") == 3:  # noqa: PLR2004 the length of an ISO code
            del options["max_length"]
        return name, path, args, options
