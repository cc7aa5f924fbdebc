"""`make run` runs the workers beside the server, and nothing of it outlives the other's end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from bench.serving import free_port
from billing_project.database.server import PrivateServer

CHECKOUT = Path(__file__).resolve().parent.parent
WORKERS = {"deliver_webhooks", "run_imports"}


@pytest.fixture
def serving():
    """Serve as `make run` does, on a private database of its own."""
    folder = Path(tempfile.mkdtemp(prefix="serve-", dir="/tmp"))
    folder.chmod(0o755)
    port = free_port()
    command = [sys.executable, "manage.py", "serve", "--port", str(port), "--workers", "1", "--no-demo"]
    environment = {**os.environ, "BILLING_DATA_DIR": str(folder)}
    environment.pop("DATABASE_URL", None)
    with (folder / "told").open("w") as told:
        server = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=told, stderr=told, start_new_session=True
        )
    server.private, server.told, server.port = PrivateServer(folder), folder / "told", port
    try:
        wait_for(lambda: answers(port) and len(workers_of(server)) == len(WORKERS), 60)
        yield server
    finally:
        for pid in [*workers_of(server).values(), server.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.wait()
        server.private.stop(even_if_used=True)
        while server.private.home.exists():
            shutil.rmtree(server.private.home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(what, seconds):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, what
        time.sleep(0.1)
    return found


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def workers_of(server):
    """Return the ids of the workers that the server has started, by command."""
    listing = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    ours = [(int(pid), line.split()) for pid, parent, line in rows if int(parent) == server.pid]
    return {name: pid for pid, line in ours for name in WORKERS & set(line)}


def is_gone(pid):
    """Tell whether a process has ended, buried by its new parent or not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip() == "" or state.startswith("Z")


def test_a_worker_that_fails_is_started_again_and_the_server_goes_on(serving):
    workers = workers_of(serving)
    for name, worker in workers.items():
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda name=name: f"{name} ended (-9)" in serving.told.read_text(), 10)
    assert answers(serving.port)
    wait_for(lambda: len(workers_of(serving)) == len(WORKERS), 20)
    assert not {*workers.values()} & {*workers_of(serving).values()}


def test_ctrl_c_stops_the_workers_and_the_database_too(serving):
    workers = workers_of(serving)
    os.killpg(serving.pid, signal.SIGINT)
    assert serving.wait(timeout=20) == 0
    assert all(map(is_gone, workers.values()))
    assert serving.told.read_text().rstrip().endswith("Stopped.")
    wait_for(lambda: serving.private.pid is None, 20)


def test_a_killed_server_leaves_no_worker_that_keeps_the_database_up(serving):
    workers = workers_of(serving)
    serving.kill()
    serving.wait()
    wait_for(lambda: all(map(is_gone, workers.values())), 10)
    wait_for(lambda: serving.private.pid is None, 20)
