"""API keys: one biller, one mode, one scope; hashed, shown once, expiring, revocable: contract, section 1."""

import hashlib
import hmac
import logging
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api import authentication
from billers.models import ApiKey


@pytest.fixture
def clock(monkeypatch):
    """The clock the remembered keys are timed by, moved by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(authentication, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def revoke(caller):
    assert ApiKey.objects.filter(public_part=ApiKey.public(caller.key)).revoke(timezone.now()) == 1


def test_a_key_names_its_mode_and_holds_32_random_bytes(biller, test_biller):
    live, test = ApiKey.invent(biller.mode), ApiKey.invent(test_biller.mode)
    assert re.fullmatch(r"sk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", live)
    assert re.fullmatch(r"sk_test_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", test)
    assert ApiKey.public(live) == live[:15]
    assert ApiKey.public(test) == test[:20]
    assert len({ApiKey.invent("live") for _ in range(100)}) == 100


def test_a_key_is_stored_as_a_hash_alone(api):
    key = ApiKey.objects.get()
    assert bytes(key.digest) == hashlib.sha256(api.key.encode()).digest()
    secret = api.key.removeprefix(key.public_part)
    # History tables too: no row of any table holds the secret part of a key that was just made and used.
    api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k")
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', [f"%{secret}%"])
            assert cursor.fetchone() == (0,), table


def test_a_key_opens_the_data_of_its_own_mode_alone(api, api_for, test_biller):
    api.post("/billing/customers", {"external_reference": "C", "name": "Live"})
    trial = api_for(test_biller)
    assert trial.get("/billing/customers").json()["data"] == []
    assert trial.post("/billing/customers", {"external_reference": "C", "name": "Test"}).status_code == 201
    assert api.get("/billing/customers/C").json()["name"] == "Live"
    assert trial.get("/billing/customers/C").json()["name"] == "Test"


def test_a_live_key_that_is_given_the_prefix_of_test_mode_is_unknown(api, nobody):
    disguised = api.key.replace("sk_", "sk_test_", 1)
    response = nobody.get("/billing/bills", Authorization=f"Bearer {disguised}")
    assert (response.status_code, response.json()["code"]) == (401, "invalid_api_key")


def test_the_scheme_is_read_in_any_case_and_the_key_as_it_is(api, nobody):
    assert nobody.get("/billing/bills", Authorization=f"bearer {api.key}").status_code == 200
    assert nobody.get("/billing/bills", Authorization=f"Bearer  {api.key} ").status_code == 200
    assert nobody.get("/billing/bills", Authorization=f"Bearer {api.key.upper()}").status_code == 401


def test_a_key_is_compared_in_constant_time_after_it_was_found_by_its_public_part(api, nobody, monkeypatch):
    compared = []

    def compare(kept, sent):
        compared.append((kept, sent))
        return hmac.compare_digest(kept, sent)

    monkeypatch.setattr(authentication, "hmac", SimpleNamespace(compare_digest=compare))
    wrong = api.key[:-1] + ("a" if api.key[-1] != "a" else "b")
    assert nobody.get("/billing/bills", Authorization=f"Bearer {wrong}").status_code == 401
    assert api.get("/billing/bills").status_code == 200
    digests = [hashlib.sha256(text.encode()).digest() for text in (api.key, wrong)]
    assert compared == [(digests[0], digests[1]), (digests[0], digests[0])]


def test_a_key_is_looked_up_once_in_the_seconds_of_its_setting(api, clock, settings):
    api.get("/billing/entries")
    with CaptureQueriesContext(connection) as remembered:
        api.get("/billing/entries")
    clock.now += settings.API_KEY_CACHE_SECONDS + 1
    with CaptureQueriesContext(connection) as looked_up:
        api.get("/billing/entries")
    assert [query["sql"] for query in remembered if "billers_apikey" in query["sql"]] == []
    assert len([query["sql"] for query in looked_up if "billers_apikey" in query["sql"]]) == 1


def test_a_revocation_is_effective_within_the_seconds_of_the_setting(api, clock, settings):
    assert settings.API_KEY_CACHE_SECONDS == 5
    assert api.get("/billing/entries").status_code == 200
    revoke(api)
    clock.now += 4.9
    assert api.get("/billing/entries").status_code == 200
    clock.now += 0.2
    refused = api.get("/billing/entries")
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key_revoked")


def test_using_a_key_does_not_make_it_remembered_for_longer(api, clock):
    api.get("/billing/entries")
    revoke(api)
    for _ in range(4):
        clock.now += 1
        assert api.get("/billing/entries").status_code == 200
    clock.now += 1.5
    assert api.get("/billing/entries").status_code == 403


def test_the_setting_says_how_long_a_key_is_remembered(api, clock, settings):
    settings.API_KEY_CACHE_SECONDS = 0
    api.get("/billing/entries")
    revoke(api)
    clock.now += 0.001
    assert api.get("/billing/entries").status_code == 403


def test_a_key_that_is_refused_is_not_remembered(nobody, db, biller):
    text = ApiKey.invent("live")
    assert nobody.get("/billing/entries", Authorization=f"Bearer {text}").status_code == 401
    ApiKey.objects.keep(biller, text)
    assert nobody.get("/billing/entries", Authorization=f"Bearer {text}").status_code == 200


def test_a_key_expires_to_the_moment_even_while_it_is_remembered(api_for, biller, monkeypatch):
    moment = timezone.now() + timedelta(hours=1)
    caller = api_for(biller, expires_at=moment)
    assert caller.get("/billing/entries").status_code == 200
    monkeypatch.setattr(authentication.timezone, "now", lambda: moment - timedelta(microseconds=1))
    assert caller.get("/billing/entries").status_code == 200
    monkeypatch.setattr(authentication.timezone, "now", lambda: moment)
    expired = caller.get("/billing/entries")
    assert (expired.status_code, expired.json()["code"]) == (403, "api_key_expired")


def test_the_last_use_of_a_key_is_recorded_lazily(api):
    api.get("/billing/entries")
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    authentication.key_ring.forget()
    with CaptureQueriesContext(connection) as captured:
        api.get("/billing/entries")
    assert ApiKey.objects.get().last_used_at == first
    assert [query["sql"] for query in captured if query["sql"].startswith("UPDATE")] == []


def test_the_ring_holds_no_text_of_a_key(api):
    api.get("/billing/entries")
    kept = repr(vars(authentication.key_ring))
    assert api.key not in kept
    assert api.key.rpartition("_")[2] not in kept


def test_a_key_is_in_no_log_and_no_answer(api, nobody, api_for, biller, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    reader = api_for(biller, scope="read")
    wrong = api.key[:-1] + ("a" if api.key[-1] != "a" else "b")
    other = "Bearer sk_0123456789ab_" + "S" * 43
    answers = [
        api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k"),
        api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k"),
        api.post("/billing/customers", {"external_reference": 1}),
        api.get("/billing/customers/C"),
        api.get("/billing/customers/none"),
        api.call("DELETE", "/billing/customers/C"),
        api.post("/billing/customers", b"{"),
        reader.post("/billing/customers", {}),
        nobody.get("/billing/bills", Authorization=f"Bearer {wrong}"),
        nobody.get("/billing/bills", Authorization=other),
        nobody.get("/billing/bills", Authorization=f"Basic {api.key}"),
    ]
    monkeypatch.setattr("api.views.page", lambda *_: 1 / 0)
    answers.append(api.get("/billing/bills"))
    assert [answer.status_code for answer in answers] == [201, 201, 400, 200, 404, 405, 400, 403, 401, 401, 401, 500]
    told = caplog.text + "".join(f"{answer.content} {answer.headers}" for answer in answers)
    assert "ZeroDivisionError" in caplog.text
    for text in (api.key, wrong, reader.key, "S" * 43):
        assert text not in told
        assert text.rpartition("_")[2][-20:] not in told
