"""Partners from the command line: contract, section 7."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billers.models import ApiKey, Biller, Enablement, Partner
from payments.management.commands.load_demo import DEMO_KEY, DEMO_PARTNER_KEY, DEMO_PARTNER_TEST_KEY


def said(*arguments):
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def standing():
    tables = (Biller, Partner, Enablement, ApiKey)
    return [sorted(map(str, table.objects.values())) for table in tables]


@pytest.fixture
def made(pair, other):
    return json.loads(said("create_partner", "Corner Shops", "--reference", "corner", "--biller", "acme", "other"))


def references(caller):
    return [biller["reference"] for biller in caller.get("/partner/billers").json()["data"]]


def test_create_partner_prints_its_reference_ids_and_write_keys_as_json(made):
    assert set(made) == {"reference", "live_id", "test_id", "live_key", "test_key"}
    assert made["reference"] == "corner"
    for mode in ("live", "test"):
        partner = Partner.objects.get(pk=made[f"{mode}_id"])
        assert (partner.mode, partner.name, partner.reference) == (mode, "Corner Shops", "corner")
        key = partner.api_keys.get()
        assert (key.scope, key.expires_at, key.biller) == ("write", None, None)
        assert key.public_part == ApiKey.public(made[f"{mode}_key"])
    assert made["test_key"].startswith("sk_test_")
    assert not made["live_key"].startswith("sk_test_")


@pytest.mark.parametrize("mode", ["live", "test"])
def test_the_keys_of_create_partner_see_the_billers_it_is_enabled_for(made, nobody, mode):
    nobody.key = made[f"{mode}_key"]
    assert references(nobody) == ["acme", "other"]


def test_the_billers_may_also_be_named_one_by_one(pair, other):
    said("create_partner", "Corner", "--reference", "corner", "--biller", "acme", "--biller", "other")
    assert Enablement.objects.count() == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--reference", "corner", "--biller", "acme"), "Another partner has this reference."),
        (("--reference", "new", "--biller", "acme", "nobody"), "There is no biller “nobody”."),
        (("--reference", "new", "--biller", "b", "acme", "a"), "There is no biller “a”, “b”."),
        (("--reference", "a b", "--biller", "acme"), "letters, numbers"),
        (("--reference", "", "--biller", "acme"), "blank"),
        (("--reference", "new"), "--biller"),
        (("--reference", "new", "--biller"), "--biller"),
        (("--biller", "acme"), "--reference"),
    ],
)
def test_create_partner_refuses_in_one_line_and_writes_nothing(made, arguments, sentence):
    before = standing()
    with pytest.raises(CommandError) as refused:
        said("create_partner", "Again", *arguments)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert standing() == before


def test_enable_partner_disables_and_enables_in_both_modes_and_prints_what_is_so(made, nobody):
    ids = {"reference": "corner", "live_id": made["live_id"], "test_id": made["test_id"]}
    told = json.loads(said("enable_partner", "corner", "--biller", "acme", "--disable"))
    assert told == {**ids, "live_billers": ["other"], "test_billers": ["other"]}
    for mode in ("live", "test"):
        nobody.key = made[f"{mode}_key"]
        assert references(nobody) == ["other"]
    told = json.loads(said("enable_partner", "corner", "--biller", "acme", "other"))
    assert told == {**ids, "live_billers": ["acme", "other"], "test_billers": ["acme", "other"]}
    for mode in ("live", "test"):
        nobody.key = made[f"{mode}_key"]
        assert references(nobody) == ["acme", "other"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nobody", "--biller", "acme"), "There is no partner “nobody”."),
        (("corner", "--biller", "acme", "nobody"), "There is no biller “nobody”."),
        (("corner", "--biller", "nobody", "--disable"), "There is no biller “nobody”."),
        (("corner",), "--biller"),
    ],
)
def test_enable_partner_refuses_in_one_line_and_changes_nothing(made, arguments, sentence):
    before = standing()
    with pytest.raises(CommandError, match=sentence) as refused:
        said("enable_partner", *arguments)
    assert "\n" not in str(refused.value)
    assert standing() == before


def test_create_key_issues_a_partners_key(made, nobody):
    told = json.loads(said("create_key", "--partner", "corner", "--mode", "test", "--scope", "read"))
    assert set(told) == {"id", "key", "partner", "mode", "scope", "expires_at"}
    assert (told["partner"], told["mode"], told["scope"]) == ("corner", "test", "read")
    assert ApiKey.objects.get(pk=told["id"]).partner_id == made["test_id"]
    nobody.key = told["key"]
    assert references(nobody) == ["acme", "other"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--partner", "nobody"), "There is no partner “nobody”."),
        (("--partner", "acme"), "There is no partner “acme”."),
        (("--biller", "corner"), "There is no biller “corner”."),
        (("--partner", "corner", "--biller", "acme"), "not allowed with"),
        ((), "one of the arguments --biller --partner is required"),
    ],
)
def test_create_key_refuses_in_one_line_whom_it_does_not_know_and_both_and_neither(made, arguments, sentence):
    before = standing()
    with pytest.raises(CommandError, match=sentence) as refused:
        said("create_key", *arguments)
    assert "\n" not in str(refused.value)
    assert standing() == before


def test_revoke_key_shuts_out_a_partner(made, nobody):
    said("revoke_key", made["live_key"])
    nobody.key = made["live_key"]
    refused = nobody.get("/partner/billers")
    assert (refused.status_code, refused.json()["code"]) == (403, "api_key_revoked")
    nobody.key = made["test_key"]
    assert references(nobody) == ["acme", "other"]


@pytest.mark.parametrize(("country", "kept"), [("ZA", "ZA"), (None, None)])
def test_create_biller_takes_a_country(db, country, kept):
    said("create_biller", "Acme", "--reference", "acme", *(["--country", country] if country else []))
    assert list(Biller.objects.values_list("country", flat=True)) == [kept, kept]


@pytest.mark.parametrize("country", ["XX", "za", "ZAF", ""])
def test_create_biller_refuses_what_is_no_country_in_one_line(db, country):
    with pytest.raises(CommandError) as refused:
        said("create_biller", "Acme", "--reference", "acme", "--country", country)
    assert "ISO 3166" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (Biller.objects.count(), ApiKey.objects.count()) == (0, 0)


def test_the_demo_has_a_partner_that_collects_for_its_billers_and_a_second_load_changes_nothing(db, nobody, settings):
    settings.DEBUG = True
    said("load_demo", "--bills", "3")
    for text in (DEMO_PARTNER_KEY, DEMO_PARTNER_TEST_KEY):
        nobody.key = text
        told = nobody.get("/partner/billers").json()["data"]
        assert [(one["reference"], one["country"], one["currencies"]) for one in told] == [
            ("demo", "ZA", ["ZAR"]),
            ("demo-insurer", "JP", ["USD", "EUR", "JPY", "KWD"]),
            ("demo-school", "GB", ["GBP"]),
        ]
    nobody.key = DEMO_KEY
    assert nobody.get("/billing/bills").status_code == 200
    keys = ApiKey.objects.count()
    assert said("load_demo") == "The demo is loaded already; nothing changed.\n"
    assert (ApiKey.objects.count(), Partner.objects.count()) == (keys, 2)


def test_without_debug_the_demos_partner_has_no_key_that_everybody_knows(db, settings):
    settings.DEBUG = False
    said("load_demo", "--bills", "1")
    assert (Partner.objects.count(), ApiKey.objects.count()) == (2, 0)
