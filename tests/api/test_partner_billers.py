"""The billers a channel partner may collect for: contract, section 3, first row."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billers.models import Biller, Enablement

BILLERS = "/partner/billers"


def references(response):
    assert response.status_code == 200, response.content
    return [biller["reference"] for biller in response.json()["data"]]


@pytest.fixture
def three(partner, pair):
    """Two more billers that the partner is enabled for in live mode, whose names sort unlike their references."""
    for reference, name in (("bee", "Zebra"), ("cee", "Yak")):
        live = Biller.objects.found(name=name, reference=reference)["live"]
        Enablement.objects.enable(partner, [live])


def test_a_biller_is_told_by_reference_name_country_and_currencies_and_nothing_else(partner_api, biller):
    biller.country, biller.default_currency = "ZA", "ZAR"
    biller.amount_limits = {"USD": {"min_amount": 5}, "EUR": {}, "ZAR": {}}
    biller.save()
    page = partner_api.get(BILLERS)
    assert page.json() == {
        "data": [
            {"reference": "acme", "name": "Acme Water", "country": "ZA", "currencies": ["ZAR", "EUR", "USD"]},
        ],
        "next_cursor": None,
        "previous_cursor": None,
    }
    assert page.headers["Content-Type"] == "application/json"


def test_a_biller_that_declares_neither_country_nor_currency_is_told_so(partner_api):
    assert partner_api.get(BILLERS).json()["data"] == [
        {"reference": "acme", "name": "Acme Water", "country": None, "currencies": []}
    ]


def test_a_partner_sees_the_billers_it_is_enabled_for_in_its_own_mode_alone(
    api_for, partner_api, partner, test_partner, other, other_partner
):
    assert references(partner_api.get(BILLERS)) == ["acme"]
    assert references(api_for(other_partner).get(BILLERS)) == []
    Enablement.objects.enable(partner, [other])
    assert references(partner_api.get(BILLERS)) == ["acme", "other"]
    assert references(api_for(test_partner).get(BILLERS)) == ["acme"]


def test_a_disabled_biller_is_gone_at_once_and_back_when_enabled_again(partner_api, partner, biller):
    assert Enablement.objects.disable(partner, [biller], timezone.now()) == 1
    assert references(partner_api.get(BILLERS)) == []
    Enablement.objects.enable(partner, [biller])
    assert references(partner_api.get(BILLERS)) == ["acme"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", ["acme", "bee", "cee"]),
        ("sort=reference", ["acme", "bee", "cee"]),
        ("sort=-reference", ["cee", "bee", "acme"]),
        ("sort=name", ["acme", "cee", "bee"]),
        ("sort=-name", ["bee", "cee", "acme"]),
    ],
)
def test_the_list_is_sorted_and_paged_both_ways(partner_api, three, order, expected):
    assert references(partner_api.get(f"{BILLERS}?{order}")) == expected
    seen, cursor, pages = [], "", []
    while cursor is not None:
        page = partner_api.get(f"{BILLERS}?limit=1&{order}{cursor and f'&cursor={cursor}'}")
        seen += references(page)
        pages.append(page)
        cursor = page.json()["next_cursor"]
        assert page.headers.get("Next-Cursor") == cursor
        assert (cursor is None) == ('rel="next"' not in page.headers.get("Link", ""))
    assert seen == expected
    back = partner_api.get(f"{BILLERS}?limit=1&{order}&cursor={pages[-1].json()['previous_cursor']}")
    assert references(back) == [expected[1]]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("sort=created_at", "invalid_sort"),
        ("sort=", "invalid_sort"),
        ("cursor=x", "invalid_cursor"),
        ("cursor=", "invalid_cursor"),
        ("biller=acme", "unknown_parameter"),
        ("expand=customer", "unknown_parameter"),
        ("limit=1&limit=1", "repeated_parameter"),
        ("cursor=%00", "invalid_parameter"),
    ],
)
def test_parameters_are_strict(partner_api, query, code):
    refused = partner_api.get(f"{BILLERS}?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, code)


def test_limits_are_1_to_100(partner_api):
    for limit in (1, 100):
        assert partner_api.get(f"{BILLERS}?limit={limit}").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_list_sends_one_statement_however_long_it_is(partner_api, partner):
    counts = []
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            Enablement.objects.enable(
                partner, [Biller.objects.found(name=f"B{number}", reference=f"b{number}")["live"]]
            )
        assert partner_api.get(BILLERS).status_code == 200  # from now on, and for some seconds, the key is known
        with CaptureQueriesContext(connection) as captured:
            assert len(references(partner_api.get(f"{BILLERS}?limit=100"))) == numbers[-1] + 2
        counts.append(len(captured))
    assert counts == [1, 1]
