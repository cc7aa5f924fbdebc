"""API keys: stored hashed, expiring, revocable, scoped, remembered for a few seconds, never told."""

import hashlib
import logging
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.authentication import key_ring
from billers.models import ApiKey


def test_the_database_keeps_a_hash_of_a_key_and_never_its_text(api, biller):
    public, secret = ApiKey.public(api.key), api.key.partition("_")[2].partition("_")[2]
    [row] = ApiKey.objects.filter(biller=biller)
    assert (row.public_part, bytes(row.digest)) == (public, hashlib.sha256(api.key.encode()).digest())
    assert len(secret) == 43  # 32 random bytes
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', [f"%{secret}%"])
            assert cursor.fetchone() == (0,), table


def test_keys_are_all_different_and_their_modes_can_be_told_apart(biller, test_biller):
    live = {ApiKey.invent(biller.mode) for _ in range(100)}
    test = {ApiKey.invent(test_biller.mode) for _ in range(100)}
    assert (len(live), len(test)) == (100, 100)
    assert all(key.startswith("sk_test_") for key in test)
    assert not any(key.startswith("sk_test_") for key in live)


def test_a_key_expires_while_it_is_remembered(api_for, biller, monkeypatch):
    caller = api_for(biller, expires_at=timezone.now() + timedelta(hours=1))
    assert caller.get("/billing/bills").status_code == 200
    late = timezone.now() + timedelta(hours=1, seconds=1)
    monkeypatch.setattr("api.authentication.timezone.now", lambda: late)
    refused = caller.get("/billing/bills")
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key_expired")


def test_a_revocation_is_effective_once_the_key_is_no_longer_remembered(api, settings, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("api.authentication.time.monotonic", lambda: clock[0])
    assert settings.API_KEY_CACHE_SECONDS == 5
    assert api.get("/billing/bills").status_code == 200
    assert ApiKey.objects.revoke(timezone.now()) == 1
    clock[0] += 4.9
    assert api.get("/billing/bills").status_code == 200
    clock[0] += 0.2
    refused = api.get("/billing/bills")
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key_revoked")


def test_a_refused_key_is_not_remembered(api_for, biller):
    caller = api_for(biller)
    ApiKey.objects.revoke(timezone.now())
    assert caller.get("/billing/bills").status_code == 403
    ApiKey.objects.update(revoked_at=None)
    assert caller.get("/billing/bills").status_code == 200


def test_a_remembered_key_costs_no_statement_and_a_forgotten_one_is_asked_for(api):
    def asked():
        with CaptureQueriesContext(connection) as captured:
            assert api.get("/billing/bills").status_code == 200
        return sum("billers_apikey" in query["sql"] for query in captured.captured_queries)

    assert asked() >= 1
    assert asked() == 0
    key_ring.forget()
    assert asked() == 1  # used a moment ago, so its last use is not written again


def test_the_last_use_is_recorded_now_and_then(api):
    before = timezone.now()
    api.get("/billing/bills")
    first = ApiKey.objects.get().last_used_at
    assert before <= first <= timezone.now()
    key_ring.forget()
    api.get("/billing/bills")
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=before - timedelta(minutes=6))
    key_ring.forget()
    api.get("/billing/bills")
    assert ApiKey.objects.get().last_used_at >= before


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(api, scheme):
    assert api.get("/billing/bills", Authorization=f"{scheme} {api.key}").status_code == 200


def test_a_key_in_the_query_or_in_a_cookie_opens_nothing(nobody, api):
    assert nobody.get(f"/billing/bills?api_key={api.key}").status_code == 401
    assert nobody.get("/billing/bills", Cookie=f"sessionid={api.key}").status_code == 401


def test_a_member_of_staff_in_the_console_has_no_key_and_the_api_sets_no_cookie(db, admin_user, api):
    browser = Client(raise_request_exception=False)
    browser.force_login(admin_user)
    assert browser.get("/billing/bills").status_code == 401
    assert api.get("/billing/bills").cookies == {}


def test_a_scope_is_read_or_write_and_writing_includes_reading(api_for, biller):
    body = {"external_reference": "c"}
    reader, writer = api_for(biller, scope="read"), api_for(biller, scope="write")
    assert reader.post("/billing/customers", body).json()["code"] == "api_key_out_of_scope"
    assert writer.post("/billing/customers", body).status_code == 201
    for caller in (reader, writer):
        assert caller.get("/billing/customers/c").status_code == 200


def test_no_key_is_ever_told_in_a_log_or_an_answer(api, nobody, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    secret = api.key.partition("_")[2].partition("_")[2]
    answers = [
        api.get("/billing/bills"),
        api.post("/billing/bills", {}),
        api.get("/billing/nothing"),
        nobody.get("/billing/bills", Authorization=f"Bearer {api.key}x"),
        nobody.get("/billing/bills", Authorization=f"Basic {api.key}"),
    ]

    def broken(*args, **options):
        raise ImproperlyConfigured("broken on purpose")

    monkeypatch.setattr("bills.filters.BillFilter.narrowed", broken)
    answers.append(api.get("/billing/bills"))
    assert [answer.status_code for answer in answers] == [200, 400, 404, 401, 401, 500]
    assert "broken on purpose" in caplog.text
    assert "broken on purpose" not in answers[-1].content.decode()
    for text in (caplog.text, *(answer.content.decode() + str(answer.headers) for answer in answers)):
        assert secret not in text


def test_the_request_id_is_taken_or_made_and_echoed(api):
    given = api.get("/billing/bills", X_Request_Id="order-66.a~b_c")
    made = [api.get("/billing/bills", X_Request_Id=wrong).headers["X-Request-Id"] for wrong in ("", "a b", "x" * 129)]
    assert given.headers["X-Request-Id"] == "order-66.a~b_c"
    assert [len(name) for name in made] == [32, 32, 32]
    assert len(set(made)) == 3
