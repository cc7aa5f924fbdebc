"""A biller's profile: how its files are to be understood, said once."""

import threading

import pytest
from django.db import connection
from sheets import row, sheet

from billers.acts import perform
from billers.models import Biller
from bills.models import Bill
from imports.models import Profile, is_profile_name
from imports.options import OPTIONS as EVERY
from imports.options import of_file

ODD = "No;Due;Who\nB1;1.234,50;42\n"
OPTIONS = (
    *("--map", "external_reference=No", "--map", "amount_due=Due", "--map", "customer_external_reference=Who"),
    *("--amounts", "major", "--decimal", ",", "--thousands", ".", "--currency", "EUR"),
    *("--pad", "customer_external_reference=4", "--date-format", "%d/%m/%Y", "--due-days", "30"),
)


def test_a_saved_profile_stands_for_its_options(bring):
    assert bring(ODD, *OPTIONS, "--save-profile", "erp").code == 0
    assert bring(ODD, "--profile", "erp").unchanged == 1
    kept = Profile.objects.get()
    assert (kept.name, kept.biller.reference, kept.biller.mode) == ("erp", "acme", "live")
    assert kept.options == {
        "map": ["external_reference=No", "amount_due=Due", "customer_external_reference=Who"],
        "amounts": "major",
        "decimal": ",",
        "thousands": ".",
        "currency": "EUR",
        "pad": ["customer_external_reference=4"],
        "date_format": "%d/%m/%Y",
        "due_days": 30,
    }


def test_what_is_said_goes_before_what_is_remembered(bring):
    bring(ODD, *OPTIONS, "--ignore-unknown", "--save-profile", "erp")
    other = "Number;Due;Who;More\nB2;1,234.50;7;x\n"
    said = ("--map", "external_reference=Number", "--decimal", ".", "--thousands", ",", "--currency", "USD")
    run = bring(other, "--profile", "erp", *said, "--pad", "customer_external_reference=2")
    assert run.code == 0, run.err
    bill = Bill.objects.select_related("customer").get(external_reference="B2")
    assert (bill.currency, bill.amount_due, bill.customer.external_reference) == ("USD", 123450, "07")
    assert "“More”" in bring(other, "--profile", "erp", *said, "--no-ignore-unknown").err
    assert "names a field twice" in bring(other, "--profile", "erp", *said, *said[:2]).err


def test_a_profile_is_saved_anew_whole_and_with_what_it_was_used_beside(bring):
    bring(ODD, *OPTIONS, "--save-profile", "erp")
    bring(ODD, "--profile", "erp", "--due-days", "10", "--save-profile", "erp")
    before = Profile.objects.get()
    assert (before.options["due_days"], before.options["currency"]) == (10, "EUR")
    assert bring(sheet(row("B7")), "--save-profile", "erp").code == 0
    after = Profile.objects.get()
    assert (after.pk, after.options, after.created_at) == (before.pk, {}, before.created_at)
    assert after.updated_at > before.updated_at


def test_what_comes_to_nothing_is_not_remembered(bring):
    for options in (["--dry-run"], ["--map", "description=absent"], ["--due-days", "-1"]):
        bring(ODD, *OPTIONS, *options, "--save-profile", "erp")
    assert not Profile.objects.exists()


def test_a_profile_is_its_billers_and_its_modes_alone(bring, biller):
    Biller.objects.found(name="Other", reference="other")
    bring(ODD, *OPTIONS, "--save-profile", "erp")
    for options in ({"reference": "other"}, {}):
        mode = ("--mode", "live" if options else "test")
        run = bring(ODD, "--profile", "erp", *mode, **options)
        assert run.code == 2
        assert "has none of this name" in run.err
    assert bring(sheet(row()), "--save-profile", "erp", reference="other").code == 0
    assert Profile.objects.count() == 2
    assert Profile.objects.for_biller(biller).get().options["currency"] == "EUR"


def test_a_profile_holds_what_says_how_a_file_is_to_be_understood():
    held = of_file({option.name: "other than usual" for option in EVERY})
    assert {option.name for option in EVERY} - {*held} == {"dry_run", "on_error", "max_errors", "events"}


def test_a_name_is_of_1_to_64_plain_characters():
    assert all(map(is_profile_name, ("a", "x" * 64, "SAP.2024_v-1")))
    assert not any(map(is_profile_name, ("", "x" * 65, "two words", "a\n", "a/b", "é", "a\0")))


@pytest.mark.django_db(transaction=True)
def test_two_that_save_a_profile_at_once_leave_one():
    biller = Biller.objects.found(name="Acme", reference="acme")["live"]
    start, failures = threading.Barrier(8), []

    def save(number):
        try:
            start.wait()
            perform(biller, "test", lambda act: Profile.objects.keep(act, "erp", {"due_days": number}))
        except Exception as failure:  # noqa: BLE001 whatever it is
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failures, Profile.objects.count()) == ([], 1)
