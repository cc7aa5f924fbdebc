"""Days and moments: where a calendar day begins and ends in a time zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
"""What PostgreSQL tells two moments apart by."""


def begins(day: date, zone: str) -> datetime:
    """Return the moment, in UTC, at which a day begins in a time zone; where clocks skip midnight, when they do."""
    try:
        return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)
    except OverflowError:
        return EARLIEST


def ends(day: date, zone: str) -> datetime:
    """Return the moment, in UTC, at which the day after begins: 23 or 25 hours later where the clocks change."""
    return LATEST if day == date.max else begins(day + timedelta(days=1), zone)
