"""Countries are ISO 3166-1 codes of two letters; which there are comes from the time zone database's own list."""

from functools import cache
from importlib.resources import files

COMMENT = "#"


@cache
def names() -> dict[str, str]:
    """Return what each country is called in English, by its code (ZA: South Africa)."""
    lines = (files("tzdata.zoneinfo") / "iso3166.tab").read_text().splitlines()
    return dict(line.split("\t", 1) for line in lines if line and not line.startswith(COMMENT))


def is_country(code: object) -> bool:
    """Tell whether ``code`` is an ISO 3166-1 code in upper case."""
    return isinstance(code, str) and code in names()
