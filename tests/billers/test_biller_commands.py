"""Billers and keys from the command line: contract, section 7."""

import json
import re
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from api.models import IdempotencyKey
from billers.models import ApiKey, Biller


@pytest.fixture
def run(db, capsys):
    """Run a command and return what it printed."""

    def run(name, *arguments, **options):
        call_command(name, *arguments, **options)
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return run


def test_create_biller_prints_its_ids_and_write_keys_as_json(run, nobody):
    told = json.loads(run("create_biller", "Acme Water", "--reference", "acme"))
    assert set(told) == {"reference", "live_id", "test_id", "live_key", "test_key"}
    assert told["reference"] == "acme"
    for mode in ("live", "test"):
        biller = Biller.objects.get(pk=told[f"{mode}_id"])
        assert (biller.mode, biller.name, biller.reference) == (mode, "Acme Water", "acme")
        assert (biller.billing_model, biller.default_currency, biller.timezone) == ("bill", None, "UTC")
        assert (biller.underpayment_allowed, biller.overpayment_allowed, biller.amount_limits) == (True, False, {})
        key = ApiKey.objects.get(biller=biller)
        assert (key.scope, key.expires_at, key.revoked_at) == ("write", None, None)
        authorization = f"Bearer {told[f'{mode}_key']}"
        made = nobody.post("/billing/customers", {"external_reference": mode}, Authorization=authorization)
        assert made.status_code == 201
    assert told["live_key"].startswith("sk_")
    assert told["test_key"].startswith("sk_test_")
    assert Biller.objects.count() == 2


def test_create_biller_takes_billing_model_currency_and_timezone(run):
    options = ("--billing-model", "account", "--currency", "ZAR", "--timezone", "Africa/Johannesburg")
    run("create_biller", "Acme", "--reference", "acme", *options)
    told = Biller.objects.values_list("billing_model", "default_currency", "timezone")
    assert list(told) == [("account", "ZAR", "Africa/Johannesburg")] * 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--reference", "acme"), "Another biller has this reference."),
        (("--reference", "a b"), "letters, numbers"),
        (("--reference", ""), "blank"),
        (("--reference", "x" * 65), "64"),
        (("--reference", "new", "--currency", "XXX"), "ISO 4217"),
        (("--reference", "new", "--currency", "zar"), "ISO 4217"),
        (("--reference", "new", "--timezone", "Mars/Base"), "time zone"),
        (("--reference", "new", "--billing-model", "barter"), "barter"),
    ],
)
def test_create_biller_refuses_with_one_line_and_writes_nothing(run, options, sentence):
    run("create_biller", "Acme", "--reference", "acme")
    before = (Biller.objects.count(), ApiKey.objects.count())
    with pytest.raises(CommandError) as refused:
        run("create_biller", "Acme again", *options)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert (Biller.objects.count(), ApiKey.objects.count()) == before == (2, 2)


def test_create_key_prints_a_key_that_opens_what_it_says(run, nobody, pair):
    told = json.loads(run("create_key", "--biller", "acme", "--mode", "test", "--scope", "read", "--label", "kiosk"))
    assert set(told) == {"id", "key", "biller", "mode", "scope", "expires_at"}
    assert [told[name] for name in ("biller", "mode", "scope", "expires_at")] == ["acme", "test", "read", None]
    assert told["key"].startswith("sk_test_")
    assert ApiKey.objects.get(pk=told["id"]).label == "kiosk"
    authorization = f"Bearer {told['key']}"
    assert nobody.get("/billing/bills", Authorization=authorization).status_code == 200
    assert nobody.post("/billing/customers", {}, Authorization=authorization).status_code == 403


def test_create_key_makes_a_live_write_key_that_never_expires_unless_told(run, pair):
    told = json.loads(run("create_key", "--biller", "acme"))
    assert [told[name] for name in ("mode", "scope", "expires_at")] == ["live", "write", None]
    expiring = json.loads(run("create_key", "--biller", "acme", "--expires-in-days", "3"))
    left = datetime.fromisoformat(expiring["expires_at"]) - timezone.now()
    assert timedelta(days=2, hours=23) < left <= timedelta(days=3)


@pytest.mark.parametrize(
    "options",
    [
        ("--biller", "nobody"),
        ("--biller", "acme", "--scope", "admin"),
        ("--biller", "acme", "--mode", "both"),
        ("--biller", "acme", "--expires-in-days", "0"),
        ("--biller", "acme", "--expires-in-days", "-1"),
        ("--biller", "acme", "--expires-in-days", "x"),
    ],
)
def test_create_key_refuses_with_one_line_and_makes_none(run, pair, options):
    with pytest.raises(CommandError) as refused:
        run("create_key", *options)
    assert "\n" not in str(refused.value)
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize("name", ["id", "public", "text", "shown"])
def test_revoke_key_takes_its_id_its_public_part_or_its_text(run, api, name):
    key = ApiKey.objects.get()
    named = {"id": key.pk, "public": key.public_part, "text": api.key, "shown": str(key)}[name]
    told = run("revoke_key", named)
    assert told == f"{key.public_part}… is revoked, everywhere within 5 seconds.\n"
    assert api.get("/billing/bills").status_code == 403
    again = run("revoke_key", named)
    assert re.fullmatch(rf"{key.public_part}… was revoked before, at \d{{4}}-\d\d-\d\d \d\d:\d\d UTC\.\n", again)


def test_revoke_key_leaves_every_other_key_as_it_is(run, api, api_for, biller, other):
    callers = [api_for(biller), api_for(other)]
    run("revoke_key", api.key)
    assert [caller.get("/billing/bills").status_code for caller in callers] == [200, 200]
    assert ApiKey.objects.filter(revoked_at=None).count() == 2


@pytest.mark.parametrize("name", ["sk_nobody", "key_" + "0" * 22, "", "…"])
def test_revoke_key_refuses_what_names_no_key(run, api, name):
    with pytest.raises(CommandError, match="There is no such key"):
        run("revoke_key", name)
    assert ApiKey.objects.get().revoked_at is None


def test_purge_idempotency_keys_forgets_what_is_older_than_a_day(run, api):
    for name in ("old", "young"):
        api.post("/billing/customers", {"external_reference": name}, Idempotency_Key=name)
    for name, hours in (("old", 24.01), ("young", 23.99)):
        IdempotencyKey.objects.filter(key=name).update(created_at=timezone.now() - timedelta(hours=hours))
    assert run("purge_idempotency_keys") == "1 idempotency keys removed.\n"
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]


def test_purge_idempotency_keys_never_keeps_less_than_24_hours(run, api):
    api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23))
    with pytest.raises(CommandError, match="24 hours"):
        run("purge_idempotency_keys", "--older-than-hours", "23")
    assert IdempotencyKey.objects.count() == 1
    assert run("purge_idempotency_keys", "--older-than-hours", "24") == "0 idempotency keys removed.\n"


def test_a_key_that_was_purged_may_be_used_again(run, api):
    first = api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    run("purge_idempotency_keys")
    again = api.post("/billing/customers", {"external_reference": "C"}, Idempotency_Key="k")
    assert (first.status_code, again.status_code, again.json()["code"]) == (201, 409, "external_reference_taken")
