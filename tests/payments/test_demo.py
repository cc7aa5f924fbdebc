"""The demo is loaded whole or not at all, once, however often and by how many it is asked for."""

import os
import subprocess
import sys
import time
from io import StringIO

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Account
from bench.serving import url_of_scratch
from billers.acts import perform
from billers.models import ApiKey, Biller
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry
from payments.collecting import fingerprint_of
from payments.demo import TRADES, is_loaded
from payments.models import Method, PayerReference, Payment, Reference, Reversal
from payments.payer_references import is_payer_reference

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = (
    Biller,
    ApiKey,
    get_user_model(),
    Customer,
    Account,
    Bill,
    Entry,
    Event,
    Payment,
    Reversal,
    Reference,
    PayerReference,
)


def counts():
    return [table.objects.count() for table in TABLES]


def said(**options):
    out = StringIO()
    call_command("load_demo", stdout=out, **options)
    return out.getvalue()


def started(bills):
    return subprocess.Popen(
        [sys.executable, "manage.py", "load_demo", "--bills", str(bills)],
        cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": url_of_scratch(), "DEBUG": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def size_of_bills():
    """The bytes of the table, which rows take that nobody else can see yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_relation_size(%s::regclass)", [Bill._meta.db_table])
        return cursor.fetchone()[0]


def test_a_run_that_is_killed_half_way_leaves_nothing_and_the_next_one_loads_all():
    nothing, before = counts(), size_of_bills()
    run = started(bills=20_000)
    deadline = time.monotonic() + 60
    while size_of_bills() < before + 400_000:
        assert run.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "it wrote nothing"
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert not is_loaded()
    assert counts() == nothing == [0] * len(TABLES)
    assert said(bills=40) == "40 bills of 3 billers loaded.\n"
    assert is_loaded()
    assert Bill.objects.count() == 40


def test_asked_for_again_it_changes_nothing_and_says_so(settings):
    settings.DEBUG = True
    said(bills=40)
    loaded = counts()
    assert said() == "The demo is loaded already; nothing changed.\n"
    assert counts() == loaded
    assert (loaded[:3], Bill.objects.count()) == ([2 * len(TRADES), 4, 1], 40)


def test_outside_debug_nobody_gets_a_key_or_a_login_that_is_known(settings):
    settings.DEBUG = False
    said(bills=5)
    assert (ApiKey.objects.count(), get_user_model().objects.count()) == (0, 0)


def test_two_runs_at_once_load_it_once():
    runs = [started(bills=40) for _ in range(2)]
    told = sorted(run.communicate(timeout=60)[0] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert told == ["40 bills of 3 billers loaded.\n", "The demo is loaded already; nothing changed.\n"]
    assert Bill.objects.count() == 40


@pytest.mark.parametrize("bills", [0, -1])
def test_a_demo_of_no_bills_is_refused(bills):
    with pytest.raises(CommandError, match="give at least 1"):
        said(bills=bills)
    assert counts() == [0] * len(TABLES)


def test_its_payments_are_of_every_kind_and_agree_with_the_ledger(capsys):
    said(bills=1200)
    payments = Payment.objects.all()
    assert set(payments.values_list("method", flat=True)) == set(Method.values)
    assert {payment.partner_id is None for payment in payments} == {True, False}
    assert {share["kind"] for payment in payments for share in payment.allocations} == {"customer", "account", "bill"}
    assert any(len(payment.allocations) > 1 for payment in payments)
    assert 0 < Reversal.objects.count() < payments.count() / 10
    assert (
        Reference.objects.count()
        == payments.count()
        == Event.objects.filter(type="obligation.amount_applied").values("body__payment_id").distinct().count()
    )
    assert set(Bill.objects.values_list("status", flat=True)) >= {"PAID", "UNPAID"}
    call_command("check_ledger")
    assert "The ledger agrees." in capsys.readouterr().out
    assert {is_payer_reference(given.digits) for given in PayerReference.objects.all()} == {True}
    assert {given.obligation_id.partition("_")[0] for given in PayerReference.objects.all()} == {"bcus", "bacc", "bill"}


def test_its_payments_are_what_the_verb_would_have_left():
    """A payment of the demo, said again through the verb, is known as the one that it is."""
    said(bills=60)
    payment = next(one for one in Payment.objects.filter(partner=None) if len(one.allocations) == 1)
    asked = {name: getattr(payment, name) for name in ("external_reference", "amount", "currency", "method", "paid_at")}
    asked["obligation"] = payment.allocations[0]["obligation"]
    before = counts()
    again, is_new = perform(
        payment.biller, "test", lambda act: Payment.objects.collect(act, fingerprint_of(asked), **asked)
    )
    assert (again.pk, is_new) == (payment.pk, False)
    assert counts() == before
