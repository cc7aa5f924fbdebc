"""What `make run` starts: it announces what works, and Ctrl-C stops all of it."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from django.conf import settings

from bench.serving import free_port, url_of_scratch
from bills.models import Bill

SECONDS_TO_STOP = 8
"""Less than granian waits before it kills a worker that does not obey."""

FORKED = """
import os, signal, time
import django
django.setup()
from billing_project.management.commands.serve import obey_parent_alone
signal.signal(signal.SIGTERM, lambda *_: None)
os.register_at_fork(after_in_child=obey_parent_alone)
read, write = os.pipe()
worker = os.fork()
if worker == 0:
    os.write(write, b"!")
    time.sleep(20)
    os._exit(0)
os.read(read, 1)
os.kill(worker, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
"""


def serving(port, *options):
    return subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--port", str(port), *options],
        cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": url_of_scratch(), "DEBUG": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def announced(server):
    """What it prints until everything is up."""
    told = []
    while not told or "Ctrl-C stops it." not in told[-1]:
        told.append(server.stdout.readline())
        assert told[-1], server.stderr.read()
    return "".join(told)


def left_of(server):
    """The processes of its session that live."""
    listing = subprocess.run(["ps", "-eo", "sid=,stat=,pid="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return [pid for session, state, pid in rows if session == str(server.pid) and not state.startswith("Z")]


@pytest.mark.django_db(transaction=True)
def test_what_it_prints_works_when_pasted_and_ctrl_c_stops_everything():
    with serving(free_port()) as server:
        told = announced(server)
        assert "Login    demo / demo" in told
        pasted = re.search(r"^curl .*$", told, re.MULTILINE)[0]
        answer = subprocess.run(["sh", "-c", f"{pasted} -s"], capture_output=True, text=True, check=True).stdout
        assert '"external_reference":"INV-' in answer
        assert Bill.objects.count() == 2000
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait(timeout=SECONDS_TO_STOP) == 0
        assert server.stdout.read() == "Stopped.\n"
        assert left_of(server) == []


@pytest.mark.django_db(transaction=True)
def test_ctrl_c_at_the_very_moment_it_is_announced_stops_it_as_well():
    with serving(free_port(), "--no-demo") as server:
        told = announced(server)
        assert "Login" not in told
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait(timeout=SECONDS_TO_STOP) == 0
        assert left_of(server) == []


def test_a_worker_told_to_stop_before_it_has_started_stops():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=settings.BASE_DIR,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == f"{-signal.SIGTERM}\n", done.stderr


def test_a_taken_port_is_refused_in_one_line_before_any_work(db):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(port) as server:
            out, err = server.communicate(timeout=30)
    assert (server.returncode, out) == (1, "")
    place = f"127.0.0.1:{port} (Address already in use)"
    assert err == f"CommandError: cannot serve on {place}; choose another with PORT=8001 make run\n"
