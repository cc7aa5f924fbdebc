"""However long a file is, an import of it takes as much memory as of a short one."""

import os
import subprocess
import sys

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
    report = running.stdout.read().decode()
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    assert f'"read": {number}, "created": {number}, ' in report
    assert used.ru_maxrss * 1024 < MOST
    assert not Bill.objects.exists()
