"""Whether a database can hold the system, asked before anything is written there."""

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import OperationalError

from billing_project.database.binaries import EXTENSIONS, OLDEST_MAJOR

if TYPE_CHECKING:
    from billing_project.database.base import DatabaseWrapper

WANTING = """
SELECT needed.name, offered.name IS NOT NULL, has_database_privilege(current_database(), 'CREATE')
FROM unnest(%s::text[]) WITH ORDINALITY AS needed (name, place)
LEFT JOIN pg_available_extensions AS offered USING (name)
WHERE offered.installed_version IS NULL ORDER BY needed.place
"""


class DatabaseUnfit(ImproperlyConfigured):
    """The database that is named cannot be used, for a reason that fits on one line."""


def refuse_unreachable(connection: "DatabaseWrapper") -> None:
    """Refuse a database that does not answer, by the name of its host."""
    try:
        connection.ensure_connection()
    except OperationalError as refusal:
        reason = str(refusal).strip().splitlines()[0]
        message = f"{_name(connection)} cannot be reached: {reason}"
        raise DatabaseUnfit(message) from None


def refuse_old(connection: "DatabaseWrapper", number: int) -> None:
    """Refuse a server by the number it reports, as in 150004 for 15.4."""
    if number < OLDEST_MAJOR * 10_000:
        version = f"{number // 10_000}.{number % 10_000}"
        message = f"{_name(connection)} is PostgreSQL {version}: {OLDEST_MAJOR} or later is needed."
        raise DatabaseUnfit(message)


def refuse_unfurnished(connection: "DatabaseWrapper") -> None:
    """Refuse a database that lacks an extension, and cannot get it from the first migration."""
    with connection.cursor() as cursor:
        cursor.execute(WANTING, [list(EXTENSIONS)])
        wanting = cursor.fetchall()
    if absent := [name for name, is_offered, _ in wanting if not is_offered]:
        message = (
            f"{_name(connection)} has no {' and no '.join(absent)}: "
            "install PostgreSQL's contrib modules on its server (Debian: postgresql-contrib)."
        )
        raise DatabaseUnfit(message)
    if names := [name for name, _, may_create in wanting if not may_create]:
        orders = " ".join(f"CREATE EXTENSION {name};" for name in names)
        message = f"{_name(connection)} does not let this role create extensions: its owner must say {orders}"
        raise DatabaseUnfit(message)


def _name(connection: "DatabaseWrapper") -> str:
    place = connection.get_connection_params()
    return f"the database {place.get('dbname')!r} on {place.get('host', 'localhost')}:{place.get('port', 5432)}"
