"""`as_of`: how things stood at a moment, told in a query."""

import re
from datetime import UTC, date, datetime

from django.utils.dateparse import parse_datetime

from api.problems import invalid_parameter
from core.days import EARLIEST, INSTANT, LATEST, ends

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def day_of(name: str, text: str) -> date:
    """Return the date that a parameter tells.

    Raises:
        Problem: 400 `invalid_parameter`.
    """
    try:
        return date.fromisoformat(text if _DATE.match(text) else "")
    except ValueError:
        raise invalid_parameter(name, "Send a date as YYYY-MM-DD.") from None


def moment_of(name: str, text: str, zone: str | None = None) -> datetime:
    """Return the moment that a parameter tells; a date means its last instant in the time zone, where there is one.

    Raises:
        Problem: 400 `invalid_parameter`.
    """
    if zone is not None and _DATE.match(text):
        return ends(day_of(name, text), zone) - INSTANT
    try:
        # An unescaped + of a time zone arrives as a blank.
        moment = parse_datetime(text.replace(" ", "+")) if "T" in text and text.isascii() else None
    except ValueError:
        moment = None
    if moment is None:
        either = "a date or " if zone is not None else ""
        raise invalid_parameter(name, f"Send {either}an ISO 8601 time, such as 2026-11-22T10:00:00Z.")
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EARLIEST if moment.year == 1 else LATEST
