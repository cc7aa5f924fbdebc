"""How many statements a payment, a reversal and a lookup send, BEGIN and COMMIT counted, once the key is known."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def statements(till):
    """Do something as the partner and return its statements."""

    def sent(action, *expected):
        till.get("/partner/billers")  # from now on the key is known
        with CaptureQueriesContext(connection) as captured:
            response = action()
        assert response.status_code in expected, response.content
        return [query["sql"] for query in captured.captured_queries]

    return sent


def test_a_payment_of_one_obligation_sends_10(statements, pay, owe):
    bill = owe(100)
    sent = statements(lambda: pay(amount=100, obligation=bill["id"]), 201)
    # BEGIN, the key, the biller, the reference, the lock, payment and entry, the bill, the events, the answer, COMMIT.
    assert (len(sent), sent[0], sent[-1]) == (10, "BEGIN", "COMMIT")
    [lock] = [sql for sql in sent if "FOR NO KEY UPDATE" in sql]
    assert "bills_bill" in lock


def test_a_payment_of_many_bills_sends_as_many_however_many_they_are(statements, pay, owe, api):
    owe(1, customer={"external_reference": "c"})
    payer = api.get("/billing/customers/c").json()["id"]
    counts = []
    for number in (3, 30):
        for _ in range(number):
            owe(1, customer="c")
        amount = sum(bill["amount_remaining"] for bill in api.get("/billing/bills?limit=100").json()["data"])
        paid = statements(lambda: pay(amount=amount, payer=payer, allocations="oldest_first"), 201)  # noqa: B023 called at once
        counts.append(len(paid))
    assert counts[0] == counts[1] <= 12


def test_a_reversal_sends_as_many_however_much_it_undoes(statements, pay, undo, owe):
    counts = []
    for number in (1, 3, 30):
        owe(1, customer={"external_reference": f"c{number}"})
        bills = [owe(1, customer=f"c{number}")["id"] for _ in range(number)]
        paid = pay(amount=number, allocations=[{"obligation": bill, "amount": 1} for bill in bills]).json()
        counts.append(len(statements(lambda: undo(paid["external_reference"]), 201)))  # noqa: B023 called at once
    assert len(set(counts)) == 1
    assert counts[0] <= 15


def test_what_is_known_already_is_answered_without_a_lock_on_what_it_paid(statements, pay, owe):
    bill = owe(100)
    pay(amount=5, obligation=bill["id"], external_reference="T")
    sent = statements(lambda: pay(amount=5, obligation=bill["id"], external_reference="T"), 200)
    assert not [sql for sql in sent if "FOR NO KEY UPDATE" in sql]


def test_lists_and_single_payments_send_1(statements, till, pay, owe):
    counts = set()
    for number in (3, 30):
        for _ in range(number):
            pay(amount=1, obligation=owe(1)["id"])
        counts.add(len(statements(lambda: till.get("/partner/payments?limit=100&biller=acme"), 200)))
        counts.add(len(statements(lambda: till.get("/partner/payments/T-0"), 200)))
    assert counts == {1}
