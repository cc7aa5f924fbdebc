"""What text may look like in a record, said once for Python and for PostgreSQL.

The two character classes are written in escapes that both regular-expression dialects read, so that a
reference typed in the API and one copied from a file pass or fail alike.
"""

import re

from stdnum import luhn

# Controls, invisible formatting, separators of lines and paragraphs, surrogates, private use: Cc Cf Zl Zp Cs Co.
UNPRINTABLE = (
    r"\u0001-\u001f\u007f-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\ud800-\uf8ff\ufeff\ufff0-\uffff"
)
BLANK = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"

REFERENCE_LENGTH = 255
# The same pattern in both dialects: printable throughout, no blank at either end.
REFERENCE_PATTERN = rf"^[^{UNPRINTABLE}{BLANK}]([^{UNPRINTABLE}]*[^{UNPRINTABLE}{BLANK}])?$"

_REFERENCE = re.compile(REFERENCE_PATTERN[:-1] + r"\Z")


def is_reference(text: str) -> bool:
    """Tell whether ``text`` may be an external reference: 1-255 printable characters, no blank at either end."""
    return len(text) <= REFERENCE_LENGTH and "\0" not in text and _REFERENCE.match(text) is not None


PAYMENT_REFERENCE = r"[A-Za-z0-9._-]{1,64}"
"""What the name of a payment by its taker looks like: characters that every channel can carry."""

_PAYMENT_REFERENCE = re.compile(PAYMENT_REFERENCE)
_DIGITS = re.compile(r"[0-9](?:[ -]?[0-9])+")


def is_payment_reference(text: str) -> bool:
    """Tell whether ``text`` may name a payment, which every id of ours may too."""
    return _PAYMENT_REFERENCE.fullmatch(text) is not None


def may_be_card(text: str) -> bool:
    """Tell whether a text holds 13 to 19 digits, grouped or not, that pass the check of card numbers."""
    runs = (re.sub("[ -]", "", run) for run in _DIGITS.findall(text))
    return any(13 <= len(run) <= 19 and luhn.is_valid(run) for run in runs)  # noqa: PLR2004 ISO/IEC 7812
