"""Staff undo a payment in place of whoever took it; the taker sees it as its own reversal, and there is one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from billers.acts import perform
from bills.models import Bill
from core.refusals import Missing
from ledger.models import Entry
from payments.models import Payment, Reversal


def undone(biller, key, reason="Charged back"):
    return perform(biller, "staff:thandi", lambda act: Payment.objects.undo_for_taker(act, key, reason), reason=reason)


@pytest.mark.parametrize("by_partner", [True, False])
def test_the_taker_sees_it_and_its_own_late_reversal_is_answered_with_this_one(
    api, till, pay, undo, owe, biller, by_partner
):
    caller, path = (till, "/partner/payments") if by_partner else (api, "/billing/payments")
    taken = pay(caller, path, obligation=owe()["id"], amount=500).json()
    reversal, is_new = undone(biller, taken["id"])
    assert is_new
    seen = caller.get(f"{path}/{taken['id']}").json()
    assert (seen["status"], seen["reversal_reason"]) == ("REVERSED", "Charged back")
    late = undo(taken["id"], caller, path)
    assert (late.status_code, late.json()["id"], late.json()["reason"]) == (200, reversal.pk, "Charged back")
    assert undone(biller, taken["id"], "Again") == (reversal, False)
    assert Bill.objects.get().amount_paid == 0
    assert Reversal.objects.get().partner_id == Payment.objects.get().partner_id


def test_no_key_reaches_it_a_partners_payment_stays_out_of_the_billers_hands(api, pay, undo, owe):
    taken = pay(obligation=owe()["id"], amount=500).json()
    refused = undo(taken["id"], api, "/billing/payments")
    assert (refused.status_code, refused.json()["code"]) == (404, "payment_not_found")
    assert Reversal.objects.count() == 0


def test_another_billers_payment_is_absent(pay, owe, other):
    taken = pay(obligation=owe()["id"], amount=500).json()
    for key in (taken["id"], taken["id"][:-1] + ("0" if taken["id"][-1] != "0" else "1")):
        with pytest.raises(Missing, match="There is no payment"):
            undone(other, key)
    assert Reversal.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_staff_and_the_partner_who_undo_it_at_once_leave_one_reversal(api_for, partner, pay, owe, biller):
    taken = [pay(obligation=owe()["id"], amount=500).json()["id"] for _ in range(10)]
    callers = {key: api_for(partner) for key in taken}

    def both(key):
        meeting = threading.Barrier(2)

        def by_staff():
            try:
                meeting.wait()
                return undone(biller, key)[1]
            finally:
                connections.close_all()

        def by_partner():
            try:
                meeting.wait()
                path = f"/partner/payments/{key}/reverse"
                return callers[key].post(path, {"reason": "No answer"}, Idempotency_Key=f"u-{key}").status_code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            staff, partner = pool.submit(by_staff), pool.submit(by_partner)
            return staff.result(), partner.result()

    for key in taken:
        assert both(key) in {(True, 200), (False, 201)}
    assert Reversal.objects.count() == Entry.objects.filter(kind="reversal").count() == len(taken)
    assert set(Bill.objects.values_list("amount_paid", flat=True)) == {0}
