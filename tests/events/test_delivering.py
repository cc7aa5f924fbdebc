"""Events reach the endpoints that want them, signed, at least once: contract, section 5."""

import json
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import format_datetime

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone
from receivers import drained, hurry, worker
from standardwebhooks import Webhook, WebhookVerificationError

from events import delivering, models
from events.delivering import Courier
from events.models import Delivery, Event, WebhookEndpoint, WebhookSecret

pytestmark = pytest.mark.django_db(transaction=True)

NOTHING = {"numbered": 0, "delivered": 0, "failed": 0, "given_up": 0}


def enrol(api, *references):
    for reference in references:
        assert api.post("/billing/customers", {"external_reference": reference}).status_code == 201


def deliveries(api, query=""):
    return api.get(f"/billing/deliveries?limit=100{query}").json()["data"]


def test_an_event_is_delivered_signed_and_as_the_feed_tells_it(api, receiver, registered):
    secret = registered(receiver.url)["secret"]
    enrol(api, "C")
    assert drained() == {**NOTHING, "numbered": 1, "delivered": 1}
    [event] = receiver.verified(secret)
    assert event == api.get("/billing/events").json()["data"][0]
    [(path, headers, _)] = receiver.arrived
    assert (path, headers["webhook-id"], headers["Content-Type"]) == ("/hooks", event["id"], "application/json")
    assert headers["Host"] == f"127.0.0.1:{receiver.server_port}"
    assert drained() == NOTHING
    assert len(receiver.arrived) == 1
    [delivery] = deliveries(api)
    assert (delivery["state"], delivery["attempts"], delivery["last_status"]) == ("delivered", 1, 200)
    assert (delivery["due_at"], delivery["last_error"]) == (None, None)


def test_a_receiver_with_another_secret_does_not_believe_it(api, receiver, registered):
    registered(receiver.url)
    enrol(api, "C")
    drained()
    with pytest.raises(WebhookVerificationError):
        receiver.verified(WebhookSecret.invent())
    [(_, headers, body)] = receiver.arrived
    with pytest.raises(WebhookVerificationError):
        Webhook(WebhookSecret.objects.get().secret).verify(body.replace(b"C", b"D"), headers)


def test_first_attempts_go_in_the_order_of_the_events(api, receiver, registered, monkeypatch):
    monkeypatch.setattr(models, "CHUNK", 7)
    monkeypatch.setattr(delivering, "BATCH", 5)
    registered(receiver.url)
    enrol(api, *map(str, range(40)))
    drained()
    assert receiver.sequences == list(range(1, 41))


def test_an_endpoint_gets_the_types_it_names_and_every_type_by_a_star(api, receiving, registered):
    some, every = receiving(), receiving()
    registered(some.url, events=["customer.updated"])
    registered(every.url, events=["*"])
    enrol(api, "C")
    api.patch("/billing/customers/C", {"name": "Jo"})
    drained()
    assert (some.sequences, every.sequences) == ([2], [1, 2])


def test_an_endpoint_is_told_what_is_picked_up_from_then_on(api, receiver, registered):
    enrol(api, "before")
    api.get("/billing/events")
    registered(receiver.url)
    enrol(api, "after")
    drained()
    assert receiver.sequences == [2]


def test_a_disabled_endpoint_is_told_nothing_and_what_waited_for_it_goes_on_when_it_is_enabled(
    api, receiver, registered
):
    one = registered(receiver.url)
    path = f"/billing/webhook_endpoints/{one['id']}"
    enrol(api, "waits")
    api.get("/billing/events")
    api.patch(path, {"enabled": False})
    enrol(api, "missed")
    assert drained() == {**NOTHING, "numbered": 1}
    assert receiver.arrived == []
    api.patch(path, {"enabled": True})
    drained()
    assert receiver.sequences == [1]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(api, receiver, registered, status):
    receiver.answer = lambda request: status
    registered(receiver.url)
    enrol(api, "C")
    assert drained()["delivered"] == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 400, 401, 404, 405, 409, 429, 500, 503, 599])
def test_anything_else_is_tried_again_and_redirects_are_not_followed(api, receiving, registered, status):
    receiver, elsewhere = receiving(), receiving()
    receiver.answer = lambda request: (status, {"Location": elsewhere.url})
    registered(receiver.url)
    enrol(api, "C")
    assert drained() == {**NOTHING, "numbered": 1, "failed": 1}
    [delivery] = deliveries(api)
    assert (delivery["state"], delivery["attempts"], delivery["last_status"]) == ("pending", 1, status)
    assert delivery["last_error"].startswith(f"It answered {status}")
    assert elsewhere.arrived == []
    due = Delivery.objects.get().due_at - timezone.now()
    assert timedelta(seconds=3) < due < timedelta(seconds=6.1)
    Delivery.objects.update(due_at=timezone.now())
    hurry()
    receiver.answer = lambda request: 200
    assert drained()["delivered"] == 1
    assert deliveries(api)[0]["attempts"] == 2


def test_410_disables_the_endpoint_at_once_and_says_so(api, receiver, registered, biller):
    receiver.answer = lambda request: 410
    one = registered(receiver.url)
    enrol(api, "a", "b")
    assert drained() == {**NOTHING, "numbered": 2, "failed": 1, "given_up": 1}
    assert len(receiver.arrived) == 1
    shown = api.get(f"/billing/webhook_endpoints/{one['id']}")
    assert (shown.json()["enabled"], shown.json()["disabled_reason"]) == (False, "gone")
    assert shown.headers["ETag"] == '"2"'
    assert sorted(delivery["state"] for delivery in deliveries(api)) == ["given_up", "pending"]
    [_, disabled] = apps.get_model("events", "WebhookEndpointHistory").objects.order_by("pgh_id")
    assert disabled.pgh_context == {"actor": "worker:webhooks", "reason": "It answered 410."}
    api.patch(f"/billing/webhook_endpoints/{one['id']}", {"enabled": True})
    receiver.answer = lambda request: 200
    hurry()
    drained()
    assert receiver.sequences == [1, 2]


@pytest.mark.parametrize("written", ["seconds", "date"])
def test_retry_after_is_honoured_for_the_event_and_its_endpoint(api, receiver, registered, written):
    date = format_datetime(timezone.now() + timedelta(seconds=600), usegmt=False)
    receiver.answer = lambda request: (429, {"Retry-After": "600" if written == "seconds" else date})
    registered(receiver.url)
    enrol(api, "a", "b")
    assert drained()["failed"] == 1
    due = Delivery.objects.get(sequence=1).due_at - timezone.now()
    assert timedelta(seconds=590) < due <= timedelta(seconds=600)
    free = WebhookEndpoint.objects.get().free_at - timezone.now()
    assert timedelta(seconds=590) < free <= timedelta(seconds=600)
    assert drained() == NOTHING


def test_after_three_days_it_is_given_up_and_seen_to_be(api, receiver, registered):
    receiver.answer = lambda request: 500
    registered(receiver.url)
    enrol(api, "C")
    drained()
    for begun, state in ((timedelta(hours=71), "pending"), (timedelta(hours=72), "given_up")):
        Delivery.objects.update(begun_at=timezone.now() - begun, due_at=timezone.now())
        hurry()
        drained()
        assert [delivery["state"] for delivery in deliveries(api)] == [state]
    assert deliveries(api, "&state=given_up")[0]["attempts"] == 3
    hurry()
    assert drained() == NOTHING


def test_what_waits_three_days_at_a_disabled_endpoint_is_given_up(api, receiver, registered):
    one = registered(receiver.url)
    enrol(api, "old", "new")
    api.get("/billing/events")
    api.patch(f"/billing/webhook_endpoints/{one['id']}", {"enabled": False})
    Delivery.objects.filter(sequence=1).update(due_at=timezone.now() - timedelta(days=3))
    assert drained() == {**NOTHING, "given_up": 1}
    assert [delivery["state"] for delivery in deliveries(api)] == ["pending", "given_up"]
    assert receiver.arrived == []


def test_what_waited_three_days_for_a_worker_is_still_sent(api, receiver, registered):
    registered(receiver.url)
    enrol(api, "old")
    api.get("/billing/events")
    Delivery.objects.update(due_at=timezone.now() - timedelta(days=30))
    assert drained() == {**NOTHING, "delivered": 1}


def test_a_failing_endpoint_rests_so_that_it_is_not_called_for_each_event(api, receiver, registered):
    receiver.answer = lambda request: 500
    registered(receiver.url)
    enrol(api, "a", "b", "c")
    assert drained()["failed"] == 1
    assert drained() == NOTHING
    assert WebhookEndpoint.objects.get().failures == 1
    hurry()
    drained()
    assert receiver.sequences == [1, 2]
    receiver.answer = lambda request: 200
    hurry()
    drained()
    assert (receiver.sequences, WebhookEndpoint.objects.get().failures) == ([1, 2, 3], 0)


def test_the_secret_before_a_rotation_signs_for_a_day(api, receiver, registered):
    one = registered(receiver.url)
    path = f"/billing/webhook_endpoints/{one['id']}/rotate"
    second = api.post(path).json()["secret"]
    third = api.post(path).json()["secret"]
    enrol(api, "C")
    drained()
    assert len(receiver.arrived[0][1]["webhook-signature"].split(" ")) == 3
    for secret in (one["secret"], second, third):
        assert receiver.verified(secret)
    WebhookSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now())
    receiver.arrived.clear()
    enrol(api, "D")
    drained()
    assert receiver.verified(third)
    for secret in (one["secret"], second):
        with pytest.raises(WebhookVerificationError):
            receiver.verified(secret)


def test_each_biller_is_told_its_own_events_alone(api, api_for, other, test_biller, receiving, registered):
    callers = [api, api_for(other), api_for(test_biller)]
    receivers = [receiving() for _ in callers]
    secrets = [registered(to.url, caller)["secret"] for caller, to in zip(callers, receivers, strict=True)]
    for number, caller in enumerate(callers):
        enrol(caller, f"of-{number}")
    drained()
    for number, (to, secret) in enumerate(zip(receivers, secrets, strict=True)):
        assert [event["data"]["external_reference"] for event in to.verified(secret)] == [f"of-{number}"]
        assert to.sequences == [1]


# --- Receivers that mean ill, or are ill ---


def test_a_slow_receiver_holds_up_itself_alone(api, receiving, registered, settings):
    settings.WEBHOOK_TIMEOUT_SECONDS = 3
    slow, quick = receiving(), receiving()
    slow.answer = lambda request: time.sleep(5)
    registered(slow.url)
    registered(quick.url)
    enrol(api, *map(str, range(20)))
    courier = Courier(once=True, threads=2)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(with_own_connection, courier.run)
        until = time.monotonic() + 2
        while len(quick.arrived) < 20 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(quick.arrived) == 20
        assert len(slow.arrived) == 1
        running.result()
    assert deliveries(api, "&state=pending")[-1]["last_error"] == "No answer within 3 s."


def with_own_connection(work):
    try:
        return work()
    finally:
        connections.close_all()


def drip(request, what):
    """Write so slowly that no single wait is ever long."""
    for byte in what:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize("what", ["headers", "body", "silence", "endless body", "endless headers", "rubbish", "closed"])
def test_no_answer_holds_an_attempt_longer_than_its_clock(api, receiver, registered, what):
    def answer(request):
        if what == "headers":
            drip(request, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000)
        elif what == "body":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            drip(request, b"x" * 1000)
        elif what == "silence":
            time.sleep(4)
        elif what == "endless body":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                request.wfile.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        elif what == "endless headers":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                request.wfile.write(b"X-More: x\r\n")
        elif what == "rubbish":
            request.wfile.write(b"\x00\xff\r\n\r\n")
        request.close_connection = True

    receiver.answer = answer
    registered(receiver.url)
    enrol(api, "C")
    begun = time.monotonic()
    told = drained()
    assert time.monotonic() - begun < 3.5
    assert told["delivered"] == (1 if "body" in what else 0)
    assert told["failed"] == (0 if "body" in what else 1)


def test_what_a_receiver_says_is_kept_nowhere(api, receiver, registered, caplog):
    def echo(request):
        said = request.headers["webhook-signature"]
        request.wfile.write(f"HTTP/1.1 500 {said}\r\nX-Echo: {said}\r\nContent-Length: 200\r\n\r\n".encode())
        request.wfile.write(said.encode().ljust(200))

    receiver.answer = echo
    secret = registered(receiver.url)["secret"]
    enrol(api, "C")
    drained()
    signature = receiver.arrived[0][1]["webhook-signature"]
    assert signature.removeprefix("v1,") not in str(list(Delivery.objects.values())) + caplog.text
    assert secret not in str(list(Delivery.objects.values())) + caplog.text


def test_a_certificate_that_is_not_trusted_is_refused(api, receiver, registered, settings, tmp_path):
    settings.WEBHOOK_CA_FILE = ""
    registered(receiver.url)
    enrol(api, "C")
    assert drained()["failed"] == 1
    assert receiver.arrived == []
    assert "certificate is not to be trusted" in deliveries(api)[0]["last_error"]


def test_a_certificate_of_another_host_is_refused(api, receiver, registered, authority, monkeypatch):
    receiver.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("billing.example").configure_cert(receiver.context)
    registered(receiver.url)
    enrol(api, "C")
    assert drained()["failed"] == 1
    assert receiver.arrived == []


def test_a_receiver_without_tls_gets_no_event(api, registered, allowed):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        threading.Thread(target=lambda: plain.accept()[0].sendall(b"HTTP/1.1 200 OK\r\n\r\n"), daemon=True).start()
        registered(f"https://127.0.0.1:{plain.getsockname()[1]}/")
        enrol(api, "C")
        assert drained()["failed"] == 1


def test_nobody_listening_is_a_failure_like_any(api, registered, allowed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    registered(f"https://127.0.0.1:{port}/")
    enrol(api, "C")
    assert drained()["failed"] == 1
    assert deliveries(api)[0]["last_error"] == "The connection failed: Connection refused."


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["fe80::1%eth0"]],
)
def test_a_name_is_looked_up_once_and_every_address_must_be_public(
    api, receiver, registered, settings, monkeypatch, found
):
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    asked = []

    def resolve(host, port, **_):
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in found]

    registered(f"https://hooks.example:{receiver.server_port}/")
    enrol(api, "C")
    monkeypatch.setattr("events.targets.socket.getaddrinfo", resolve)
    assert drained()["failed"] == 1
    assert asked == ["hooks.example"]
    assert receiver.arrived == []
    assert deliveries(api)[0]["last_error"] == "The host is not on the public internet."


def test_a_name_whose_address_changes_is_connected_to_at_the_address_that_was_checked(
    api, receiver, registered, authority, monkeypatch
):
    receiver.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(receiver.context)
    found = iter([["127.0.0.1"], ["192.168.0.1"], ["192.168.0.1"]])
    real = socket.getaddrinfo

    def resolve(host, port, *rest, **options):
        if host != "hooks.example":
            return real(host, port, *rest, **options)
        return [(0, 0, 0, "", (address, port)) for address in next(found)]

    registered(f"https://hooks.example:{receiver.server_port}/deep?a=b")
    enrol(api, "C")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert drained()["delivered"] == 1
    [(path, headers, _)] = receiver.arrived
    assert (path, headers["Host"]) == ("/deep?a=b", f"hooks.example:{receiver.server_port}")


def test_a_name_that_is_never_found_ends_with_the_clock(api, registered, allowed, monkeypatch):
    monkeypatch.setattr("events.targets.socket.getaddrinfo", lambda *_, **__: time.sleep(3))
    registered("https://hooks.example/")
    enrol(api, "C")
    begun = time.monotonic()
    assert drained()["failed"] == 1
    assert time.monotonic() - begun < 2.5


def test_an_endpoint_whose_network_is_no_longer_allowed_is_not_called(api, receiver, registered, settings):
    registered(receiver.url)
    enrol(api, "C")
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    assert drained()["failed"] == 1
    assert receiver.arrived == []


# --- Several workers, and the end of one ---


def test_two_workers_share_the_endpoints_and_send_nothing_twice(api, receiving, registered):
    receivers = [receiving() for _ in range(4)]
    for to in receivers:
        registered(to.url)
    enrol(api, *map(str, range(25)))
    with ThreadPoolExecutor(3) as threads:
        couriers = [Courier(once=True, threads=2) for _ in range(3)]
        done = [threads.submit(with_own_connection, courier.run) for courier in couriers]
        counts = [one.result().counts for one in done]
    assert sum(count["delivered"] for count in counts) == 100
    assert [to.sequences for to in receivers] == [list(range(1, 26))] * 4


def test_an_endpoint_that_one_worker_is_taking_is_passed_over_by_another_at_once(api, receiver, registered):
    registered(receiver.url)
    enrol(api, "C")
    api.get("/billing/events")
    with ThreadPoolExecutor(1) as thread, transaction.atomic():
        assert Courier(once=True, threads=1)._hand_out() == 1  # which is not committed yet
        other = thread.submit(with_own_connection, Courier(once=True, threads=1)._hand_out)
        assert other.result(timeout=5) == 0


def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_changes_nothing(api, receiver, registered):
    registered(receiver.url)
    enrol(api, "C")
    api.get("/billing/events")
    first = Courier(once=True, threads=1)
    assert first._hand_out() == 1
    assert Courier(once=True, threads=1)._hand_out() == 0  # leased
    hurry()
    assert drained()["delivered"] == 1
    late = first._rounds.get()
    first._serve(late)
    assert len(receiver.arrived) == 1
    assert Delivery.objects.get().attempts == 1


def test_a_worker_that_is_told_to_stop_finishes_what_it_is_at(api, receiver, registered):
    registered(receiver.url)
    enrol(api, *map(str, range(30)))
    courier = Courier(threads=2)

    def answer(request):
        courier.stop()
        time.sleep(0.2)
        return 200

    receiver.answer = answer
    courier.run()
    assert len(receiver.arrived) == 1
    assert Delivery.objects.filter(state="delivered").count() == 1
    assert WebhookEndpoint.objects.get().free_at <= timezone.now()
    receiver.answer = lambda request: 200
    drained()
    assert receiver.sequences == list(range(1, 31))


def test_the_url_is_not_called_any_more_once_a_change_of_it_is_answered(api, receiving, registered):
    old, new = receiving(), receiving()
    one = registered(old.url)
    enrol(api, *map(str, range(10)))

    def answer(request):
        api.patch(f"/billing/webhook_endpoints/{one['id']}", {"url": new.url})
        connections.close_all()
        return 200

    old.answer = answer
    drained()
    assert (old.sequences, new.sequences) == ([1], list(range(2, 11)))


# --- The command ---

WRITE = """
import django, sys
django.setup()
from billers.acts import perform
from billers.models import Biller
from customers.models import Customer
biller = Biller.objects.get(reference="acme", mode="live")
for number in range(int(sys.argv[1])):
    perform(biller, "test", lambda act: Customer.objects.enrol(act, external_reference=f"{sys.argv[2]}-{number}"))
"""


def test_a_worker_that_is_killed_at_any_moment_loses_nothing(api, receiving, registered, environment):
    receivers = [receiving() for _ in range(3)]
    for place, to in enumerate(receivers):
        to.answer = lambda request, place=place: time.sleep(0.005 * place) or (500 if random.random() < 0.02 else 200)
        registered(to.url)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, "100", f"w{number}"], cwd=settings.BASE_DIR, env=environment)
        for number in range(2)
    ]
    kills = 0
    while kills < 8 or any(writer.poll() is None for writer in writers):
        running = worker(environment)
        time.sleep(random.uniform(0.8, 2.2))
        running.kill()
        running.communicate()
        kills += 1
        # Waiting times are not what is tried here.
        Delivery.objects.filter(state="pending").update(due_at=timezone.now())
    until = time.monotonic() + 60
    while (time.monotonic() < until and Delivery.objects.exclude(state="delivered").exists()) or unnumbered():
        Delivery.objects.filter(state="pending").update(due_at=timezone.now())
        hurry()
        worker(environment, "--once").communicate()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(Event.objects.values_list("sequence", flat=True)) == list(range(1, 201))
    assert Delivery.objects.count() == 600
    for to in receivers:
        assert set(to.sequences) == set(range(1, 201))
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


@pytest.mark.parametrize("moment", ["connected", "asked"])
def test_a_worker_that_is_killed_with_an_event_in_its_hands_sends_it_again(
    api, receiver, registered, environment, moment
):
    registered(receiver.url)
    enrol(api, "C")
    running = []

    def kill(*_):
        if running:
            running.pop().kill()
            time.sleep(0.2)
        return 200

    setattr(receiver, "greet" if moment == "connected" else "answer", kill)
    first = worker(environment)
    running.append(first)
    assert first.wait(30) == -signal.SIGKILL
    assert receiver.sequences == ([] if moment == "connected" else [1])
    time.sleep(2.1)  # until its lease has run out
    assert json.loads(worker(environment, "--once", "--json").communicate()[0])["delivered"] == 1
    assert receiver.sequences == ([1] if moment == "connected" else [1, 1])
    assert Delivery.objects.get().state == "delivered"


def unnumbered():
    return Event.objects.filter(sequence=None).exists()


def test_once_drains_and_tells_the_counts_as_json(api, receiver, registered, environment):
    registered(receiver.url)
    enrol(api, "a", "b")
    told, _ = worker(environment, "--once", "--json").communicate()
    assert json.loads(told) == {"numbered": 2, "delivered": 2, "failed": 0, "given_up": 0}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_worker_politely(api, receiver, registered, environment, number):
    registered(receiver.url)
    enrol(api, "a")
    running = worker(environment)
    until = time.monotonic() + 20
    while not receiver.arrived and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(number)
    told, _ = running.communicate(timeout=10)
    assert (running.returncode, told) == (0, "numbered: 1, delivered: 1, failed: 0, given up: 0\n")


STARTER = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "manage.py", "deliver_webhooks", "--with-parent", str(os.getpid())])
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("lives", [0, 2])
def test_a_worker_ends_with_the_process_that_started_it_however_early(environment, db, lives):
    starter = [sys.executable, "-c", STARTER, str(lives)]
    parent = subprocess.Popen(starter, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True)
    # The worker holds the other end of the pipe until it is gone.
    assert parent.stdout.read() == "numbered: 0, delivered: 0, failed: 0, given up: 0\n"
    parent.wait()
