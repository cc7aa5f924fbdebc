"""The server and the worker are killed under load, again and again: what was acknowledged is there once, and told."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.core.management import call_command
from receivers import worker

from bench.serving import OURS, Server, url_of_scratch
from billers.models import ApiKey
from bills.models import Bill
from events.models import Delivery, Event, State, Type
from payments.models import Payment, Reversal

pytestmark = pytest.mark.django_db(transaction=True)
CLERKS = 6
SECONDS_TO_GO_ON = 60


@pytest.fixture
def server():
    """A server that the test may kill and start again."""
    server = Server(OURS, {"DATABASE_URL": url_of_scratch(), "LOG_LEVEL": "ERROR"})
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server_port(server):
    """Callers call whichever server listens at this moment."""
    return server.port


class Worker:
    """The worker, which is killed and started as the server is."""

    def __init__(self, environment):
        self.environment = environment

    def start(self):
        self.process = worker(self.environment)

    def kill(self):
        with self.process:
            self.process.kill()


@pytest.fixture
def courier(environment):
    """A worker that the test may kill and start again."""
    courier = Worker(environment)
    courier.start()
    yield courier
    courier.kill()


class Clerk:
    """Takes payments at a partner's till, reverses some, and repeats each request until it is acknowledged.

    `paid` and `undone` are the acknowledgements by reference; `unanswered` has, for each request that was sent and not
    answered, how many times the server had been killed.
    """

    def __init__(self, till, name, bills, kills):
        self.till, self.name, self.bills, self.kills = till, name, bills, kills
        self.lot = random.Random(name)
        self.paid, self.undone, self.unanswered = {}, {}, []

    def work(self, ending):
        for number in count():
            if ending.is_set():
                return
            reference = f"{self.name}-{number}"
            body = {"obligation": self.lot.choice(self.bills), "amount": self.lot.randint(1, 99), "currency": "ZAR"}
            body |= {"external_reference": reference, "method": "cash"}
            self.paid[reference] = self.insist("/partner/payments", body, f"pay-{reference}")
            if self.lot.random() < 0.2:
                path = f"/partner/payments/{reference}/reverse"
                self.undone[reference] = self.insist(path, {"reason": "Wrong bill"}, f"undo-{reference}")

    def insist(self, path, body, key):
        """Return the answer of a request, sent again under the same key or a new one while there is none."""
        until, again = time.monotonic() + SECONDS_TO_GO_ON, ""
        while True:
            assert time.monotonic() < until, f"{key} is never acknowledged."
            try:
                status, content, _ = self.till("POST", path, body, Idempotency_Key=key + again)
                answer = json.loads(content)
            except ConnectionRefusedError:
                time.sleep(0.05)  # nobody is there
            except (OSError, http.client.HTTPException, ValueError):
                self.unanswered.append(len(self.kills))
                again = self.lot.choice([again, f"-{len(self.unanswered)}"])
            else:
                assert status in {200, 201}, answer
                return answer


def wait_for(what, seconds=SECONDS_TO_GO_ON):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "Nothing goes on."
        time.sleep(0.005)


def kill_again_and_again(process, times, done, kills):
    """Kill a process and start it again, each time a random while after it has done something more.

    `done` counts what it does; `kills` gets what it had done by each.
    """
    for _ in range(times):
        more = done() + random.randint(1, 40)
        wait_for(lambda more=more: done() >= more)
        time.sleep(random.uniform(0, 0.05))
        kills.append(more)
        process.kill()
        process.start()


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.prove)])
def test_what_is_acknowledged_is_there_once_and_told_however_often_server_and_worker_are_killed(
    receiver, registered, partner, bills, server, courier, callers, times
):
    secret = registered(receiver.url)["secret"]
    receiver.answer = lambda request: time.sleep(random.uniform(0, 0.02)) or 200
    till = callers(ApiKey.objects.issue(partner)[1])
    kills, ending = [], threading.Event()
    clerks = [Clerk(till, f"T{number}", bills, kills) for number in range(CLERKS)]

    def acknowledged():
        return sum(len(clerk.paid) for clerk in clerks)

    with ThreadPoolExecutor(CLERKS + 2) as threads:
        working = [threads.submit(clerk.work, ending) for clerk in clerks]
        killing = [
            threads.submit(kill_again_and_again, server, times, acknowledged, kills),
            threads.submit(kill_again_and_again, courier, times, lambda: len(receiver.arrived), []),
        ]
        try:
            for killer in killing:
                killer.result()
        finally:
            ending.set()
        for clerk in working:
            clerk.result()
    met = {number for clerk in clerks for number in clerk.unanswered}
    assert len(met) > times // 2, "Most kills met no request."

    paid = {reference: answer for clerk in clerks for reference, answer in clerk.paid.items()}
    undone = {reference: answer for clerk in clerks for reference, answer in clerk.undone.items()}
    ids = {answer["id"] for answer in paid.values()}
    held = Payment.objects.values_list("external_reference", "id")
    assert sorted(held) == sorted((reference, answer["id"]) for reference, answer in paid.items())
    held = Reversal.objects.values_list("payment_id", "id")
    assert sorted(held) == sorted((answer["payment_id"], answer["id"]) for answer in undone.values())
    amounts = Counter(dict.fromkeys(bills, 0))
    for reference, answer in paid.items():
        [share] = answer["allocations"]
        amounts[share["obligation"]] += 0 if reference in undone else share["amount"]
    assert dict(Bill.objects.values_list("pk", "amount_paid")) == amounts
    call_command("check_ledger")

    wait_for(lambda: not Event.objects.filter(sequence=None).exists())
    wait_for(lambda: not Delivery.objects.exclude(state=State.DELIVERED).exists())
    told = receiver.verified(secret)
    of_setup = 1 + len(bills)
    sequences = range(1, of_setup + len(paid) + len(undone) + 1)
    assert sorted(Event.objects.values_list("sequence", flat=True)) == list(sequences)
    assert {event["sequence"] for event in told} == set(sequences)
    assert {event["data"]["payment_id"] for event in told if event["type"] == Type.AMOUNT_APPLIED} == ids
    assert {event["data"]["id"] for event in told if event["type"] == Type.PAYMENT_REVERSED} == {
        answer["payment_id"] for answer in undone.values()
    }
