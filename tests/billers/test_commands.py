"""Commands that scripts rely on: contract, section 7."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from api.models import IdempotencyKey
from billers.models import ApiKey, Biller


def said(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def made(db):
    return json.loads(said("create_biller", "Acme Water", "--reference", "acme"))


def test_create_biller_prints_its_reference_ids_and_write_keys_as_json(made, api_for):
    live, test = (Biller.objects.get(reference="acme", mode=mode) for mode in ("live", "test"))
    assert set(made) == {"reference", "live_id", "test_id", "live_key", "test_key"}
    assert (made["reference"], made["live_id"], made["test_id"]) == ("acme", live.pk, test.pk)
    assert made["test_key"].startswith("sk_test_")
    assert not made["live_key"].startswith("sk_test_")
    for biller in (live, test):
        assert (biller.name, biller.billing_model, biller.default_currency, biller.timezone) == (
            *("Acme Water", "bill", None, "UTC"),
        )
        assert biller.api_keys.get().scope == "write"


def test_the_keys_of_create_biller_open_its_live_and_its_test_data(made, nobody):
    for mode in ("live", "test"):
        nobody.key = made[f"{mode}_key"]
        assert nobody.get("/billing/customers").json()["data"] == []
        assert nobody.post("/billing/customers", {"external_reference": "same"}).status_code == 201
        assert len(nobody.get("/billing/customers").json()["data"]) == 1


def test_create_biller_takes_a_billing_model_a_currency_and_a_time_zone(db):
    options = ("--billing-model", "customer", "--currency", "ZAR", "--timezone", "Africa/Johannesburg")
    said("create_biller", "Acme", "--reference", "acme", *options)
    told = Biller.objects.values_list("billing_model", "default_currency", "timezone")
    assert list(told) == [("customer", "ZAR", "Africa/Johannesburg")] * 2


def test_create_biller_refuses_a_taken_reference_in_one_line(made):
    with pytest.raises(CommandError) as refused:
        said("create_biller", "Other", "--reference", "acme")
    assert refused.value.returncode == 1
    assert "\n" not in str(refused.value)
    assert (Biller.objects.count(), ApiKey.objects.count()) == (2, 2)


@pytest.mark.parametrize(
    "options",
    [
        ("--currency", "XXX"),
        ("--currency", "zar"),
        ("--timezone", "Mars/Olympus"),
        ("--billing-model", "meter"),
        ("--reference", "a b"),
        ("--reference", ""),
    ],
)
def test_create_biller_refuses_what_is_wrong_and_writes_nothing(db, options):
    with pytest.raises(CommandError):
        said("create_biller", "Acme", "--reference", "acme", *options)
    assert (Biller.objects.count(), ApiKey.objects.count()) == (0, 0)


def test_create_key_issues_a_write_key_of_the_live_biller_unless_told(made, nobody):
    told = json.loads(said("create_key", "--biller", "acme"))
    assert {name: told[name] for name in ("biller", "mode", "scope", "expires_at")} == {
        "biller": "acme",
        "mode": "live",
        "scope": "write",
        "expires_at": None,
    }
    assert ApiKey.objects.get(pk=told["id"]).biller_id == made["live_id"]
    nobody.key = told["key"]
    assert nobody.post("/billing/customers", {"external_reference": "c"}).status_code == 201


def test_create_key_takes_a_mode_a_scope_a_label_and_an_expiry(made, nobody):
    options = ("--mode", "test", "--scope", "read", "--label", "reports", "--expires-in-days", "2")
    told = json.loads(said("create_key", "--biller", "acme", *options))
    key = ApiKey.objects.get(pk=told["id"])
    assert (key.biller_id, key.scope, key.label) == (made["test_id"], "read", "reports")
    assert abs(key.expires_at - timezone.now() - timedelta(days=2)) < timedelta(minutes=1)
    assert datetime.fromisoformat(told["expires_at"]) == key.expires_at
    nobody.key = told["key"]
    assert nobody.get("/billing/customers").status_code == 200
    assert nobody.post("/billing/customers", {"external_reference": "c"}).status_code == 403


@pytest.mark.parametrize(
    "options",
    [
        ("--biller", "nobody"),
        ("--biller", "acme", "--expires-in-days", "0"),
        ("--biller", "acme", "--expires-in-days", "-1"),
        ("--biller", "acme", "--mode", "both"),
        ("--biller", "acme", "--scope", "admin"),
    ],
)
def test_create_key_refuses_what_is_wrong_and_issues_nothing(made, options):
    with pytest.raises(CommandError):
        said("create_key", *options)
    assert ApiKey.objects.count() == 2


def test_an_expiry_beyond_the_calendar_is_the_last_day_of_it(made):
    told = json.loads(said("create_key", "--biller", "acme", "--expires-in-days", "99999999"))
    assert ApiKey.objects.get(pk=told["id"]).expires_at == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("named", ["id", "public part", "as shown", "text"])
def test_revoke_key_takes_an_id_the_start_or_the_whole_text(made, nobody, named):
    key = ApiKey.objects.get(public_part=ApiKey.public(made["live_key"]))
    said(
        "revoke_key",
        {"id": key.pk, "public part": key.public_part, "as shown": str(key), "text": made["live_key"]}[named],
    )
    nobody.key = made["live_key"]
    refused = nobody.get("/billing/customers")
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key_revoked")
    nobody.key = made["test_key"]
    assert nobody.get("/billing/customers").status_code == 200


def test_revoking_twice_keeps_the_first_moment_and_says_so(made):
    key = ApiKey.objects.get(public_part=ApiKey.public(made["live_key"]))
    said("revoke_key", key.pk)
    first = ApiKey.objects.get(pk=key.pk).revoked_at
    assert "was revoked before" in said("revoke_key", key.pk)
    assert ApiKey.objects.get(pk=key.pk).revoked_at == first


@pytest.mark.parametrize("named", ["nothing", "sk_", "", "key_" + "0" * 22, "blr_" + "0" * 22])
def test_revoke_key_refuses_a_name_of_nothing_and_revokes_nothing(made, named):
    with pytest.raises(CommandError) as refused:
        said("revoke_key", named)
    assert str(refused.value) == "There is no such key."
    assert ApiKey.objects.filter(revoked_at=None).count() == 2


def test_no_key_is_printed_by_revoke_key(made):
    assert made["live_key"] not in said("revoke_key", made["live_key"])


def test_purge_idempotency_keys_removes_those_past_their_time_alone(api):
    for name in ("old", "young"):
        api.post("/billing/customers", {"external_reference": name}, Idempotency_Key=name)
    IdempotencyKey.objects.filter(key="old").update(created_at=timezone.now() - timedelta(hours=24, minutes=1))
    IdempotencyKey.objects.filter(key="young").update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert said("purge_idempotency_keys") == "1 idempotency keys removed.\n"
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]
    assert said("purge_idempotency_keys") == "0 idempotency keys removed.\n"


def test_purge_idempotency_keys_keeps_longer_when_told_and_never_less_than_a_day(api):
    api.post("/billing/customers", {"external_reference": "c"}, Idempotency_Key="k")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=47))
    assert said("purge_idempotency_keys", "--older-than-hours", "48") == "0 idempotency keys removed.\n"
    with pytest.raises(CommandError):
        said("purge_idempotency_keys", "--older-than-hours", "23")
    assert IdempotencyKey.objects.count() == 1
    assert said("purge_idempotency_keys", "--older-than-hours", "24") == "1 idempotency keys removed.\n"
