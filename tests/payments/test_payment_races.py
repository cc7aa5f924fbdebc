"""Payers at the same moment, over HTTP with real COMMITs: nothing is taken twice, nothing is lost. Issue: the proof."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Sum

from accounts.models import Account
from billers.acts import perform
from billers.models import ApiKey
from bills.models import Bill
from customers.models import Customer
from ledger.models import Entry
from payments.models import Payment, Reference, Reversal

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 20


@pytest.fixture
def till(callers, partner):
    """Call the served API as the partner."""
    return callers(ApiKey.objects.issue(partner)[1])


@pytest.fixture
def owe(biller):
    """Make bills of one amount under one customer; return their ids."""

    def issue(number, amount):
        known = Customer.objects.for_biller(biller).filter(external_reference="C").exists()
        owner = "C" if known else {"external_reference": "C", "name": "Ann", "currency": "ZAR", "balance": 0}
        bill = {"external_reference": f"B-{number}", "currency": "ZAR", "amount_due": amount, "customer": owner}
        return perform(biller, "test", lambda act: Bill.objects.issue(act, **bill)).pk

    def owed(count, amount):
        return [issue(number, amount) for number in range(count)]

    return owed


def at_once(action, items, threads=THREADS):
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(action, items))


def pay(till, reference, amount, key=None, **paid):
    body = {"external_reference": reference, "currency": "ZAR", "method": "cash", "amount": amount, **paid}
    return till("POST", "/partner/payments", body, Idempotency_Key=key or f"pay-{reference}")


def undo(till, reference, key):
    return till("POST", f"/partner/payments/{reference}/reverse", {"reason": "x"}, Idempotency_Key=key)


def codes(answers):
    return sorted({(status, json.loads(content).get("code")) for status, content, _ in answers}, key=str)


def deadlocks():
    time.sleep(1.5)
    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


def test_of_200_full_payers_of_one_bill_one_is_accepted(till, owe):
    [bill] = owe(1, 500)
    answers = at_once(lambda n: pay(till, f"T{n}", 500, obligation=bill), range(200))
    assert sum(status == 201 for status, *_ in answers) == 1
    assert codes(answers) == [(201, None), (409, "obligation_settled")]
    assert Bill.objects.get().amount_paid == 500
    assert Payment.objects.count() == Entry.objects.count() == 1
    call_command("check_ledger")


def test_500_payments_each_reversed_twice_at_once_come_back_to_zero(till, owe):
    bills = owe(25, 10_000)

    def pay_and_undo(number):
        paid, *_ = pay(till, f"T{number}", 7, obligation=bills[number % len(bills)])
        with ThreadPoolExecutor(2) as both:
            undone = list(both.map(lambda turn: undo(till, f"T{number}", f"undo-{number}-{turn}")[0], range(2)))
        return paid, *sorted(undone)

    assert set(at_once(pay_and_undo, range(500))) == {(201, 200, 201)}
    assert Reversal.objects.count() == Payment.objects.count() == 500
    assert Entry.objects.filter(kind="reversal").count() == 500
    assert Bill.objects.aggregate(left=Sum("amount_paid"))["left"] == 0
    call_command("check_ledger")


def test_a_payment_and_its_reversal_that_meet_leave_nothing_paid(till, owe):
    [bill] = owe(1, 10_000)

    def meet(number):
        def act(turn):
            if turn % 2:
                return undo(till, f"T{number}", f"undo-{number}-{turn}")[0]
            return pay(till, f"T{number}", 7, key=f"pay-{number}-{turn}", obligation=bill)[0]

        with ThreadPoolExecutor(4) as together:
            return list(together.map(act, range(4) if number % 2 else (1, 0, 3, 2)))

    answers = at_once(meet, range(60), threads=5)
    assert {status for one in answers for status in one} <= {200, 201, 202, 409}
    remembered = Reference.objects.filter(payment_id=None).count()
    assert Payment.objects.count() == Reversal.objects.count() == 60 - remembered
    assert Bill.objects.get().amount_paid == 0
    call_command("check_ledger")


def test_one_reference_sent_under_50_keys_is_one_payment(till, owe):
    [bill] = owe(1, 10_000)
    answers = at_once(lambda n: pay(till, "same", 7, key=f"key-{n}", obligation=bill), range(50))
    assert sorted(status for status, *_ in answers) == [*[200] * 49, 201]
    assert len({json.loads(content)["id"] for _, content, _ in answers}) == 1
    assert (Payment.objects.count(), Bill.objects.get().amount_paid) == (1, 7)


def test_64_payers_of_different_bills_do_not_wait_for_each_other(till, owe):
    first, *others = owe(64, 10)
    with ThreadPoolExecutor(64) as payers:
        with transaction.atomic():
            # Whoever pays the first bill waits for us; the other 63, of the same customer, do not.
            Bill.objects.filter(pk=first).locked().get()
            waiting = payers.submit(pay, till, "first", 10, obligation=first)
            paid = [payers.submit(pay, till, f"T{n}", 10, obligation=bill) for n, bill in enumerate(others)]
            assert {answer.result()[0] for answer in paid} == {201}
            assert not waiting.done()
        assert waiting.result()[0] == 201


def test_payers_of_bills_of_balances_and_oldest_first_take_their_locks_in_one_order(till, owe, biller):
    bills = owe(6, 200)
    customer = Customer.objects.get()
    perform(biller, "test", lambda act: Customer.objects.amend(act, customer.pk, balance=2_000))
    account = perform(
        biller,
        "test",
        lambda act: Account.objects.open(
            act, external_reference="A", currency="ZAR", balance=2_000, customer=Customer.objects.get()
        ),
    )
    before = deadlocks()

    def act(number):
        if number % 4 == 0:
            return pay(till, f"T{number}", 3, payer=customer.pk, allocations="oldest_first")
        ids = [bills[number % 6], customer.pk, account.pk, bills[(number + 1) % 6]]
        if number % 4 == 1:
            ids.reverse()
        listed = [{"obligation": one, "amount": 1} for one in ids]
        if number % 4 == 2:
            return pay(till, f"T{number}", 4, allocations=listed)
        return pay(till, f"T{number}", 4, allocations=listed[::-1])

    answers = at_once(act, range(120))
    assert codes(answers) == [(201, None)]
    assert deadlocks() == before
    taken = 30 * 3 + 90 * 4
    paid = Bill.objects.aggregate(paid=Sum("amount_paid"))["paid"]
    balances = 4_000 - Customer.objects.get().balance - Account.objects.get().balance
    assert paid + balances == taken
    call_command("check_ledger")
