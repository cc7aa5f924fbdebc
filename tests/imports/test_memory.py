"""However long a file is, an import of it takes as much memory as of a short one."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from bench.serving import url_of_scratch
from bills.models import Bill

MEGABYTE = 1 << 20
MOST = 200 * MEGABYTE
KEYS = [f"metadata.k{number}" for number in range(10)]
HEADER = ",".join(["external_reference", "currency", "amount_due", "customer_external_reference", "description", *KEYS])
FILLED = ",".join(f"%08d{letter * 492}" for letter in "abcdefghijk")
AT_ONCE = 1000


def peak_of(process):
    """Return the most memory that a process has held so far, or None when it is gone.

    What is told of a child that has ended counts what its parent held when it was forked.
    """
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [64 * MEGABYTE, pytest.param(10_240 * MEGABYTE, marks=pytest.mark.prove)])
def test_a_stream_is_imported_in_bounded_memory(biller, size):
    """The rows are as long as they may be, and made while they are read."""
    command = [sys.executable, "manage.py", "import_bills", "-", "--biller", biller.reference, "--dry-run", "--json"]
    environment = {**os.environ, "DATABASE_URL": url_of_scratch()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, **pipes)
    written = number = 0
    running.stdin.write(f"{HEADER}\n".encode())
    while written < size:
        rows = (f"B{n},ZAR,100,C{n % 5000},{FILLED % ((n,) * 11)}\n" for n in range(number, number + AT_ONCE))
        written += running.stdin.write("".join(rows).encode())
        number += AT_ONCE
    running.stdin.close()
    peak = 0
    while running.poll() is None:
        peak = peak_of(running.pid) or peak
        time.sleep(0.05)
    assert running.returncode == 0
    assert f'"read": {number}, "created": {number}, ' in running.stdout.read().decode()
    assert 0 < peak < MOST
    assert not Bill.objects.exists()
