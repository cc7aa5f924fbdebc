"""Idempotency-Key: contract, section 1."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from api.models import IdempotencyKey
from bills.models import Bill
from customers.models import Customer
from events.models import Event
from ledger.models import Entry

COMPOSITE = {
    "external_reference": "B",
    "currency": "ZAR",
    "amount_due": 5000,
    "amount_paid": 100,
    "account": {"external_reference": "A", "customer": {"external_reference": "C", "name": "John"}},
}


def test_the_same_request_again_gets_the_first_answer_and_nothing_else_happens(api, everything):
    first = api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    after = everything()
    again = api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert everything() == after
    assert (Bill.objects.count(), Entry.objects.count()) == (1, 1)


def test_the_first_answer_is_replayed_even_after_the_record_has_changed(api):
    first = api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    api.patch("/billing/bills/B", {"amount_paid": 5000})
    again = api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    assert (again.json()["amount_paid"], again.content) == (100, first.content)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/billing/customers", {"external_reference": "x"}, 201),
        ("PUT", "/billing/customers/x", {"name": "x"}, 201),
        ("PUT", "/billing/customers?external_reference=x", {"name": "x"}, 201),
        ("PUT", "/billing/customers/C", {"name": "x"}, 200),
        ("PATCH", "/billing/customers/C", {"name": "x"}, 200),
        ("PATCH", "/billing/bills/B", {"amount_paid": 7}, 200),
    ],
)
def test_every_writing_method_replays(api, everything, method, path, body, status):
    api.post("/billing/bills", COMPOSITE)
    first = api.call(method, path, body, Idempotency_Key="k")
    after = everything()
    again = api.call(method, path, body, Idempotency_Key="k")
    assert (first.status_code, again.status_code, again.content) == (status, status, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert everything() == after


def test_a_body_is_the_same_whatever_its_order_and_blanks(api):
    first = api.post("/billing/customers", b'{"external_reference":"x","name":"J"}', Idempotency_Key="k")
    again = api.post("/billing/customers", b' {"name" : "\\u004a", "external_reference": "x"} ', Idempotency_Key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert Customer.objects.count() == 1


def test_a_replay_comes_before_if_match_is_judged(api):
    api.post("/billing/bills", COMPOSITE)
    version = api.get("/billing/bills/B").headers["ETag"]
    first = api.patch("/billing/bills/B", {"amount_due": 7}, Idempotency_Key="k", If_Match=version)
    again = api.patch("/billing/bills/B", {"amount_due": 7}, Idempotency_Key="k", If_Match=version)
    assert first.headers["ETag"] != version
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/billing/customers", {"external_reference": "y"}),
        ("POST", "/billing/customers", {"external_reference": "x", "name": None}),
        ("POST", "/billing/bills", {**COMPOSITE, "external_reference": "B2"}),
        ("PUT", "/billing/customers/x", {"external_reference": "x"}),
        ("PATCH", "/billing/customers/x", {}),
        ("PUT", "/billing/customers?external_reference=x", {"external_reference": "x"}),
    ],
)
def test_another_method_path_query_or_body_under_the_key_is_refused(api, everything, method, path, body):
    api.post("/billing/customers", {"external_reference": "x"}, Idempotency_Key="k")
    before = everything()
    refused = api.call(method, path, body, Idempotency_Key="k")
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert everything() == before


def test_another_query_under_the_key_is_refused(api, everything):
    api.put("/billing/customers?external_reference=x", {}, Idempotency_Key="k")
    before = everything()
    refused = api.put("/billing/customers?external_reference=y", {}, Idempotency_Key="k")
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert everything() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"external_reference": "B", "currency": "ZAR", "amount_due": 0, "customer": "C"}, 400),
        ({"external_reference": "B", "currency": "ZAR", "amount_due": 1, "customer": "nobody"}, 422),
        ({"external_reference": "taken", "currency": "ZAR", "amount_due": 1, "customer": "C"}, 409),
    ],
)
def test_only_successes_are_kept(api, body, status):
    api.put("/billing/bills/taken", {"currency": "ZAR", "amount_due": 1, "customer": {"external_reference": "C"}})
    assert api.post("/billing/bills", body, Idempotency_Key="k").status_code == status
    assert IdempotencyKey.objects.count() == 0
    mended = {"external_reference": "B", "currency": "ZAR", "amount_due": 1, "customer": "C"}
    assert api.post("/billing/bills", mended, Idempotency_Key="k").status_code == 201


@pytest.mark.parametrize(("key", "status"), [("a" * 255, 201), ("aZ09_-", 201), ("-", 201)])
def test_a_key_is_1_to_255_letters_digits_hyphens_and_underscores(api, key, status):
    assert api.post("/billing/bills", COMPOSITE, Idempotency_Key=key).status_code == status
    assert IdempotencyKey.objects.get().key == key


@pytest.mark.parametrize("key", ["a" * 256, "", " ", "a b", "a.b", "a/b", "é", "a\0", '"a"', "a,b"])
def test_another_key_is_refused_and_nothing_is_written(api, everything, key):
    before = everything()
    refused = api.post("/billing/bills", COMPOSITE, Idempotency_Key=key)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_idempotency_key")
    assert everything() == before


def test_a_void_needs_a_key(api, everything):
    api.post("/billing/bills", {**COMPOSITE, "amount_paid": 0})
    before = everything()
    refused = api.post("/billing/bills/B/void", {})
    assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_required")
    assert everything() == before
    first = api.post("/billing/bills/B/void", {}, Idempotency_Key="k")
    again = api.post("/billing/bills/B/void", {}, Idempotency_Key="k")
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert Event.objects.filter(type="bill.voided").count() == 1


def test_keys_are_kept_a_day(api):
    api.post("/billing/bills", COMPOSITE, Idempotency_Key="k")
    for hours, left in ((23, 1), (25, 0)):
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=hours))
        call_command("purge_idempotency_keys", verbosity=0)
        assert IdempotencyKey.objects.count() == left


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_being_worked_on_is_409_with_retry_after(transactional_db, api, everything, settings):
    settings.LOCK_WAIT_SECONDS = 1
    api.post("/billing/customers", {"external_reference": "x"}, Idempotency_Key="k")
    [(scope, key)] = IdempotencyKey.objects.values_list("scope_id", "key")
    IdempotencyKey.objects.all().delete()
    before = everything()
    holder = connections.create_connection("default")
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute(
                "INSERT INTO api_idempotencykey (scope_id, key, fingerprint, headers) VALUES (%s, %s, '', '{}')",
                [scope, key],
            )
        refused = api.post("/billing/customers", {"external_reference": "y"}, Idempotency_Key="k")
        assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_in_progress")
        assert refused.headers["Retry-After"] == "1"
        assert everything() == before
        assert connection.connection is not holder.connection
    finally:
        holder.rollback()
        holder.close()
    assert api.post("/billing/customers", {"external_reference": "y"}, Idempotency_Key="k").status_code == 201
