"""Real threads against the served API, with real COMMITs: nothing is lost, nothing is done twice."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from django.conf import settings
from django.db import connection, transaction

from accounts.models import Account
from billers.models import ApiKey, Biller
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry

THREADS = 20


@pytest.fixture
def call(callers):
    """Call the served API with the key of a biller."""
    biller = Biller.objects.found(name="Racer", reference="racer")["live"]
    return callers(ApiKey.objects.issue(biller)[1])


def at_once(action, items):
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(action, items))


def deadlocks():
    """Return how many deadlocks PostgreSQL has broken in this database, once the sessions have told it."""
    time.sleep(1.5)
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_200_equal_requests_under_one_key_give_one_bill_and_200_equal_answers(call):
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "C"}}
    answers = at_once(lambda _: call("POST", "/billing/bills", body, Idempotency_Key="same"), range(200))
    assert {(status, content) for status, content, _ in answers} == {(201, answers[0][1])}
    replayed = [headers for _, _, headers in answers if headers.get("idempotent-replayed") == "true"]
    assert len(replayed) == 199
    assert (Bill.objects.count(), Customer.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_200_writers_on_one_bill_lose_nothing(call):
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 10_000, "customer": {"external_reference": "C"}}
    call("POST", "/billing/bills", body)

    def write(number):
        if number % 2:
            return call("PATCH", "/billing/bills/B", {"amount_paid": number})[0]
        return call("PATCH", "/billing/bills/B", {"metadata": {f"w{number // 2 % 10}": str(number)}})[0]

    assert set(at_once(write, range(200))) == {200}
    bill = Bill.objects.get()
    entries = list(Entry.objects.order_by("sequence"))
    assert (len(entries), bill.entry_count) == (100, 100)
    assert sum(entry.amount for entry in entries) == bill.amount_paid == entries[-1].total
    assert [entry.sequence for entry in entries] == list(range(1, 101))
    assert set(bill.metadata) == {f"w{number}" for number in range(10)}
    assert bill.version == 201
    totals = [0, *(entry.total for entry in entries)]
    assert [entry.amount for entry in entries] == [after - before for before, after in pairwise(totals)]
    assert {entry.total for entry in entries} == set(range(1, 200, 2))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/billing/customers/C", "/billing/accounts/A", "/billing/bills/B{}"])
def test_puts_at_once_of_one_record_lose_nothing_of_it(call, path):
    """A customer and an account, each by its own address or through the bills that hang on them."""
    account = {"external_reference": "A", "customer": {"external_reference": "C"}}
    assert call("PUT", "/billing/bills/B", {"currency": "ZAR", "amount_due": 5, "account": account})[0] == 201

    def put(number):
        told = {"metadata": {f"k{number % 10}": str(number // 10)}}
        owner = {"external_reference": "C", **told}
        body = {"/billing/customers/C": told, "/billing/accounts/A": {**told, "customer": owner}}.get(
            path, {"currency": "ZAR", "amount_due": 5, "account": {**account, **told, "customer": owner}}
        )
        return call("PUT", path.format(number), body)[0]

    for turn in range(6):
        assert set(at_once(put, range(10 * turn, 10 * turn + 10))) <= {200, 201}
        told = {f"k{number}": str(turn) for number in range(10)}
        assert Customer.objects.get().metadata == told
        assert Account.objects.get().metadata == (told if "customers" not in path else {})


@pytest.mark.django_db(transaction=True)
def test_increments_guarded_by_if_match_add_up(call):
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 10_000, "customer": {"external_reference": "C"}}
    call("POST", "/billing/bills", body)

    def add_one(_):
        while True:
            _, content, headers = call("GET", "/billing/bills/B")
            paid = json.loads(content)["amount_paid"] + 1
            status, _, _ = call("PATCH", "/billing/bills/B", {"amount_paid": paid}, If_Match=headers["etag"])
            if status == 200:
                return
            assert status == 412

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(40)))
    assert Bill.objects.get().amount_paid == 40


@pytest.mark.django_db(transaction=True)
def test_40_upserts_of_one_new_reference_make_one_record(call):
    body = {"currency": "ZAR", "amount_due": 5, "customer": {"external_reference": "C", "name": "Jo"}}
    answers = at_once(
        lambda number: call("PUT", "/billing/bills/B", {**body, "description": str(number)})[0], range(40)
    )
    assert sorted(answers) == [200] * 39 + [201]
    assert (Bill.objects.count(), Customer.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_composites_in_opposite_order_do_not_deadlock(call):
    for name in ("1", "2"):
        account = {"external_reference": f"A{name}", "customer": {"external_reference": "C"}}
        body = {"currency": "ZAR", "amount_due": 5, "account": account}
        assert call("PUT", f"/billing/bills/B{name}", body)[0] == 201

    def change(number):
        text = str(number)
        if number % 3 == 0:
            return call("PATCH", "/billing/bills/B1", {"description": text, "customer": {"name": text}})[0]
        if number % 3 == 1:
            return call("PATCH", "/billing/customers/C", {"name": text})[0]
        return call("PATCH", "/billing/bills/B2", {"amount_paid": number, "account": {"name": text}})[0]

    assert set(at_once(change, range(120))) == {200}


@pytest.mark.django_db(transaction=True)
def test_writers_of_the_same_records_from_both_ends_take_one_order_of_locks(call):
    for name in ("1", "2"):
        account = {"external_reference": f"A{name}", "customer": {"external_reference": f"C{name}"}}
        for bill in (f"B{name}", f"D{name}"):
            body = {"currency": "ZAR", "amount_due": 5, "account": account}
            assert call("PUT", f"/billing/bills/{bill}", body)[0] == 201

    def change(number):
        text = str(number)
        name = "12"[number % 2]
        nested = {"name": text, "customer": {"name": text}}
        method = "PUT" if number // 4 % 2 else "PATCH"
        if method == "PUT":
            nested = {**nested, "external_reference": f"A{name}"}
            nested["customer"]["external_reference"] = f"C{name}"
        # The fields come bill first, or owner first; the locks are taken in one order all the same.
        fields = [("description", text), ("amount_paid", number), ("account", nested)]
        if number % 3 == 0:
            fields.reverse()
        status = call(method, f"/billing/bills/{'BD'[number // 2 % 2]}{name}", dict(fields))[0]
        # From the other end: the customer alone, then the account alone.
        others = [call("PATCH", f"/billing/{path}{name}", {"name": text})[0] for path in ("customers/C", "accounts/A")]
        return status, *others

    before = deadlocks()
    assert set(at_once(change, range(80))) == {(200, 200, 200)}
    # A deadlock is tried again, so it would cost time rather than an answer.
    assert deadlocks() == before


@pytest.mark.django_db(transaction=True)
def test_a_bill_under_a_locked_customer_does_not_wait(call):
    call("POST", "/billing/customers", {"external_reference": "C"})
    body = {"external_reference": "B", "currency": "ZAR", "amount_due": 5, "customer": "C"}
    with ThreadPoolExecutor(1) as waiting:
        with transaction.atomic():
            assert Customer.objects.filter(external_reference="C").locked().get()
            # A writer of the customer itself waits, so the lock is one; the bill's answer comes meanwhile.
            renamed = waiting.submit(call, "PATCH", "/billing/customers/C", {"name": "Jo"})
            begun = time.monotonic()
            assert call("POST", "/billing/bills", body)[0] == 201
            assert time.monotonic() - begun < settings.LOCK_WAIT_SECONDS / 2
            assert not renamed.done()
        assert renamed.result()[0] == 200


@pytest.mark.django_db(transaction=True)
def test_the_lock_is_a_lock():
    with transaction.atomic():
        assert "FOR NO KEY UPDATE OF" in str(Bill.objects.locked().query)
