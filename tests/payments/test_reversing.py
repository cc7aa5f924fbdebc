"""Undoing a payment: whole, once, in any order with the payment itself. Contract, section 3."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum

from core.ids import uuid_of
from events.models import Event
from ledger.models import Entry
from payments.models import Payment, Reference, Reversal

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_reversal_mirrors_the_entries_and_edits_nothing(api, pay, undo, owe):
    bill = owe(2000)
    paid = pay(amount=2000, obligation=bill["id"]).json()
    before = list(Entry.objects.order_by("id").values())
    undone = undo("T-0", reason="Wrong customer")
    assert undone.status_code == 201
    told = undone.json()
    assert (told.pop("id")[:4], told.pop("created_at")[-1]) == ("rev_", "Z")
    assert told == {
        "status": "REVERSED",
        "payment_id": paid["id"],
        "external_reference": "T-0",
        "amount": 2000,
        "currency": "ZAR",
        "reason": "Wrong customer",
    }
    *kept, mirrored = Entry.objects.order_by("id").values()
    assert kept == before
    assert (mirrored["kind"], mirrored["amount"], mirrored["total"]) == ("reversal", -2000, 0)
    assert (mirrored["payment_id"], mirrored["reason"]) == (paid["id"], "Wrong customer")
    again = api.get(f"/billing/bills/{bill['id']}").json()
    assert (again["amount_paid"], again["status"]) == (0, "UNPAID")


def test_everything_a_payment_paid_is_undone_exactly(api, till, pay, undo, owe):
    customer = {"external_reference": "c", "currency": "ZAR", "balance": 70, "payment_rules": {}}
    api.post("/billing/customers", {**customer, "payment_rules": {"overpayment_allowed": True}})
    bills = [owe(100, customer="c") for _ in range(3)]
    payer = api.get("/billing/customers/c").json()["id"]
    assert pay(amount=350, payer=payer, allocations="oldest_first").status_code == 201
    assert api.get("/billing/customers/c").json()["balance"] == 20
    assert undo("T-0").status_code == 201
    assert api.get("/billing/customers/c").json()["balance"] == 70
    assert {api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] for bill in bills} == {0}
    mirrored = Entry.objects.filter(payment_id__isnull=False).values("obligation_id").annotate(left=Sum("amount"))
    assert {one["left"] for one in mirrored} == {0}


@pytest.mark.parametrize("kind", ["customer", "account"])
def test_the_currency_of_a_balance_stays_while_a_payment_of_it_may_come_back(api, pay, undo, kind):
    body = {"external_reference": "x", "currency": "ZAR", "balance": 30}
    owner = {"customer": {"external_reference": "c"}} if kind == "account" else {}
    owed = api.post(f"/billing/{kind}s", {**body, **owner}).json()
    pay(amount=30, obligation=owed["id"])
    for currency in ("USD", None):
        refused = api.patch(f"/billing/{kind}s/x", {"balance": None, "currency": currency})
        assert (refused.status_code, refused.json()["code"]) == (422, f"{kind}_currency_fixed_by_payments")
    assert undo("T-0").status_code == 201
    again = api.get(f"/billing/{kind}s/x").json()
    assert (again["balance"], again["currency"]) == (30, "ZAR")
    assert api.patch(f"/billing/{kind}s/x", {"balance": 0}).status_code == 200
    assert api.patch(f"/billing/{kind}s/x", {"currency": "USD"}).status_code == 200


def test_the_payment_tells_that_it_was_reversed(api, till, pay, undo, owe):
    pay(amount=5, obligation=owe()["id"])
    undo("T-0", reason="Card declined")
    for told in (
        till.get("/partner/payments/T-0").json(),
        till.get("/partner/payments").json()["data"][0],
        api.get("/billing/payments/T-0").json(),
        api.get("/billing/payments?reversed=true").json()["data"][0],
    ):
        assert (told["status"], told["reversal_reason"]) == ("REVERSED", "Card declined")
        assert told["reversed_at"] > told["created_at"]
    assert api.get("/billing/payments?reversed=false").json()["data"] == []


def test_a_reversal_is_told_as_an_event(pay, undo, owe):
    paid = pay(amount=5, obligation=owe()["id"]).json()
    Event.objects.all().delete()
    undo("T-0", reason="Oops")
    [event] = Event.objects.all()
    assert event.type == "payment.reversed"
    told = {"id": paid["id"], "external_reference": "T-0", "amount": 5, "currency": "ZAR", "reason": "Oops"}
    assert event.body == {**told, "allocations": paid["allocations"]}


@pytest.mark.parametrize("by", ["id", "reference"])
def test_a_repeated_reversal_is_the_same_one(pay, undo, owe, by):
    paid = pay(amount=5, obligation=owe()["id"]).json()
    key = paid["id"] if by == "id" else "T-0"
    first, second, third = undo(key), undo(key, reason="Another reason"), undo("T-0")
    assert (first.status_code, second.status_code, third.status_code) == (201, 200, 200)
    assert first.json() == second.json() == third.json()
    assert Reversal.objects.count() == Entry.objects.filter(kind="reversal").count() == 1


def test_a_reversal_before_its_payment_is_remembered_and_the_late_payment_refused(api, pay, undo, owe, refused):
    bill = owe(10)
    early = undo("T-0", reason="No answer")
    assert early.status_code == 202
    told = dict(early.json())
    assert told.pop("created_at")
    assert told == {
        "id": None,
        "status": "REMEMBERED",
        "payment_id": None,
        "external_reference": "T-0",
        "amount": None,
        "currency": None,
        "reason": "No answer",
    }
    again = undo("T-0", reason="Still none")
    assert (again.status_code, again.json()) == (200, early.json())
    for _ in range(2):
        late = pay(amount=10, obligation=bill["id"], external_reference="T-0")
        refused(late, 409, ("payment_reversed", "/external_reference"))
    assert api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] == 0
    assert Payment.objects.count() == Entry.objects.count() == 0


def test_a_payment_repeated_after_its_reversal_is_the_original_reversed(till, owe, undo):
    body = {"external_reference": "T", "currency": "ZAR", "method": "cash", "amount": 5, "obligation": owe()["id"]}
    first = till.post("/partner/payments", body, Idempotency_Key="one").json()
    undo("T")
    again = till.post("/partner/payments", body, Idempotency_Key="two")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (200, first["id"], "REVERSED")
    assert Entry.objects.count() == 2


def test_a_bill_whose_payment_was_undone_can_be_paid_and_voided_again(api, pay, undo, owe):
    bill = owe(10)
    pay(amount=10, obligation=bill["id"])
    undo("T-0")
    assert pay(amount=10, obligation=bill["id"]).status_code == 201
    undo("T-1")
    assert api.post(f"/billing/bills/{bill['id']}/void", {}, Idempotency_Key="v").status_code == 200


@pytest.mark.parametrize("body", [{}, {"reason": None}, {"reason": ""}, {"reason": " "}, {"reason": 5}, {"why": "x"}])
def test_a_reversal_needs_a_reason(till, pay, owe, body):
    pay(amount=5, obligation=owe()["id"])
    response = till.post("/partner/payments/T-0/reverse", body, Idempotency_Key="u")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert Reversal.objects.count() == 0


def test_a_reason_holds_500_characters_and_no_more(pay, undo, owe):
    pay(amount=5, obligation=owe()["id"])
    assert undo("T-0", reason="x" * 501).status_code == 400
    assert undo("T-0", reason="x" * 500).status_code == 201


def test_a_reversal_needs_an_idempotency_key(till):
    response = till.post("/partner/payments/T-0/reverse", {"reason": "x"})
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_required")
    assert Reference.objects.count() == 0


def test_an_id_that_is_no_payment_of_the_partner_is_not_found(api_for, other_partner, pay, undo, owe):
    paid = pay(amount=5, obligation=owe()["id"]).json()
    for caller, key in ((None, "pay_0000000000000000000000"), (api_for(other_partner), paid["id"])):
        response = undo(key, **({"caller": caller} if caller else {}))
        assert (response.status_code, response.json()["code"]) == (404, "payment_not_found")
    assert Reversal.objects.count() == 0
    assert Reference.objects.count() == 1


@pytest.mark.parametrize("key", ["x" * 65, "a b", "%C3%A9", "a%2Fb"])
def test_a_reference_that_no_payment_can_have_is_not_remembered(undo, key):
    assert undo(key).status_code == 404
    assert Reference.objects.count() == 0


def test_another_partners_reversal_of_the_same_reference_is_its_own(api_for, other_partner, api, pay, undo, owe):
    bill = owe(10)
    pay(amount=5, obligation=bill["id"])
    theirs = undo("T-0", caller=api_for(other_partner))
    assert (theirs.status_code, theirs.json()["status"]) == (202, "REMEMBERED")
    assert api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] == 5


# --- The biller's own -------------------------------------------------------------------------------------------------


def test_a_biller_undoes_what_it_took_itself_and_nothing_else(api, api_for, other, pay, undo, owe):
    bill = owe(100)
    pay(amount=5, obligation=bill["id"])
    own = pay(caller=api, path="/billing/payments", amount=7, obligation=bill["id"]).json()
    theirs = undo("T-0", caller=api, path="/billing/payments")
    assert (theirs.status_code, theirs.json()["code"]) == (404, "payment_not_found")
    stranger = undo(own["id"], caller=api_for(other), path="/billing/payments")
    assert (stranger.status_code, stranger.json()["code"]) == (404, "payment_not_found")
    assert undo("T-1", caller=api, path="/billing/payments").status_code == 201
    assert undo(own["id"], caller=api, path="/billing/payments").status_code == 200
    assert api.get(f"/billing/bills/{bill['id']}").json()["amount_paid"] == 5


def test_a_biller_that_reverses_an_unknown_reference_is_told_so(api, undo):
    response = undo("T-9", caller=api, path="/billing/payments")
    assert (response.status_code, response.json()["code"]) == (404, "payment_not_found")
    assert Reference.objects.count() == 0


def test_an_amount_paid_does_not_fall_below_the_payments(api, pay, undo, owe):
    bill = owe(100, amount_paid=10)
    pay(amount=50, obligation=bill["id"])
    path = f"/billing/bills/{bill['id']}"
    below = api.patch(path, {"amount_paid": 49})
    assert (below.status_code, below.json()["code"]) == (422, "amount_paid_below_payments")
    assert api.get(path).json()["amount_paid"] == 60
    assert api.patch(path, {"amount_paid": 50}).json()["amount_paid"] == 50
    undo("T-0")
    assert api.get(path).json()["amount_paid"] == 0
    assert api.patch(path, {"amount_paid": 5}).json()["amount_paid"] == 5
    assert api.patch(path, {"amount_paid": 0}).json()["amount_paid"] == 0


# --- What the database holds --------------------------------------------------------------------------------------


def break_at_commit(sql, *values):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.fixture
def paid(pay, owe):
    return Payment.objects.get(pk=pay(amount=5, obligation=owe(10)["id"]).json()["id"])


def test_a_payment_without_its_entries_cannot_commit(paid):
    with pytest.raises(IntegrityError, match="does not agree with its entries"):
        break_at_commit(
            """
            INSERT INTO payments_payment (id, biller_id, external_reference, amount, currency, method, metadata,
                allocations, amount_remaining, actor)
            SELECT gen_random_uuid(), biller_id, 'loose', 5, 'ZAR', 'cash', '{}', '[]', 0, 'sql' FROM payments_payment
            """
        )


def test_a_payment_of_another_amount_than_its_entries_cannot_commit(paid):
    with pytest.raises(IntegrityError, match="does not agree with its entries"):
        break_at_commit(
            """
            INSERT INTO ledger_entry (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind,
                payment_id, actor)
            SELECT gen_random_uuid(), biller_id, obligation_kind, obligation_id, 2, 1, 6, 'payment', payment_id, 'sql'
            FROM ledger_entry;
            UPDATE bills_bill SET amount_paid = 6, entry_count = 2
            """
        )


def test_a_reversal_without_its_entries_cannot_commit(paid):
    with pytest.raises(IntegrityError, match="does not agree with its entries"):
        break_at_commit(
            """
            INSERT INTO payments_reversal (id, biller_id, payment_id, reason, actor)
            SELECT gen_random_uuid(), biller_id, id, 'none', 'sql' FROM payments_payment
            """
        )


def test_an_entry_of_a_reversal_that_nobody_made_cannot_commit(paid):
    with pytest.raises(IntegrityError, match="does not agree with its entries"):
        break_at_commit(
            """
            INSERT INTO ledger_entry (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind,
                payment_id, actor)
            SELECT gen_random_uuid(), biller_id, obligation_kind, obligation_id, 2, -5, 0, 'reversal', payment_id, 'sql'
            FROM ledger_entry;
            UPDATE bills_bill SET amount_paid = 0, entry_count = 2
            """
        )


def test_a_payment_is_reversed_once(paid, undo):
    undo("T-0")
    with pytest.raises(IntegrityError, match="payment_reversed"):
        Reversal(biller=paid.biller, payment_id=paid.pk, reason="x", actor="sql").save(force_insert=True)


def test_an_entry_names_a_payment_of_its_own_biller(paid, other):
    with pytest.raises(IntegrityError, match="entry_of_payment"):
        break_at_commit(
            """
            INSERT INTO ledger_entry (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind,
                payment_id, actor)
            SELECT gen_random_uuid(), %s, obligation_kind, obligation_id, 1, 5, 5, 'payment', payment_id, 'sql'
            FROM ledger_entry
            """,
            uuid_of(other.pk),
        )


@pytest.mark.parametrize(
    ("kind", "payment"),
    [("payment", "NULL"), ("reversal", "NULL"), ("adjustment", "payment_id"), ("import", "payment_id")],
)
def test_entries_of_payments_and_no_others_name_one(paid, kind, payment):
    with pytest.raises(IntegrityError, match="entry_names_its_payment"):
        break_at_commit(
            f"""
            INSERT INTO ledger_entry (id, biller_id, obligation_kind, obligation_id, sequence, amount, total, kind,
                payment_id, actor)
            SELECT gen_random_uuid(), biller_id, obligation_kind, obligation_id, 2, 1, 6, '{kind}', {payment}, 'sql'
            FROM ledger_entry
            """
        )


@pytest.mark.parametrize("table", ["payments_payment", "payments_reversal"])
@pytest.mark.parametrize("change", ["UPDATE {} SET actor = 'x'", "DELETE FROM {}"])
def test_payments_and_reversals_are_written_once(paid, undo, table, change):
    undo("T-0")
    with pytest.raises(DatabaseError, match="Cannot update or delete"):
        break_at_commit(change.format(table))


def test_sql_cannot_take_an_amount_paid_below_the_payments(paid):
    with pytest.raises(IntegrityError, match="amount_paid_below_payments"):
        break_at_commit("UPDATE bills_bill SET amount_paid = 4")
