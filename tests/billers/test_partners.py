"""Channel partners and the billers they may collect for: the verbs, and what they leave in the audit trail."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billers.models import ApiKey, Biller, Enablement, Partner
from core import countries


def collected(partner):
    return [biller.reference for biller in Biller.objects.collected_by(partner)]


def labels(model):
    return list(model.pgh_event_model.objects.order_by("pgh_id").values_list("pgh_label", flat=True))


def somebody_waits_for_us():
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
        return cursor.rowcount > 0


def test_a_partner_is_founded_in_live_and_test_mode(db):
    pair = Partner.objects.found(name="Corner Shops", reference="corner")
    assert {mode: (partner.mode, partner.name, partner.reference) for mode, partner in pair.items()} == {
        mode: (mode, "Corner Shops", "corner") for mode in ("live", "test")
    }
    assert all(partner.pk.startswith("prt_") for partner in pair.values())
    assert [str(partner) for partner in pair.values()] == ["Corner Shops", "Corner Shops (test)"]
    assert labels(Partner) == ["insert", "insert"]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"reference": "corner"}, "Another partner has this reference."),
        ({"reference": "a b"}, "letters, numbers"),
        ({"reference": "x" * 65}, "64"),
        ({"name": "x" * 256}, "255"),
        ({"name": ""}, "blank"),
    ],
)
def test_what_is_wrong_with_a_partner_is_said_and_nothing_is_written(partners, facts, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Partner.objects.found(**{"name": "Shops", "reference": "new", **facts})
    assert Partner.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [Partner, Biller])
def test_of_two_founded_at_once_the_later_is_told_that_the_reference_is_taken(model):
    def found():
        try:
            return model.objects.found(name="Two", reference="two")
        except ValidationError as error:
            return error.messages
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as later:
        with transaction.atomic():
            model.objects.found(name="One", reference="two")
            second = later.submit(found)
            # It has looked already, and waits for us at the reference.
            while not somebody_waits_for_us():
                assert not second.done()
                time.sleep(0.01)
        assert second.result() == [f"Another {model._meta.verbose_name} has this reference."]
    assert set(model.objects.values_list("name", flat=True)) == {"One"}


def test_the_longest_reference_and_name_fit(db):
    assert len(Partner.objects.found(name="x" * 255, reference="y" * 64)) == 2


def test_a_partner_may_have_a_billers_reference(pair):
    assert len(Partner.objects.found(name="Acme too", reference="acme")) == 2


def test_enabling_twice_is_once_and_keeps_the_first_moment(partner, biller):
    first = Enablement.objects.get(partner=partner)
    Enablement.objects.enable(partner, [biller, biller])
    again = Enablement.objects.get(partner=partner)
    assert (again.pk, again.created_at, again.disabled_at) == (first.pk, first.created_at, None)
    assert labels(Enablement) == ["insert", "insert"]


def test_disabling_keeps_the_row_and_the_first_moment_of_it(partner, biller):
    moment = timezone.now()
    assert Enablement.objects.disable(partner, [biller], moment) == 1
    assert Enablement.objects.disable(partner, [biller], timezone.now()) == 0
    kept = Enablement.objects.get(partner=partner)
    assert (kept.disabled_at, kept.biller, kept.mode) == (moment, biller, "live")
    assert collected(partner) == []
    Enablement.objects.enable(partner, [biller])
    assert Enablement.objects.get(partner=partner).disabled_at is None
    assert collected(partner) == ["acme"]
    assert labels(Enablement) == ["insert", "insert", "update", "update"]


def test_what_one_partner_may_collect_says_nothing_of_another_or_of_the_other_mode(
    partners, other_partner, pair, other
):
    assert [collected(partners[mode]) for mode in ("live", "test")] == [["acme"], ["acme"]]
    assert collected(other_partner) == []
    Enablement.objects.enable(other_partner, [other, pair["live"]])
    Enablement.objects.disable(partners["live"], [pair["live"]], timezone.now())
    assert collected(partners["live"]) == []
    assert collected(partners["test"]) == ["acme"]
    assert collected(other_partner) == ["acme", "other"]


@pytest.mark.django_db(transaction=True)
def test_enabling_the_same_at_the_same_time_makes_one_row(other_partner, biller):
    ready, errors = Barrier(8), []

    def enable():
        try:
            ready.wait()
            Enablement.objects.enable(other_partner, [biller])
        except DatabaseError as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=enable) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Enablement.objects.filter(partner=other_partner).count() == 1


def test_a_key_belongs_to_the_partner_or_biller_it_was_issued_to(partner, test_partner, biller):
    keys = {owner: ApiKey.objects.issue(owner) for owner in (partner, test_partner, biller)}
    for owner, (key, text) in keys.items():
        kept = ApiKey.objects.get(pk=key.pk)
        assert (kept.owner, bytes(kept.digest)) == (owner, ApiKey.digest_of(text))
        assert text.startswith("sk_test_" if owner.mode == "test" else "sk_")
    assert partner.api_keys.count() == biller.api_keys.count() == 1
    history = ApiKey.pgh_event_model.objects.order_by("pgh_id")
    assert [(row.biller_id, row.partner_id) for row in history] == [
        (None, partner.pk),
        (None, test_partner.pk),
        (biller.pk, None),
    ]


@pytest.mark.parametrize("code", ["ZA", "GB", "JP"])
def test_a_billers_country_is_one_of_iso_3166(db, code):
    assert Biller.objects.found(name="A", reference="a", country=code)["live"].country == code


@pytest.mark.parametrize("code", ["XX", "za", "ZAF", "UK", "", "EU", "Z\0"])
def test_what_is_no_country_is_refused_and_nothing_is_written(db, code):
    with pytest.raises(ValidationError):
        Biller.objects.found(name="A", reference="a", country=code)
    assert Biller.objects.count() == 0


def test_the_list_of_countries_is_whole():
    assert len(countries.names()) == 249
    assert countries.names()["ZA"] == "South Africa"
    assert all(len(code) == 2 and code.isupper() and name for code, name in countries.names().items())


@pytest.mark.parametrize(
    ("settings", "currencies"),
    [
        ({}, []),
        ({"default_currency": "ZAR"}, ["ZAR"]),
        ({"amount_limits": {"USD": {}, "EUR": {"max_amount": 5}}}, ["EUR", "USD"]),
        ({"default_currency": "USD", "amount_limits": {"USD": {}, "EUR": {}}}, ["USD", "EUR"]),
    ],
)
def test_a_biller_declares_its_usual_currency_and_those_it_has_limits_for(db, settings, currencies):
    assert Biller.objects.found(name="A", reference="a", **settings)["test"].currencies == currencies
