"""Files sent over the API: what is taken and refused, how it is followed and cancelled, and what is left in the end."""

import csv
import gzip
import io
import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from sheets import row, sheet
from workbooks import workbook

from billers.acts import perform
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from imports import importing, running
from imports.importing import FileImport
from imports.models import Import, Job, Phase, Piece, Profile, What
from imports.running import Runner
from imports.uploading import WORKBOOK

pytestmark = pytest.mark.django_db(transaction=True)
CHUNK = 10
GOOD = sheet(*(row(f"B{n}", amount_due=n + 1, customer_external_reference=f"C{n % 3}") for n in range(35)))
MIXED = sheet(row("B1"), row("B2", amount_due="x"), row("B1"), row("B3", currency="zar"), row("B4", amount_paid=5))


@pytest.fixture
def send(api):
    """Send a file as the body itself; return the answer."""

    def send(file, query="kind=bills", caller=api, **headers):
        headers = {"Content_Type": "text/csv", **headers}
        return caller.call("POST", f"/billing/imports?{query}", file, **headers)

    return send


@pytest.fixture
def sent(send):
    """Send a file that is taken; return its id."""

    def sent(file, query="kind=bills", **options):
        answer = send(file, query, **options)
        assert answer.status_code == 202, answer.content
        return answer.json()["id"]

    return sent


@pytest.fixture
def form(api):
    """Send a file in a form; return the answer."""

    def form(file, query="", name="bills.csv", part="file", **fields):
        client = Client(raise_request_exception=False)
        body = {part: SimpleUploadedFile(name, file if isinstance(file, bytes) else file.encode()), **fields}
        return client.post(f"/billing/imports{query}", body, headers={"Authorization": f"Bearer {api.key}"})

    return form


@pytest.fixture
def told(api):
    """Ask what became of an import."""
    return lambda key: api.get(f"/billing/imports/{key}").json()


def run():
    return Runner(once=True).work()


def kept():
    return Import.objects.count(), Job.objects.count(), Piece.objects.count()


# --- What becomes of a file -------------------------------------------------------------------------------------------


def test_the_same_file_twice_is_harmless_and_says_so(sent, told, stored):
    first = sent(GOOD)
    assert sent(GOOD) == first  # it waits already
    run()
    before = stored()
    second = sent(GOOD)
    assert second != first
    run()
    assert (told(second)["created"], told(second)["unchanged"]) == (0, 35)
    assert stored() == before


def test_an_import_tells_how_it_stands_from_the_first_to_the_last(sent, told, api):
    key = sent(MIXED, "kind=bills&file_name=november.csv&events=true")
    first = told(key)
    assert (first["status"], first["progress"], first["file_name"]) == (
        "queued", {"phase": "Waiting", "done": 0, "of": 0}, "november.csv",
    )  # fmt: skip
    assert (first["options"], first["started_at"], first["errors_url"]) == ({"events": True}, None, None)
    assert run() == {"completed": 1, "refused": 0, "cancelled": 0, "failed": 0}
    last = told(key)
    assert (last["status"], last["progress"]) == ("completed", {"phase": "Over", "done": 2, "of": 2})
    assert (last["read"], last["rejected"], last["errors_url"]) == (5, 3, f"/billing/imports/{key}/errors")
    assert last["created_at"] < last["started_at"] < last["finished_at"]
    assert kept() == (1, 0, 1)  # the file itself is not kept any longer
    answer = api.get(last["errors_url"])
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == (
        "text/csv", 'attachment; filename="november.csv.errors.csv"',
    )  # fmt: skip
    rows = [*csv.DictReader(io.StringIO(answer.getvalue().decode()))]
    assert [line["_line"] for line in rows] == ["3", "4", "5"]
    [event] = Event.objects.filter(type="import.completed")
    assert (event.body["id"], event.body["rejected"]) == (key, 3)


def test_what_every_row_of_is_refused_is_refused(sent, told):
    key = sent(sheet(row(currency="zar")))
    assert run()["refused"] == 1
    assert (told(key)["status"], told(key)["rejected"], Bill.objects.count()) == ("refused", 1, 0)


# --- How a file comes in ----------------------------------------------------------------------------------------------


def test_a_form_says_beside_the_file_what_an_address_says(form, told, sent):
    by_form = form(GOOD, kind="bills", map=["amount_due=amount_due", "currency=currency"], on_error="abort").json()
    assert (by_form["file_name"], by_form["kind"]) == ("bills.csv", "bills")
    assert by_form["options"] == {"map": ["amount_due=amount_due", "currency=currency"], "on_error": "abort"}
    query = "kind=bills&map=amount_due%3Damount_due&map=currency%3Dcurrency&on_error=abort"
    assert sent(GOOD, query) == by_form["id"]
    run()
    assert told(by_form["id"])["created"] == 35
    assert form(GOOD, "?kind=bills", name="../../etc/pass wd.csv").json()["file_name"] == "pass wd.csv"


@pytest.mark.parametrize(
    ("query", "parameter", "sentence"),
    [
        ("", "kind", "Say what the rows are: customers, accounts, bills, payments."),
        ("kind=debts", "kind", "Say what the rows are: customers, accounts, bills, payments."),
        ("kind=bills&amounts=all", "amounts", "amounts all: give one of minor, major."),
        ("kind=bills&dry_run=1", "dry_run", "dry_run 1: give true or false."),
        ("kind=bills&map=name", "map", "map name: give FIELD=SOURCE."),
        ("kind=bills&currency=zar", "currency", "currency zar: give an ISO 4217 code in upper case, such as ZAR."),
        ("kind=bills&due_days=x", "due_days", "due_days x: give a whole number."),
        ("kind=bills&max_errors=-1", "max_errors", "max_errors -1: give 0 or more."),
        ("kind=bills&due_days=36501", "due_days", "due_days 36501: give 0 to 36,500 days."),
        ("kind=bills&date_format=day", "date_format", "date_format day: that tells no day; %Y-%m-%d does, for one."),
        ("kind=bills&date_format=%25", "date_format", "date_format %: that tells no day; %Y-%m-%d does, for one."),
        ("kind=bills&encoding=" + "x" * 501, "encoding", "encoding: give at most 500 printable characters."),
        ("kind=bills&encoding=%00", "encoding", "encoding: give at most 500 printable characters."),
        ("kind=bills&file_name=%20x", "file_name", "Give 1 to 255 printable characters, no blank at either end."),
        ("kind=bills&errors=x", "errors", None),
        ("kind=bills&kind=bills", "kind", "This parameter stands twice."),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name_and_nothing_is_kept(send, query, parameter, sentence):
    refused = send(GOOD, query)
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["parameter"]) == (400, parameter)
    assert sentence in {error["detail"], None}
    assert kept() == (0, 0, 0)


def test_an_option_of_another_kind_of_file_is_none(send):
    refused = send(GOOD, "kind=customers&due_days=5").json()
    assert "due_days is no option of a file of customers. Known: map, ignore_unknown" in refused["detail"]
    assert kept() == (0, 0, 0)


def test_what_stands_in_the_address_and_in_the_form_is_refused(form):
    refused = form(GOOD, "?kind=bills", kind="bills")
    assert (refused.status_code, refused.json()["code"]) == (400, "repeated_parameter")
    assert kept() == (0, 0, 0)


def test_a_form_without_the_file_or_with_another_part_is_refused(form, api):
    assert form(GOOD, "?kind=bills", part="sheet").status_code == 400
    head = {"Content_Type": "multipart/form-data; boundary=x"}
    for body, code in (
        (b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\nbills\r\n--x--\r\n', "file_required"),
        (b"nothing of a form", "file_required"),
    ):
        refused = api.call("POST", "/billing/imports", body, **head)
        assert (refused.status_code, refused.json()["code"]) == (400, code)
    refused = api.call("POST", "/billing/imports", b"x", Content_Type="multipart/form-data")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert kept() == (0, 0, 0)


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_no_other_kind_of_body_is_a_file(send, media):
    refused = send(GOOD, Content_Type=media)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    assert kept() == (0, 0, 0)


def test_a_file_of_n_bytes_is_taken_and_one_of_n_and_1_is_not(send, form, settings):
    settings.IMPORT_MAX_BYTES = len(GOOD)
    assert send(GOOD).status_code == 202
    assert form(GOOD, "?kind=bills&events=true").status_code == 202
    assert kept() == (2, 2, 2)
    for refused in (send(GOOD + "\n"), form(GOOD + "\n", "?kind=bills")):
        assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")
    assert kept() == (2, 2, 2)


def test_a_file_is_kept_in_pieces_and_put_together_again(sent, monkeypatch, told):
    for module in ("imports.models", "imports.running"):
        monkeypatch.setattr(f"{module}.PIECE_BYTES", 100)
    key = sent(GOOD)
    assert Piece.objects.count() == -(-len(GOOD) // 100)
    assert b"".join(Piece.objects.bytes_of(Import.objects.get(), What.SOURCE)) == GOOD.encode()
    run()
    assert told(key)["created"] == 35


def test_the_same_key_and_file_are_answered_again_and_another_file_is_refused(send):
    first = send(GOOD, Idempotency_Key="k")
    run()
    again = send(GOOD, Idempotency_Key="k")
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (202, first.content, "true")
    assert again.headers["Location"] == f"/billing/imports/{first.json()['id']}"
    for other in (send(GOOD + "\n", Idempotency_Key="k"), send(GOOD, "kind=customers", Idempotency_Key="k")):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert Import.objects.count() == 1


def test_a_body_that_breaks_off_is_no_file(server_port, api):
    """A server of its own: the test's client always tells the length that it sends."""
    head = f"POST /billing/imports?kind=bills HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n"
    for more, body in (
        ("Content-Type: text/csv\r\nContent-Length: 9999\r\n", GOOD),
        ("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n",
            '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + GOOD),
    ):  # fmt: skip
        with closing(socket.create_connection(("127.0.0.1", server_port))) as line:
            line.sendall(f"{head}{more}\r\n{body}".encode())
            line.shutdown(socket.SHUT_WR)
            line.settimeout(10)
            line.recv(1000)
    with closing(socket.create_connection(("127.0.0.1", server_port))) as line:
        more = "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(f"{head}{more}{len(GOOD):x}\r\n{GOOD}\r\n0\r\n\r\n".encode())
        answer = line.makefile("rb").readline()
        assert answer.startswith(b"HTTP/1.1 400")
    assert kept() == (0, 0, 0)


def test_a_reading_key_sends_and_cancels_nothing_and_another_biller_sees_nothing(api_for, biller, sent, api):
    key = sent(MIXED)
    run()
    reader, stranger = (
        api_for(biller, scope="read"),
        api_for(importing.Biller.objects.found(name="O", reference="o")["live"]),
    )
    assert reader.get(f"/billing/imports/{key}/errors").status_code == 200
    for path in (f"/billing/imports/{key}/cancel", "/billing/imports?kind=bills"):
        assert reader.call("POST", path, GOOD, Content_Type="text/csv").status_code == 403
    absent = key[:-1] + ("0" if key[-1] != "0" else "1")
    for method, end in (("GET", ""), ("GET", "/errors"), ("POST", "/cancel")):
        theirs = stranger.call(method, f"/billing/imports/{key}{end}")
        nobodys = stranger.call(method, f"/billing/imports/{absent}{end}")
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert theirs.content.replace(key.encode(), b"") == nobodys.content.replace(absent.encode(), b"")
    assert stranger.get("/billing/imports").json()["data"] == []


def test_imports_are_listed_the_newest_first_by_kind_and_status(sent, api, bring):
    first = sent(GOOD)
    run()
    second = sent(sheet({"external_reference": "C9"}), "kind=customers&dry_run=true")
    bring(MIXED)
    listed = api.get("/billing/imports").json()["data"]
    assert [(one["kind"], one["status"]) for one in listed] == [
        ("bills", "completed"), ("customers", "queued"), ("bills", "completed"),
    ]  # fmt: skip
    assert (listed[0]["file_name"], listed[1]["id"], listed[2]["id"]) == ("bills.csv", second, first)
    for query, found in (
        ("kind=bills", 2), ("kind=payments", 0), ("status=completed", 2), ("status=queued", 1), ("dry_run=true", 1),
        ("status=running", 0), ("status=failed", 0), ("limit=1&kind=bills", 1),
    ):  # fmt: skip
        assert len(api.get(f"/billing/imports?{query}").json()["data"]) == found, query
    assert api.get("/billing/imports?status=lost").status_code == 400


# --- Files that cannot be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "query", "sentence"),
    [
        ("\n", "", "The file is empty: its first line must name the columns."),
        ("a,b\n1,2\n", "", "These columns are no fields: “a”, “b”. Say where they go with map, or ignore_unknown."),
        (GOOD, "&due_days=5&encoding=nope", "There is no encoding “nope”."),
        (GOOD.encode("utf-16-le"), "", "The header is not utf-8 text: name the file's encoding with encoding."),
        (gzip.compress(GOOD.encode())[:-20], "", "The compressed file is damaged or breaks off."),
        (GOOD + '"B9', "", "Line 37: a quote that opens in this row is never closed."),
        (GOOD, "&currency=ZAR", "currency is for files without a currency; this one has it."),
    ],
)
def test_a_file_that_cannot_be_read_fails_with_the_sentence_and_nothing_is_left(sent, told, file, query, sentence):
    key = sent(file, f"kind=bills{query}")
    assert run() == {"completed": 0, "refused": 0, "cancelled": 0, "failed": 1}
    assert (told(key)["status"], told(key)["failure"]) == ("failed", sentence)
    assert kept() == (1, 0, 0)
    assert Bill.objects.count() == Event.objects.count() == 0


def hostile():
    lot = random.Random(7)
    yield from (lot.randbytes(lot.randint(1, 3000)) for _ in range(25))
    for head in (b"\x1f\x8b", b"\xff\xfe", b"PK\x03\x04", b"\x00", b'"', b"\xef\xbb\xbf", b"external_reference\n"):
        yield head
        yield head + lot.randbytes(500)
    yield b"external_reference,currency\n" + b"\x00,\xff\n" * 50
    yield b"external_reference," * 5000 + b"\n"
    yield b"x" * (1 << 21)
    yield gzip.compress(b"external_reference\n" + b"x" * (1 << 22))


def test_hostile_files_are_taken_and_end_and_are_never_our_mistake(sent, api):
    files = [*hostile()]
    for kind in ("bills", "payments"):
        for number, file in enumerate(files):
            sent(file, f"kind={kind}&ignore_unknown=true&file_name=f{number}")
    counts = run()
    assert sum(counts.values()) == 2 * len(files) == Import.objects.exclude(finished_at=None).count()
    assert counts["failed"] > len(files)
    assert not Import.objects.filter(failure__contains="our side").exists()
    assert {api.get(f"/billing/imports/{key}").status_code for key in Import.objects.values_list("pk", flat=True)} == {
        200
    }
    assert Job.objects.count() == Bill.objects.count() == 0


# --- Cancelled --------------------------------------------------------------------------------------------------------


@pytest.fixture
def between(monkeypatch):
    """Do something of one's own before a chunk of bills, once there are so many; chunks are small."""
    monkeypatch.setattr(importing, "CHUNK", CHUNK)

    def at(count, deed):
        chunk, done = FileImport._chunk, []

        def interrupting(self, size):
            if not done and self.imported.phase == Phase.BILLS and Bill.objects.count() >= count:
                done.append(True)
                deed()
            return chunk(self, size)

        monkeypatch.setattr(FileImport, "_chunk", interrupting)

    return at


def cancel(api, key):
    return api.post(f"/billing/imports/{key}/cancel")


def test_what_waits_is_cancelled_at_once_and_never_run(sent, api):
    key = sent(GOOD)
    cancelled = cancel(api, key)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert kept() == (1, 0, 0)
    assert sum(run().values()) == 0
    assert Bill.objects.count() == 0
    again = cancel(api, key)
    assert (again.status_code, again.json()["code"]) == (409, "import_finished")
    assert again.json()["detail"] == "The import is cancelled already."


def test_what_runs_ends_before_its_next_chunk_and_what_was_written_stays_and_is_told(sent, api, told, between):
    answers = []
    between(20, lambda: answers.append(cancel(api, Import.objects.get().pk).json()))
    key = sent(GOOD + MIXED.partition("\n")[2])
    assert run() == {"completed": 0, "refused": 0, "cancelled": 1, "failed": 0}
    assert [(one["status"], one["cancelling"]) for one in answers] == [("running", True)]
    last = told(key)
    assert (last["status"], last["created"], Bill.objects.count()) == ("cancelled", 20, 20)
    assert (last["rejected"], last["cancelling"]) == (5, False)
    assert len(api.get(last["errors_url"]).getvalue().splitlines()) == 6
    assert kept() == (1, 0, 1)
    assert not Event.objects.filter(type="import.completed").exists()
    assert not stages()
    # Sent again, it is completed.
    key = sent(GOOD)
    run()
    assert (told(key)["created"], told(key)["unchanged"]) == (15, 20)


def test_a_dry_run_is_cancelled_too(sent, api, told, monkeypatch):
    rehearse = FileImport._rehearse

    # The API asks on a connection of its own, as it does beside a worker.
    monkeypatch.setattr(FileImport, "_rehearse", lambda self: in_a_thread(lambda: cancel(api, key)) or rehearse(self))
    key = sent(GOOD, "kind=bills&dry_run=true")
    assert run() == {"completed": 0, "refused": 0, "cancelled": 1, "failed": 0}
    assert (told(key)["status"], told(key)["dry_run"], kept(), stages()) == ("cancelled", True, (1, 0, 0), [])


def in_a_thread(deed):
    def done():
        deed()
        connection.close()

    thread = threading.Thread(target=done)
    thread.start()
    thread.join(20)


def stages():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'import\\_%'")
        return cursor.fetchall()


def test_what_a_command_runs_is_stopped_where_it_runs(api, biller):
    theirs = Import.objects.take_up(biller, "f", kind="bills", file_name="x")
    refused = cancel(api, theirs.pk)
    assert (refused.status_code, refused.json()["code"]) == (409, "import_of_command")
    theirs.refresh_from_db()
    assert theirs.finished_at is None


def test_a_cancel_that_meets_the_end_is_told_of_it(sent, api):
    key, answers = sent(GOOD), []

    def late():
        answers.append(cancel(api, key))
        connection.close()

    canceller = threading.Thread(target=late)
    Import.objects.update(phase=Phase.BILLS)
    with transaction.atomic():
        ending = Import.objects.get()
        ending.end(Phase.COMPLETED)
        ending.save()
        canceller.start()
        canceller.join(0.5)
        assert answers == []
    canceller.join(20)
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "import_finished")]


def test_what_is_cancelled_after_its_last_chunk_is_completed(sent, told, api, monkeypatch):
    finish = FileImport._in_turn

    def late(self, step):
        if getattr(step, "__name__", "") == "_finish":
            monkeypatch.undo()
            assert cancel(api, self.imported.pk).json()["cancelling"]
        finish(self, step)

    monkeypatch.setattr(FileImport, "_in_turn", late)
    key = sent(GOOD)
    assert run()["completed"] == 1
    assert (told(key)["status"], told(key)["created"]) == ("completed", 35)


# --- Workers ----------------------------------------------------------------------------------------------------------


def test_a_billers_files_are_run_in_the_order_they_came_and_nobody_else_waits(sent, told, api_for):
    other = api_for(importing.Biller.objects.found(name="O", reference="o")["live"])
    first = sent("external_reference,customer_external_reference\nA1,C1\n", "kind=accounts")
    second = sent("external_reference,currency,amount_due,account_external_reference\nB1,ZAR,5,A1\n")
    theirs = sent(GOOD, caller=other)
    held = Job.objects.take("another", 60)
    assert held.pk == first
    assert run()["completed"] == 1
    assert other.get(f"/billing/imports/{theirs}").json()["status"] == "completed"
    assert (told(first)["status"], told(second)["status"]) == ("queued", "queued")
    Job.objects.update(held_until=timezone.now())
    assert run()["completed"] == 2
    assert [told(key)["rejected"] for key in (first, second)] == [0, 0]


def test_a_job_is_held_until_its_lease_has_run_out(sent):
    key = sent(GOOD)
    assert Job.objects.take("one", 60).pk == key
    assert Job.objects.take("two", 60) is None
    Job.objects.update(held_until=timezone.now())
    assert Job.objects.take("two", 60).worker == "two"


def test_a_job_that_one_worker_is_taking_is_passed_over_by_another(sent, api_for):
    other = api_for(importing.Biller.objects.found(name="O", reference="o")["live"])
    first, theirs = sent(GOOD), sent(GOOD, caller=other)
    found = []

    def take():
        found.append(Job.objects.take("two", 60))
        connection.close()

    taker = threading.Thread(target=take)
    with transaction.atomic():
        assert Job.objects.take("one", 60).pk == first
        taker.start()
        taker.join(20)
        assert [job.pk for job in found] == [theirs]  # without waiting for the other's COMMIT


def test_a_file_sent_by_many_at_once_waits_once(sent):
    with ThreadPoolExecutor(8) as threads:

        def one(_):
            try:
                return sent(GOOD)
            finally:
                connection.close()

        assert len({*threads.map(one, range(16))}) == 1
    assert kept() == (1, 1, 1)


def test_a_worker_that_lost_its_job_stops_before_its_next_chunk(sent, told, between):
    between(10, lambda: Job.objects.update(worker="another", held_until=timezone.now() + timedelta(minutes=1)))
    key = sent(GOOD)
    assert sum(run().values()) == 0
    assert (told(key)["status"], Bill.objects.count(), Job.objects.get().worker) == ("running", 10, "another")
    Job.objects.update(held_until=timezone.now())
    assert run()["completed"] == 1
    assert (told(key)["created"], Bill.objects.count(), Event.objects.filter(type="import.completed").count()) == (
        35,
        35,
        1,
    )


def test_a_worker_that_is_to_stop_lets_go_and_another_goes_on(sent, told, between):
    worker = Runner()
    between(20, worker.stop)
    key = sent(GOOD)
    assert sum(worker.work().values()) == 0
    assert (told(key)["status"], Bill.objects.count()) == ("running", 20)
    assert told(key)["progress"] == {"phase": "Writing", "done": 20, "of": 35}
    assert run()["completed"] == 1
    assert (told(key)["created"], Bill.objects.count()) == (35, 35)
    assert {*Bill.objects.values_list("version", flat=True)} == {1}


def test_a_defect_of_ours_is_tried_again_and_given_up_and_others_go_on(sent, told, monkeypatch, between):
    monkeypatch.setattr(running, "timedelta", lambda **_: timedelta(0))
    chunk = FileImport._chunk

    def broken(self, size):
        if self.imported.kind == "bills":
            raise RuntimeError("ours")
        return chunk(self, size)

    monkeypatch.setattr(FileImport, "_chunk", broken)
    key, after = sent(GOOD), sent("external_reference\nC9\n", "kind=customers")
    assert run() == {"completed": 1, "refused": 0, "cancelled": 0, "failed": 0}
    assert told(key)["status"] == "failed"
    assert told(key)["failure"].startswith("Something broke on our side")
    assert told(after)["status"] == "completed"
    assert not stages()
    assert Customer.objects.get().external_reference == "C9"


def test_refused_rows_and_drafts_are_forgotten_when_their_time_is_over(sent, told, api, biller, settings):
    settings.IMPORT_KEEP_DAYS = 30
    key = sent(MIXED)
    run()
    until = Import.objects.get().errors_until
    assert timedelta(days=29, hours=23) < until - timezone.now() < timedelta(days=30)
    run()
    assert api.get(f"/billing/imports/{key}/errors").status_code == 200
    Import.objects.update(errors_until=timezone.now())
    run()
    assert api.get(f"/billing/imports/{key}/errors").json()["code"] == "no_refused_rows"
    assert (told(key)["errors_url"], told(key)["rejected"], kept()) == (None, 3, (1, 0, 0))


def test_the_command_drains_the_queue_and_tells_what_it_did(sent):
    sent(GOOD)
    out = io.StringIO()
    call_command("run_imports", "--once", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"completed": 1, "refused": 0, "cancelled": 0, "failed": 0}


# --- Profiles ---------------------------------------------------------------------------------------------------------

ODD = "No;Due;Who\nB1;1.234,50;C1\n"
REMEMBERED = {
    "map": ["external_reference=No", "amount_due=Due", "customer_external_reference=Who"],
    "amounts": "major",
    "decimal": ",",
    "thousands": ".",
    "currency": "EUR",
}


def test_a_file_is_understood_by_a_profile_and_otherwise_where_something_else_is_said(biller, sent, told, send):
    perform(biller, "test", lambda act: Profile.objects.keep(act, "erp", REMEMBERED))
    key = sent(ODD, "kind=bills&profile=erp")
    run()
    assert (told(key)["created"], told(key)["options"]) == (1, REMEMBERED)
    assert Bill.objects.get().amount_due == 123450
    answer = send(ODD, "kind=bills&profile=erp&amounts=minor")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "decimal")


def test_a_profile_of_nobody_or_of_another_biller_is_refused(other, send):
    perform(other, "test", lambda act: Profile.objects.keep(act, "erp", REMEMBERED))
    for name in ("erp", "", "two%20words"):
        answer = send(ODD, f"kind=bills&profile={name}")
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "profile")
    assert kept() == (0, 0, 0)


def test_a_workbook_is_taken_as_what_it_is(sent, told):
    book = workbook(
        ["external_reference", "currency", "amount_due", "customer_external_reference"], ["B1", "ZAR", 5, "C"]
    )
    key = sent(book, "kind=bills", Content_Type=WORKBOOK)
    run()
    assert (told(key)["status"], told(key)["created"]) == ("completed", 1)
