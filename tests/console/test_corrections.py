import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.urls import reverse

from accounts.models import Account
from billers.models import ApiKey, Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry


def page(record_or_model, name="change"):
    opts = record_or_model._meta
    args = [] if name in {"add", "changelist"} else [quote(record_or_model.pk)]
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args)


def fields_of(staff, address):
    """What a browser would send back from a form that nobody touched."""
    form = staff.get(address, follow=True).context["adminform"].form
    return {name: value if (value := form[name].value()) is not None else "" for name in form.fields}


def save(staff, record, **changes):
    return staff.post(page(record), {**fields_of(staff, page(record)), **changes})


def said(answer):
    return answer.context["errors"] if answer.status_code == 200 else f"saved: {answer.status_code}"


def standing():
    """Everything that a refusal must leave as it is."""
    return [
        list(model._default_manager.order_by("pk").values())
        for model in (Biller, ApiKey, Customer, Account, Bill, Entry, Event, LogEntry)
    ]


def test_a_form_nobody_touched_changes_nothing(staff, bill, account, customer):
    before = standing()[:-1]
    for record in (customer, account, bill):
        assert save(staff, record).status_code == 302
    assert standing()[:-1] == before


def test_enrolling_a_customer_writes_its_opening_entry_in_the_name_of_the_clerk(staff, biller):
    answer = staff.post(
        page(Customer, "add"),
        {
            "external_reference": "C-1",
            "name": "Jane",
            "phone": "+27821234567",
            "currency": "ZAR",
            "balance": "20.00",
            "min_amount": "1.50",
            "overpayment_allowed": "yes",
            "metadata": '{"route": "17"}',
            "reason": "Old system",
        },
    )
    assert answer.status_code == 302, said(answer)
    customer = Customer.objects.get(external_reference="C-1")
    assert (customer.biller, customer.balance, customer.email) == (biller, 2000, None)
    assert customer.payment_rules == {"min_amount": 150, "overpayment_allowed": True}
    assert customer.metadata == {"route": "17"}
    entry = Entry.objects.get()
    assert (entry.kind, entry.amount, entry.actor, entry.reason) == ("opening", 2000, "staff:thandi", "Old system")
    assert Event.objects.get().type == "customer.created"


def test_correcting_a_balance_writes_the_difference_with_its_reason(staff, customer):
    assert save(staff, customer, balance="50.00", reason="Meter misread").status_code == 302
    entry = Entry.objects.latest("sequence")
    assert (entry.kind, entry.amount, entry.total) == ("adjustment", 3000, 5000)
    assert (entry.actor, entry.reason) == ("staff:thandi", "Meter misread")
    customer.refresh_from_db()
    assert customer.balance == 5000


def test_the_audit_trail_knows_the_clerk_the_reason_and_the_request(staff, customer):
    staff.post(
        page(customer),
        {**fields_of(staff, page(customer)), "name": "Johnny", "reason": "Asked on the phone"},
        headers={"X-Request-Id": "req-7"},
    )
    history = customer._meta.apps.get_model("customers", "CustomerHistory").objects.latest("pgh_id")
    context = {"actor": "staff:thandi", "reason": "Asked on the phone", "request_id": "req-7"}
    assert (history.name, history.pgh_context) == ("Johnny", context)


def test_a_changed_amount_needs_a_reason(staff, bill):
    before = standing()
    answer = save(staff, bill, amount_paid="20.00")
    assert answer.context["adminform"].form.errors == {"reason": ["Say why the amount changes."]}
    assert standing() == before


def test_a_stale_form_is_refused_and_overwrites_nothing(staff, customer, made):
    opened = fields_of(staff, page(customer))
    made(Customer.objects.amend, key=customer.pk, name="Changed meanwhile")
    before = standing()
    answer = staff.post(page(customer), {**opened, "name": "Mine"})
    assert "Nothing was saved" in str(said(answer))
    assert standing() == before


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("amount_due", "0.00", "A bill asks for 1 to 999,999,999,999 minor units."),
        ("amount_due", "-1", "A bill asks for 1 to 999,999,999,999 minor units."),
        ("amount_due", "20.001", "ZAR has 2 decimals."),
        ("amount_due", "1e3", "Write an amount such as 1250.00"),
        ("amount_due", "1,000.00", "Write an amount such as 1250.00"),
        ("amount_due", "٢٠", "Write an amount such as 1250.00"),
        ("amount_due", "10000000000.00", "At most ZAR 9,999,999,999.99."),
        ("amount_due", "", "This field is required."),
        ("amount_paid", "", "This field is required."),
        ("amount_paid", "-0.01", "The amount paid is 0 to 999,999,999,999 minor units."),
        ("min_amount", "x", "Write an amount such as 1250.00"),
        ("due_date", "32/13/2026", "Enter a valid date."),
        ("metadata", "[1]", "Send an object."),
        ("metadata", '{"a": 1}', "A value is text of at most 500 characters."),
        ("metadata", '{"a": "\\u0000"}', "No NUL character"),
        ("metadata", '{"a": "\\ud800"}', "No NUL character"),
        ("metadata", "{", "Enter a valid JSON."),
        ("metadata", json.dumps({str(key): "x" for key in range(11)}), "At most 10 keys."),
        ("description", "x" * 501, "at most 500 characters"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_moves(staff, bill, field, text, sentence):
    before = standing()
    answer = save(staff, bill, **{field: text, "reason": "Try"})
    assert sentence in str(said(answer))
    assert standing() == before


def test_a_minimum_above_the_maximum_is_refused_in_the_words_of_the_rule(staff, bill):
    before = standing()
    answer = save(staff, bill, min_amount="5.00", max_amount="1.00")
    assert "the minimum amount is above the maximum" in str(said(answer))
    assert standing() == before


def test_a_taken_reference_is_said_beside_its_field(staff, customer):
    before = standing()
    answer = staff.post(page(Customer, "add"), {"external_reference": customer.external_reference})
    assert "is in use" in str(answer.context["adminform"].form.errors["external_reference"])
    assert standing() == before


def test_metadata_taken_out_of_the_form_goes(staff, customer):
    assert save(staff, customer, metadata='{"a": "1", "b": "2"}').status_code == 302
    assert save(staff, customer, metadata='{"b": "3"}').status_code == 302
    customer.refresh_from_db()
    assert customer.metadata == {"b": "3"}


def test_a_currency_without_decimals_takes_whole_amounts(staff, made):
    customer = made(Customer.objects.enrol, external_reference="JP", currency="JPY", balance=20)
    assert fields_of(staff, page(customer))["balance"] == "20"
    assert "JPY has no decimals." in str(said(save(staff, customer, balance="20.0", reason="Try")))
    assert save(staff, customer, balance="21", reason="Right").status_code == 302
    customer.refresh_from_db()
    assert customer.balance == 21


def test_a_balance_can_stop_being_tracked_only_at_zero(staff, customer):
    assert "only when it is 0" in str(said(save(staff, customer, balance="", reason="Stop")))
    assert save(staff, customer, balance="0.00", reason="Written off").status_code == 302
    assert save(staff, customer, balance="", reason="Stop").status_code == 302
    customer.refresh_from_db()
    assert customer.balance is None


def test_opening_an_account_under_a_chosen_customer(staff, customer):
    answer = staff.post(page(Account, "add"), {"customer": customer.pk, "external_reference": "A-9"})
    assert answer.status_code == 302, said(answer)
    assert Account.objects.get(external_reference="A-9").customer_id == customer.pk


def test_issuing_a_bill_under_an_account(staff, account, biller):
    answer = staff.post(
        page(Bill, "add"),
        {
            "account": account.pk,
            "external_reference": "B-9",
            "currency": "ZAR",
            "amount_due": "20.00",
            "amount_paid": "5",
        },
    )
    assert answer.status_code == 302, said(answer)
    bill = Bill.objects.get(external_reference="B-9")
    assert (bill.customer_id, bill.account_id) == (account.customer_id, account.pk)
    assert (bill.amount_due, bill.amount_paid, bill.bill_date) == (2000, 500, biller.today())


def test_a_bill_of_nobody_is_refused(staff, biller):
    before = standing()
    answer = staff.post(page(Bill, "add"), {"external_reference": "B", "currency": "ZAR", "amount_due": "1"})
    assert "Choose a customer or an account" in str(said(answer))
    assert standing() == before


def test_an_account_of_another_customer_is_refused_beside_the_customer(staff, account, made):
    other = made(Customer.objects.enrol, external_reference="OTHER")
    before = standing()
    answer = staff.post(
        page(Bill, "add"),
        {"customer": other.pk, "account": account.pk, "external_reference": "B", "currency": "ZAR", "amount_due": "1"},
    )
    assert answer.context["adminform"].form.errors["customer"] == ["The account belongs to another customer."]
    assert standing() == before


def test_voiding_needs_a_reason_and_tells_what_it_does(staff, bill):
    address = reverse("admin:bills_bill_void", args=[quote(bill.pk)])
    assert "ZAR 20.00" in staff.get(address).content.decode()
    before = standing()
    assert staff.post(address, {"reason": ""}).status_code == 200
    assert standing() == before
    assert staff.post(address, {"reason": "Issued twice", "version": bill.version}).status_code == 302
    bill.refresh_from_db()
    assert (bill.status, bill.void_reason) == ("VOIDED", "Issued twice")


def test_a_bill_with_money_on_it_cannot_be_voided(staff, bill, made):
    made(Bill.objects.amend, key=bill.pk, amount_paid=1)
    before = standing()
    answer = staff.post(reverse("admin:bills_bill_void", args=[quote(bill.pk)]), {"reason": "Try"})
    assert "A bill with money on it cannot be void" in answer.content.decode()
    assert standing() == before


def test_a_void_bill_takes_no_change_and_offers_no_second_void(staff, bill, made):
    made(Bill.objects.void, key=bill.pk)
    before = standing()
    assert "no change but metadata" in str(said(save(staff, bill, amount_due="5.00", reason="Try")))
    assert staff.post(reverse("admin:bills_bill_void", args=[quote(bill.pk)]), {"reason": "Again"}).status_code == 403
    assert standing() == before


def test_founding_a_biller_makes_both_modes(staff, db):
    fields = {**fields_of(staff, page(Biller, "add")), "name": "Kopano Schools", "reference": "kopano"}
    answer = staff.post(page(Biller, "add"), fields)
    assert answer.status_code == 302, said(answer)
    assert sorted(Biller.objects.filter(reference="kopano").values_list("mode", flat=True)) == ["live", "test"]
    again = staff.post(page(Biller, "add"), fields)
    assert "Another biller has this reference." in str(said(again))


def test_a_billers_reference_and_mode_stay(staff, biller):
    assert save(staff, biller, reference="other", mode="test", name="Highveld").status_code == 302
    biller.refresh_from_db()
    assert (biller.name, biller.reference, biller.mode) == ("Highveld", "highveld", "live")


@pytest.mark.parametrize(
    "limits", ['{"ZZZ": {"min_amount": 1}}', '{"ZAR": 5}', '{"\\ud800": {}}', '{"ZAR": {"min_amount": 0}}']
)
def test_amount_limits_that_mean_nothing_are_refused(staff, biller, limits):
    before = standing()
    assert "amount_limits" in save(staff, biller, amount_limits=limits).context["adminform"].form.errors
    fields = {**fields_of(staff, page(Biller, "add")), "name": "K", "reference": "k", "amount_limits": limits}
    assert "amount_limits" in staff.post(page(Biller, "add"), fields).context["adminform"].form.errors
    assert standing() == before


def test_a_key_is_shown_once_and_kept_as_a_digest(staff, biller, caplog):
    answer = staff.post(page(ApiKey, "add"), {"label": "ERP", "scope": "read"})
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    key = ApiKey.objects.get()
    assert bytes(key.digest) == ApiKey.digest_of(secret)
    assert (key.biller, key.scope, key.label) == (biller, "read", "ERP")
    for address in (page(key), page(ApiKey, "changelist"), page(key, "history")):
        assert secret not in staff.get(address, follow=True).content.decode()
    assert secret not in caplog.text
    assert secret not in str(answer.cookies)
    assert secret not in str(LogEntry.objects.values_list())
    assert "no-store" in answer["Cache-Control"]


def test_revoking_a_key(staff, biller):
    key, _ = ApiKey.objects.issue(biller)
    address = reverse("admin:billers_apikey_revoke", args=[quote(key.pk)])
    assert staff.get(address).status_code == 200
    assert ApiKey.objects.filter(revoked_at=None).exists()
    assert staff.post(address, {"reason": "Leaked"}).status_code == 302
    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert staff.post(address, {"reason": "Again"}).status_code == 403


@pytest.mark.parametrize("key", ["bill_0000000000000000000000", "x", "bcus_0000000000000000000000"])
def test_voiding_what_is_not_there_is_a_404(staff, biller, key):
    address = reverse("admin:bills_bill_void", args=[key])
    assert staff.get(address).status_code == 404
    assert staff.post(address, {"reason": "Try"}).status_code == 404


def test_a_reader_among_the_staff_changes_nothing(client, django_user_model, bill):
    reader = django_user_model.objects.create_user("reader", password="pass", is_staff=True)
    client.force_login(reader)
    assert client.get(page(bill)).status_code == 403
    assert client.post(reverse("admin:bills_bill_void", args=[quote(bill.pk)]), {"reason": "x"}).status_code == 403
