"""Payer references: at most 12 digits that a keypad can type, the last of which tells whether the others are right."""

import secrets

from stdnum import damm

MOST_DIGITS = 12


def is_payer_reference(text: str) -> bool:
    """Tell whether a text could be a payer reference, typed right: its check digit (Damm's) fits."""
    return 2 <= len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() and damm.is_valid(text)  # noqa: PLR2004


def drawn() -> str:
    """Return a payer reference drawn by lot, of 12 digits: whoever knows his own can guess no neighbour's."""
    # The first is no zero, which spreadsheets would drop.
    least = 10 ** (MOST_DIGITS - 2)
    digits = str(least + secrets.randbelow(9 * least))
    return digits + damm.calc_check_digit(digits)
