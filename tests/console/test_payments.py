"""Staff record payments, undo them and find them; what is refused is said beside its field and moves nothing."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection
from django.urls import reverse

from accounts.models import Account
from billers.acts import perform
from billers.models import Enablement, Partner
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry
from payments.models import PayerReference, Payment, Reference, Reversal
from payments.payer_references import is_payer_reference


def page(record_or_model, name="change"):
    opts = record_or_model._meta
    args = [] if name in {"add", "changelist"} else [quote(record_or_model.pk)]
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args)


def standing():
    """Everything that a refusal must leave as it is."""
    tables = (Customer, Account, Bill, Entry, Event, Payment, Reversal, Reference, PayerReference, LogEntry)
    return [list(model._default_manager.order_by("pk").values()) for model in tables]


def said(form):
    return {name: list(errors) for name, errors in form.errors.items()}


@pytest.fixture
def partner(biller):
    partner = Partner.objects.found(name="Corner Shops", reference="corner")["live"]
    Enablement.objects.enable(partner, [biller])
    return partner


@pytest.fixture
def paid(biller):
    """Take a payment through the verb, of a partner or of the biller itself."""

    def take(obligation, amount=500, reference="T-1", partner=None, method="cash"):
        asked = {"external_reference": reference, "amount": amount, "currency": "ZAR", "method": method}
        payment, _ = perform(
            None if partner else biller,
            "api:test",
            lambda act: Payment.objects.collect(act, b"x" * 32, partner=partner, obligation=obligation.pk, **asked),
        )
        return payment

    return take


@pytest.fixture
def record(staff, biller):
    """Fill in the form, and confirm what it says it would do."""

    def fill(*, confirmed=True, **fields):
        address = f"{page(Payment, 'add')}?biller={biller.pk}"
        opened = staff.get(address).context["adminform"].form
        body = {name: opened[name].value() or "" for name in ("external_reference", "method", "seen")}
        body |= {name: getattr(value, "pk", value) for name, value in fields.items()}
        answer = staff.post(address, body)
        form = answer.context["adminform"].form if answer.status_code == 200 else None
        if confirmed and form is not None and form.effect:
            answer = staff.post(address, {**body, "seen": form["seen"].value()})
        return answer

    return fill


# --- Recorded ---


def test_a_payment_is_shown_with_its_effect_first_and_recorded_when_that_is_confirmed(record, staff, bill, biller):
    before = standing()
    shown = record(bill=bill, amount="5.00", confirmed=False)
    effect = f"ZAR 5.00 for bill {bill}, of which ZAR 15.00 then remains."
    assert effect in shown.content.decode()
    assert "Nothing is recorded yet." in shown.content.decode()
    assert "Please correct" not in shown.content.decode()
    assert standing() == before
    done = record(bill=bill, amount="5.00", note="Till 3", method="card")
    payment = Payment.objects.get()
    assert (done.status_code, done["Location"]) == (302, page(payment))
    assert (payment.partner_id, payment.amount, payment.currency, payment.method) == (None, 500, "ZAR", "card")
    assert (payment.actor, payment.metadata) == ("staff:thandi", {"note": "Till 3"})
    assert re.fullmatch(r"DESK-\d{8}-[2-9A-Z]{6}", payment.external_reference)
    bill.refresh_from_db()
    assert (bill.amount_paid, bill.status) == (500, "UNPAID")
    entry = Entry.objects.get(payment_id=payment.pk)
    assert (entry.kind, entry.amount, entry.actor) == ("payment", 500, "staff:thandi")
    assert f"Recorded: {effect}" in staff.get(done["Location"]).content.decode()


def test_an_effect_that_became_another_meanwhile_is_shown_again(record, staff, bill, biller, paid):
    address = f"{page(Payment, 'add')}?biller={biller.pk}"
    body = {"bill": bill.pk, "amount": "5.00", "method": "cash", "external_reference": "R-1"}
    seen = staff.post(address, body).context["adminform"].form["seen"].value()
    paid(bill, 300)
    before = standing()
    again = staff.post(address, {**body, "seen": seen}).context["adminform"].form
    assert again.effect == f"ZAR 5.00 for bill {bill}, of which ZAR 12.00 then remains."
    assert standing() == before


def test_a_form_sent_twice_records_one_payment(record, bill):
    for _ in range(2):
        assert record(bill=bill, amount="5.00", external_reference="R-1").status_code == 302
    assert Payment.objects.count() == 1
    assert Entry.objects.filter(kind="payment").count() == 1


def test_an_account_and_a_customer_are_paid_on_their_balance_or_their_bills(record, account, bill, customer, made):
    assert record(account=account, amount="10.00").status_code == 302
    assert record(customer=customer, amount="20.00").status_code == 302
    second = made(Bill.objects.issue, external_reference="B-2", customer=customer.pk, currency="ZAR", amount_due=700)
    assert record(customer=customer, amount="25.00", oldest_first="on").status_code == 302
    for row in (account, customer, bill, second):
        row.refresh_from_db()
    assert (account.balance, customer.balance) == (4000, 0)
    assert (bill.amount_paid, second.amount_paid) == (2000, 500)


@pytest.mark.parametrize(
    ("fields", "place", "sentence"),
    [
        ({"amount": "20.01"}, "amount", "No more than ZAR 20.00 is owed."),
        ({"amount": "0.00"}, "amount", "A payment is of 1 to 999,999,999,999 minor units."),
        ({"amount": "-5.00"}, "amount", "A payment is of 1 to 999,999,999,999 minor units."),
        ({"amount": "5.001"}, "amount", "ZAR has 2 decimals."),
        ({"amount": "five"}, "amount", "Write an amount such as 1250.00, without spaces, commas or a currency sign."),
        ({"amount": ""}, "amount", "This field is required."),
        ({"currency": "JPY", "amount": "5"}, "currency", "It is owed in ZAR, not in JPY."),
        ({"external_reference": "a b"}, "external_reference", "1 to 64 of A-Z a-z 0-9 . _ -"),
        ({"external_reference": ""}, "external_reference", "This field is required."),
        ({"external_reference": "TAKEN"}, "external_reference", "This reference stands for another payment."),
        ({"method": "barter"}, "method", "Select a valid choice. barter is not one of the available choices."),
        ({"note": "4111 1111 1111 1111"}, "note", "This looks like the number of a card, which is nothing to keep."),
        ({"note": "x" * 501}, "note", "Ensure this value has at most 500 characters (it has 501)."),
        ({"bill": ""}, "__all__", "Choose a bill, an account or a customer: the one that was paid."),
        ({"oldest_first": "on"}, "oldest_first", "A bill has no bills: choose an account or a customer."),
    ],
)
def test_what_is_refused_is_said_beside_its_field_and_nothing_moves(
    record, bill, account, paid, fields, place, sentence
):
    paid(account, reference="TAKEN")
    before = standing()
    answer = record(**{"bill": bill, "amount": "5.00", **fields})
    assert said(answer.context["adminform"].form) == {place: [sentence]}
    assert sentence in answer.content.decode().replace("&#x27;", "'")
    assert standing() == before


def test_what_cannot_be_paid_is_said_beside_what_was_chosen(record, made, bill, customer):
    made(Bill.objects.void, key=bill.pk)
    untracked = made(Account.objects.open, external_reference="U", customer=customer.pk, currency="ZAR")
    before = standing()
    for fields, sentence in (
        ({"bill": bill}, "The bill is void."),
        ({"account": untracked}, "The account carries no balance that could be paid."),
    ):
        answer = record(**fields, amount="1.00")
        assert said(answer.context["adminform"].form) == {next(iter(fields)): [sentence]}
    assert standing() == before


def test_another_billers_records_cannot_be_chosen(record, billers, bill):
    theirs = perform(
        billers["test"],
        "api:test",
        lambda act: Bill.objects.issue(
            act, external_reference="X", currency="ZAR", amount_due=5, customer={"external_reference": "XC"}
        ),
    )
    before = standing()
    answer = record(bill=theirs, amount="0.01")
    assert list(said(answer.context["adminform"].form)) == ["bill"]
    assert standing() == before


# --- Undone ---


@pytest.mark.parametrize("by_partner", [True, False])
def test_a_payment_is_undone_with_a_reason_whoever_took_it(staff, bill, paid, partner, by_partner):
    payment = paid(bill, partner=partner if by_partner else None)
    asked = staff.get(page(payment, "reverse"))
    assert f"ZAR 5.00 of bill {bill} will count as not paid." in asked.content.decode()
    assert ("Corner Shops took it" in asked.content.decode()) == by_partner
    done = staff.post(page(payment, "reverse"), {"reason": "Paid the wrong bill"})
    assert (done.status_code, done["Location"]) == (302, page(payment))
    reversal = Reversal.objects.get()
    assert (reversal.payment_id, reversal.partner_id) == (payment.pk, payment.partner_id)
    assert (reversal.reason, reversal.actor) == ("Paid the wrong bill", "staff:thandi")
    bill.refresh_from_db()
    assert bill.amount_paid == 0
    told = staff.get(page(payment)).content.decode()
    assert "Paid the wrong bill" in told
    assert "Reversed" in told


def test_a_reversal_needs_a_reason_and_is_done_once(staff, bill, paid):
    payment = paid(bill)
    before = standing()
    assert "This field is required" in staff.post(page(payment, "reverse"), {"reason": ""}).content.decode()
    assert standing() == before
    staff.post(page(payment, "reverse"), {"reason": "Wrong"})
    before = standing()
    assert staff.post(page(payment, "reverse"), {"reason": "Wrong again"}).status_code == 403
    assert standing() == before


def test_undoing_for_the_taker_knows_no_other_billers_payments(billers, bill, paid):
    payment = paid(bill)
    with pytest.raises(Exception, match="There is no payment"):
        perform(billers["test"], "staff:x", lambda act: Payment.objects.undo_for_taker(act, payment.pk, "Mine"))
    assert Reversal.objects.count() == 0


# --- Found and read ---


@pytest.fixture
def find(staff, biller):
    def look(query="", **filters):
        answer = staff.get(page(Payment, "changelist"), {"biller": biller.pk, "q": query, **filters})
        assert answer.status_code == 200, answer
        return sorted(row.external_reference for row in answer.context["cl"].result_list)

    return look


def test_payments_are_found_by_reference_id_and_what_they_paid(find, bill, account, customer, paid, partner):
    first, second = paid(bill, reference="A-1"), paid(account, reference="A-2", partner=partner)
    assert find("A-1") == ["A-1"]
    assert find("A") == []
    assert find(first.pk) == ["A-1"]
    assert find(partner.pk) == ["A-2"]
    assert find(bill.pk) == ["A-1"]
    assert find(account.pk) == find(customer.pk) == ["A-1", "A-2"]
    assert find(second.pk[:-1]) == []


def test_payments_are_filtered_by_method_currency_taker_state_and_day(find, staff, bill, account, paid, partner):
    paid(bill, reference="own", method="card")
    other = paid(account, reference="theirs", partner=partner)
    staff.post(page(other, "reverse"), {"reason": "Wrong"})
    assert find(method__exact="card") == ["own"]
    assert find(currency="ZAR") == ["own", "theirs"]
    assert find(currency="EUR") == []
    assert find(taker="biller") == ["own"]
    assert find(taker=partner.pk) == ["theirs"]
    assert find(reversed="yes") == ["theirs"]
    assert find(reversed="no") == ["own"]
    assert find(obligation=bill.pk) == ["own"]
    assert find(obligation="x") == []
    today = bill.biller.today()
    days = {name: (today + timedelta(days=n)).isoformat() for name, n in (("before", -1), ("today", 0), ("after", 1))}
    assert find(created_at_from=days["today"], created_at_to=days["today"]) == ["own", "theirs"]
    assert find(created_at_to=days["before"]) == find(created_at_from=days["after"]) == []
    assert find(created_at_from="x") == ["own", "theirs"]


def test_a_day_is_one_of_the_billers_calendar(find, bill, paid):
    payment = paid(bill)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE payments_payment DISABLE TRIGGER USER")
        # Johannesburg is two hours ahead: this is the first minute of the 2nd of March.
        moment = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
        cursor.execute("UPDATE payments_payment SET created_at = %s", [moment])
        cursor.execute("ALTER TABLE payments_payment ENABLE TRIGGER USER")
    assert find(created_at_from="2026-03-02", created_at_to="2026-03-02") == [payment.external_reference]
    assert find(created_at_to="2026-03-01") == []


def test_a_payments_page_tells_what_it_paid_and_its_entries(staff, bill, paid, partner):
    payment = paid(bill, partner=partner)
    told = staff.get(page(payment)).content.decode()
    for text in (page(bill), "ZAR 5.00", "ZAR 15.00", "Corner Shops", "Accepted", page(payment, "reverse")):
        assert text in told, text
    assert page(Entry.objects.get(payment_id=payment.pk)) in told


def test_the_pages_of_what_was_paid_and_its_entries_lead_to_the_payment(staff, customer, account, bill, paid):
    payment = paid(bill)
    for record in (bill, account, customer, Entry.objects.get(payment_id=payment.pk)):
        assert page(payment) in staff.get(page(record)).content.decode(), record
    listed = staff.get(page(Entry, "changelist"), {"biller": bill.biller_id}).content.decode()
    assert page(payment) in listed


def test_a_payment_is_never_changed_nor_deleted(staff, bill, paid):
    payment = paid(bill)
    before = standing()
    assert staff.post(page(payment), {"external_reference": "other", "amount": "1"}).status_code == 403
    assert staff.post(page(payment, "delete"), {"post": "yes"}).status_code == 403
    assert standing() == before


def test_who_may_only_look_is_offered_no_payment_and_no_reversal(client, django_user_model, bill, paid):
    from django.contrib.auth.models import Permission  # noqa: PLC0415 of this test alone

    payment = paid(bill)
    reader = django_user_model.objects.create_user("reader", password="x", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_payment"))
    client.force_login(reader)
    before = standing()
    assert client.get(page(payment)).status_code == 200
    assert page(payment, "reverse") not in client.get(page(payment)).content.decode()
    assert client.post(page(payment, "reverse"), {"reason": "x"}).status_code == 403
    assert client.get(page(Payment, "add"), follow=True).status_code == 403
    assert standing() == before


# --- Payer references ---


def test_staff_make_a_payer_reference_and_find_it_by_its_digits(staff, biller, customer, account, bill):
    address = f"{page(PayerReference, 'add')}?biller={biller.pk}"
    for name, record in (("bill", bill), ("account", account), ("customer", customer)):
        assert staff.post(address, {name: record.pk}).status_code == 302
        given = PayerReference.objects.of(biller.pk, record.pk)
        assert is_payer_reference(given.digits)
        assert given.digits in staff.get(page(record)).content.decode()
        spaced = f"{given.digits[:4]} {given.digits[4:]}"
        answer = staff.get(page(PayerReference, "changelist"), {"biller": biller.pk, "q": spaced})
        assert [row.pk for row in answer.context["cl"].result_list] == [given.pk]
        assert staff.get(page(given)).status_code == 200
    assert staff.post(address, {"bill": bill.pk}).status_code == 302
    assert PayerReference.objects.count() == 3


@pytest.mark.parametrize("fields", [{}, {"bill": "x"}, "two"])
def test_a_payer_reference_is_of_one_thing_that_exists(staff, biller, bill, account, fields):
    fields = {"bill": bill.pk, "account": account.pk} if fields == "two" else fields
    answer = staff.post(f"{page(PayerReference, 'add')}?biller={biller.pk}", fields)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert PayerReference.objects.count() == 0
