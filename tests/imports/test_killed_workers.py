"""Workers are killed, stopped and cut off from the database at random, and several take jobs at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from sheets import row, sheet

from bench.serving import url_of_scratch
from billers.models import ApiKey, Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from imports.models import Import, Job, Piece
from imports.running import Runner
from ledger.models import Entry
from payments.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 120
SLOWLY = """
import time
from imports import importing
from imports.importing import FileImport
importing.CHUNK, importing._FEW = 100, 20
chunk = FileImport._chunk
def slowly(self, size):
    time.sleep(0.02)
    return chunk(self, size)
FileImport._chunk = slowly
"""
"""Small chunks and a rest between them, so that a kill meets any moment of an import."""
PLACE = {"LOG_LEVEL": "ERROR", "IMPORT_LEASE_SECONDS": "1", "DJANGO_SETTINGS_MODULE": "billing_project.settings"}


def worker(*options, slow=True):
    """Start a worker of its own."""
    script = f"import django; django.setup()\n{SLOWLY if slow else ''}\n"
    script += f"from django.core.management import call_command\ncall_command('run_imports', *{options!r})"
    environment = {**os.environ, **PLACE, "DATABASE_URL": url_of_scratch()}
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def send(api):
    """Send a file that is taken; return its id."""

    def send(file, kind="bills", caller=api, **options):
        query = "&".join([f"kind={kind}", *(f"{name}={value}" for name, value in options.items())])
        answer = caller.call("POST", f"/billing/imports?{query}", file, Content_Type="text/csv")
        assert answer.status_code == 202, answer.content
        return answer.json()["id"]

    return send


def wait_for(what):
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until, "Nothing goes on."
        time.sleep(0.01)


def ended(*keys):
    return lambda: not Import.objects.under_way().filter(pk__in=keys).exists()


def bills(count):
    return sheet(
        *(
            row(f"B{n}", amount_due=n + 5, amount_paid=n % 2, customer_external_reference=f"C{n % 50}", description="x")
            for n in range(count)
        ),
        row("bad", currency="zar"),
    )


def payments(count):
    return sheet(
        *(
            {"external_reference": f"P{n}", "amount": 1, "currency": "ZAR", "method": "cash",
             "bill_external_reference": f"B{n}"}
            for n in range(count)
        )
    )  # fmt: skip


def written():
    return Bill.objects.count() + Customer.objects.count() + Payment.objects.count()


@pytest.mark.parametrize("times", [4, pytest.param(40, marks=pytest.mark.prove)])
def test_a_worker_killed_at_random_is_gone_on_with_exactly(send, times):
    count = 200 * times
    first, second = send(bills(count)), send(payments(count), kind="payments")
    lot = random.Random()
    process, kills = worker(), 0
    try:
        while kills < times and Import.objects.under_way().exists():
            before, until = written(), time.monotonic() + SECONDS
            while written() < before + lot.randint(1, 150) and Import.objects.under_way().exists():
                assert time.monotonic() < until, "Nothing goes on."
                time.sleep(lot.uniform(0, 0.03))
            process.kill()
            process.wait()
            kills += 1
            process = worker()
        wait_for(ended(first, second))
    finally:
        process.kill()
        process.wait()
    assert kills == times
    told = {one.pk: one for one in Import.objects.all()}
    assert (told[first].created, told[first].unchanged, told[first].rejected) == (count, 0, 1)
    assert (told[second].created, told[second].unchanged, told[second].rejected) == (count, 0, 0)
    assert (Bill.objects.count(), Customer.objects.count(), Payment.objects.count()) == (count, 50, count)
    assert Entry.objects.count() == count // 2 + count
    assert {*Customer.objects.values_list("version", flat=True)} == {1}
    assert Counter(Event.objects.values_list("type", flat=True))["import.completed"] == 2
    assert (Job.objects.count(), Piece.objects.count()) == (0, 1)
    call_command("check_ledger")


def test_a_worker_cut_off_from_the_database_goes_on_by_itself(send):
    key = send(bills(1500))
    process = worker()
    try:
        for _ in range(3):
            before = written()
            wait_for(lambda before=before: written() > before or ended(key)())
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        wait_for(ended(key))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert (Bill.objects.count(), Import.objects.get().created) == (1500, 1500)
    assert Event.objects.filter(type="import.completed").count() == 1


def test_a_worker_that_is_asked_to_end_ends_within_a_chunk_and_leaves_the_rest_to_another_at_once(send):
    key = send(bills(1500))
    process = worker()
    wait_for(Bill.objects.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    so_far = Bill.objects.count()
    assert 0 < so_far < 1500
    assert Job.objects.get().worker is None
    assert Runner(once=True).work()["completed"] == 1  # without waiting for any lease
    assert (Bill.objects.count(), Import.objects.get(pk=key).created) == (1500, 1500)


def test_workers_at_once_take_no_job_twice(send, api_for):
    callers = [api_for(Biller.objects.found(name=name, reference=name)["live"]) for name in ("a", "b", "c", "d")]
    keys = [
        send(sheet(*(row(f"B{file}-{n}") for n in range(30))), caller=caller) for file in range(5) for caller in callers
    ]
    processes = [worker() for _ in range(2)]
    try:
        wait_for(ended(*keys))
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
    counts = [int(process.communicate(timeout=20)[0].split("completed: ")[1].split(",")[0]) for process in processes]
    assert sum(counts) == 20
    assert all(counts)
    assert {*Import.objects.values_list("created", "unchanged", "rejected")} == {(30, 0, 0)}
    assert Bill.objects.count() == 600
    assert Event.objects.filter(type="import.completed").count() == 20
    begun = Import.objects.order_by("biller_id", "started_at").values_list("biller_id", "id")
    assert [*begun] == sorted(begun, key=lambda one: (one[0], keys.index(one[1])))
    assert ApiKey.objects.count() >= len(callers)
