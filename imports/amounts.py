"""How people write amounts: with signs, thousands and a decimal comma, read as the options say and never guessed."""

import re
from dataclasses import dataclass

from imports.cells import NULL, Fault, Reader, plain

MARKS = {",": ",", ".": ".", "'": "'\u2019", "blank": " \u00a0\u202f"}
"""What may divide thousands, by what the option calls it."""

_DOLLARS = (
    *("ARS", "AUD", "BBD", "BMD", "BND", "BSD", "BZD", "CAD", "CLP", "COP", "FJD", "GYD", "HKD", "JMD", "KYD", "LRD"),
    *("MXN", "NAD", "NZD", "SBD", "SGD", "SRD", "TTD", "TWD", "USD", "UYU", "XCD"),
)
_WRITTEN = {
    **dict.fromkeys(_DOLLARS, ("$",)),
    "AUD": ("$", "A$", "AU$"),
    "BGN": ("лв", "лв."),
    "BRL": ("R$",),
    "BWP": ("P",),
    "CAD": ("$", "C$", "CA$"),
    "CHF": ("Fr.", "SFr."),
    "CNY": ("¥", "￥"),
    "CZK": ("Kč",),
    "DKK": ("kr", "kr."),
    "EGP": ("£", "E£"),
    "EUR": ("€",),
    "GBP": ("£",),
    "GHS": ("₵", "GH₵"),
    "HKD": ("$", "HK$"),
    "HUF": ("Ft",),
    "ILS": ("₪",),
    "INR": ("₹", "Rs", "Rs."),
    "ISK": ("kr", "kr."),
    "JPY": ("¥", "￥"),
    "KES": ("KSh", "Ksh", "KSh."),
    "KRW": ("₩",),
    "KZT": ("₸",),
    "LKR": ("Rs", "Rs."),
    "LSL": ("L", "M"),
    "MUR": ("Rs", "Rs."),
    "NAD": ("$", "N$"),
    "NGN": ("₦",),
    "NOK": ("kr", "kr."),
    "NPR": ("Rs", "Rs."),
    "NZD": ("$", "NZ$"),
    "PHP": ("₱",),
    "PKR": ("Rs", "Rs."),
    "PLN": ("zł",),
    "RON": ("lei",),
    "RUB": ("₽",),
    "SEK": ("kr", "kr."),
    "SGD": ("$", "S$"),
    "SZL": ("E",),
    "THB": ("฿",),
    "TRY": ("₺",),
    "TZS": ("TSh",),
    "UAH": ("₴",),
    "UGX": ("USh",),
    "USD": ("$", "US$"),
    "VND": ("₫",),
    "ZAR": ("R",),
    "ZMW": ("K",),
}
"""The signs that people write beside an amount of each currency; its code they may write for any."""

_PARTS = re.compile(r"([^0-9]*)([0-9](?:.*[0-9])?)([^0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class Amounts:
    """How the amounts of a file are written."""

    decimal: str = "."
    thousands: str | None = None
    signs: bool = False

    def spelt(self, read: Reader[tuple[str, str]]) -> Reader[tuple[str, str]]:
        """Return a reader of amounts that are written so, beside their currency."""
        number = self._number

        def respelt(cell: tuple[str, str]) -> str | Fault:
            amount, code = cell
            if not amount:
                return NULL
            parts = _PARTS.fullmatch(amount)
            if parts is None or amount != plain(amount):
                return read(cell)
            minus, sign, lone = _sign(parts[1], parts[3])
            found = number.fullmatch(parts[2])
            if found is None or not lone or (sign and not self.signs):
                return self._unread
            if sign and code and sign != code and sign not in _WRITTEN.get(code, ()):
                return Fault("currency_sign_differs", f"“{sign}” is not how {code} is written.")
            whole, fraction = re.sub("[^0-9]", "", found[1]), found[2]
            return read((f"{minus}{whole}" + (f".{fraction}" if fraction else ""), code))

        return respelt

    @property
    def _number(self) -> re.Pattern[str]:
        whole = "[0-9]+"
        if self.thousands:
            # The last group has three digits; those before it may have two, as in 12,34,567.
            mark = f"[{re.escape(MARKS[self.thousands])}]"
            whole = rf"{whole}|[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}"
        return re.compile(rf"({whole})(?:{re.escape(self.decimal)}([0-9]+))?")

    @property
    def _unread(self) -> Fault:
        shown = f"1{MARKS[self.thousands][0] if self.thousands else ''}234{self.decimal}50"
        signs = (
            "with the sign of its currency or none" if self.signs else "without a sign, unless --currency-signs is said"
        )
        return Fault("invalid_type", f"Give an amount such as {shown}, {signs}.")


def _sign(before: str, after: str) -> tuple[str, str, bool]:
    """Return the minus, the sign of the currency, and whether these are all that stands around a number."""
    minus = "-" if "-" in before or "\u2212" in before else ""
    signs = [part.replace("-", "", 1).replace("\u2212", "", 1).strip() for part in (before,)] + [after.strip()]
    told = [sign for sign in signs if sign]
    return minus, told[0] if told else "", len(told) < 2 and "-" not in after  # noqa: PLR2004 one of the two


PLAIN = Amounts()
"""Amounts such as 1234.50."""
