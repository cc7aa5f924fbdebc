"""Partners whose lines break at every stage: what they believe in the end is what there is. Contract, section 3."""

import http.client
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from cutting import STAGES, BadLine
from django.core.management import call_command

from billers.models import ApiKey
from bills.models import Bill
from events.models import Event, Type
from ledger.models import Entry, Kind
from payments.models import Payment, Reference, Reversal

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 12
PAYMENTS = 500
ANSWERS = {
    ("pay", 201, None),
    ("pay", 200, None),
    ("pay", 409, "payment_reversed"),
    ("undo", 201, None),
    ("undo", 200, None),
    ("undo", 202, None),
}


class Sale:
    """A payment as the partner sees it that takes it over a bad line; `told` is every answer that arrived whole."""

    def __init__(self, till, reference, bills):
        self.till, self.reference, self.numbers, self.told = till, reference, count(), []
        self.lot = random.Random(reference)
        self.shares = {bill: self.lot.randint(1, 99) for bill in self.lot.sample(bills, self.lot.choice([1, 1, 2]))}

    def settle(self):
        """Pay and reverse, in any order and any number of times, until an answer says what became of it.

        From the first attempt to reverse on, a payment's answer settles nothing any more, since that attempt may have
        arrived, or may yet; the answer of a reversal does, since nothing undoes one.
        """
        reversing = False
        settled = self.pay()
        while not settled or (not reversing and self.lot.random() < 0.2):
            if self.lot.random() < 0.5:
                settled = self.pay() and not reversing
            else:
                reversing = True
                settled = self.undo()
        return self

    def pay(self):
        """Pay, and return whether that was answered."""
        allocations = [{"obligation": bill, "amount": amount} for bill, amount in self.shares.items()]
        paid = {"amount": sum(self.shares.values()), "currency": "ZAR", "method": "cash", "allocations": allocations}
        return self._is_answered("pay", "/partner/payments", {"external_reference": self.reference, **paid})

    def undo(self):
        """Reverse, and return whether that was answered."""
        return self._is_answered("undo", f"/partner/payments/{self.reference}/reverse", {"reason": "No answer"})

    def _is_answered(self, what, path, body):
        number = next(self.numbers)
        assert number < 200, f"{self.reference} is never answered."
        key = f"{what}-{self.reference}"
        if self.lot.random() < 0.5:
            key += f"-{number}"
        try:
            status, content, _ = self.till("POST", path, body, Idempotency_Key=key)
            answer = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError):
            return False  # a part of an answer is none
        self.told.append((what, status, answer))
        return True

    @property
    def believed(self):
        """The status and the id that the payment has by what the partner was told last; None if it was never taken."""
        what, _, answer = self.told[-1]
        if what == "pay":
            return ("ACCEPTED", answer["id"])
        return answer["payment_id"] and ("REVERSED", answer["payment_id"])


def held(till, references):
    """Return the same of each reference as the system answers it."""

    def ask(reference):
        status, content, _ = till("GET", f"/partner/payments/{reference}")
        answer = json.loads(content)
        assert status in {200, 404}, answer
        return reference, (answer["status"], answer["id"]) if status == 200 else None

    with ThreadPoolExecutor(THREADS) as asking:
        return dict(asking.map(ask, references))


def test_what_partners_believe_whose_lines_break_at_any_stage_is_what_there_is(partner, bills, callers, server_port):
    key = ApiKey.objects.issue(partner)[1]
    with BadLine(server_port, seed=PAYMENTS) as line, ThreadPoolExecutor(THREADS) as partners:
        till = callers(key, line.port)
        sales = list(partners.map(lambda number: Sale(till, f"T{number}", bills).settle(), range(PAYMENTS)))
    assert set(STAGES) < set(line.stages)
    assert {(what, status, answer.get("code")) for sale in sales for what, status, answer in sale.told} <= ANSWERS
    for sale in sales:
        # In whatever order it was asked, every answer is about the same payment, or every one says that there is none.
        assert len({answer.get("id" if what == "pay" else "payment_id") for what, _, answer in sale.told}) == 1

    believed = {sale.reference: sale.believed for sale in sales}
    assert held(callers(key), believed) == believed

    taken = [sale for sale in sales if sale.believed]
    undone = [sale for sale in taken if sale.believed[0] == "REVERSED"]
    assert Reference.objects.count() == PAYMENTS
    assert (Payment.objects.count(), Reversal.objects.count()) == (len(taken), len(undone))
    shares = sum(len(sale.shares) for sale in taken)
    assert Entry.objects.filter(kind=Kind.PAYMENT).count() == shares
    assert Event.objects.filter(type=Type.AMOUNT_APPLIED).count() == shares
    assert Event.objects.filter(type=Type.PAYMENT_REVERSED).count() == len(undone)
    paid = Counter(dict.fromkeys(bills, 0))
    for sale in taken:
        paid.update(sale.shares if sale not in undone else {})
    assert dict(Bill.objects.values_list("pk", "amount_paid")) == paid
    call_command("check_ledger")
