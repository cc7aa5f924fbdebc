"""Payment rules: what is unset comes from the account, the customer, the biller: contract, section 2."""

from itertools import product

import pytest

from api.authentication import key_ring

NONE = {"min_amount": None, "max_amount": None, "underpayment_allowed": True, "overpayment_allowed": False}
LAYERS = ("bill", "account", "customer", "biller")


@pytest.fixture
def limits(biller):
    """Set what the biller says, per currency."""

    def set_limits(**settings):
        for name, value in settings.items():
            setattr(biller, name, value)
        biller.save()
        key_ring.forget()

    return set_limits


def rules(api, kind):
    return api.get(f"/billing/{kind}s/R").json()["payment_rules"]


def create(api, currency="ZAR", bill=None, account=None, customer=None, currencies=(None, None)):
    """Create a bill, account and customer, all called R, each with these overrides."""
    owner = {"external_reference": "R", "payment_rules": customer or {}, "currency": currencies[1]}
    holder = {"external_reference": "R", "payment_rules": account or {}, "currency": currencies[0], "customer": owner}
    body = {"external_reference": "R", "currency": currency, "amount_due": 5, "payment_rules": bill or {}}
    made = api.post("/billing/bills", {**body, "account": holder})
    assert made.status_code == 201, made.content
    return made.json()


def test_a_new_biller_has_no_minimum_no_maximum_allows_less_and_not_more(api):
    assert create(api)["payment_rules"] == NONE
    assert rules(api, "account") == rules(api, "customer") == NONE


@pytest.mark.parametrize("saying", list(product([False, True], repeat=4)))
def test_the_nearest_layer_that_says_something_wins(api, limits, saying):
    said = dict(zip(LAYERS, saying, strict=True))
    amounts = {"bill": 1, "account": 2, "customer": 3, "biller": 4}
    if said["biller"]:
        limits(amount_limits={"ZAR": {"min_amount": 4, "max_amount": 40}}, overpayment_allowed=True)
    overrides = {
        layer: {"min_amount": amounts[layer], "max_amount": amounts[layer] * 10} if said[layer] else {}
        for layer in LAYERS[:3]
    }
    answer = create(api, **overrides)
    nearest = next((amounts[layer] for layer in LAYERS if said[layer]), None)
    assert answer["payment_rules"] == {
        **NONE,
        "min_amount": nearest,
        "max_amount": nearest and nearest * 10,
        "overpayment_allowed": said["biller"],
    }
    assert rules(api, "bill") == answer["payment_rules"]
    [listed] = api.get("/billing/bills").json()["data"]
    assert listed["payment_rules"] == answer["payment_rules"]


def test_each_rule_is_inherited_on_its_own(api, limits):
    limits(amount_limits={"ZAR": {"max_amount": 900}}, underpayment_allowed=False)
    create(
        api,
        bill={"min_amount": 1},
        account={"overpayment_allowed": True},
        customer={"min_amount": 2, "overpayment_allowed": False},
        currencies=("ZAR", "ZAR"),
    )
    inherited = {"max_amount": 900, "underpayment_allowed": False}
    assert rules(api, "bill") == {"min_amount": 1, "overpayment_allowed": True, **inherited}
    assert rules(api, "account") == {"min_amount": 2, "overpayment_allowed": True, **inherited}
    assert rules(api, "customer") == {"min_amount": 2, "overpayment_allowed": False, **inherited}


def test_false_is_something_said(api, limits):
    limits(overpayment_allowed=True)
    create(api, bill={"underpayment_allowed": False}, account={"overpayment_allowed": False})
    assert rules(api, "bill") == {**NONE, "underpayment_allowed": False, "overpayment_allowed": False}
    assert rules(api, "customer")["overpayment_allowed"] is True


@pytest.mark.parametrize(("currency", "least"), [("ZAR", 100), ("JPY", 5), ("KWD", None)])
def test_a_billers_amounts_are_per_currency(api, limits, currency, least):
    limits(amount_limits={"ZAR": {"min_amount": 100}, "JPY": {"min_amount": 5}})
    assert create(api, currency)["payment_rules"]["min_amount"] == least
    # A customer or account without a currency has no amounts of the biller's.
    assert rules(api, "customer")["min_amount"] is None


def test_amounts_of_an_owner_in_another_currency_do_not_count_but_its_permissions_do(api, limits):
    limits(amount_limits={"JPY": {"max_amount": 70}})
    said = {"min_amount": 5, "max_amount": 50, "overpayment_allowed": True}
    answer = create(api, "JPY", customer=said, currencies=(None, "ZAR"))
    assert answer["payment_rules"] == {**NONE, "max_amount": 70, "overpayment_allowed": True}
    assert rules(api, "customer") == {**NONE, **said}
    answer = api.post(
        "/billing/bills", {"external_reference": "Z", "currency": "ZAR", "amount_due": 5, "account": "R"}
    ).json()
    assert answer["payment_rules"] == {**NONE, **said}


def test_a_change_of_an_owners_rules_is_in_force_at_once_below_it(api):
    create(api)
    api.patch("/billing/customers/R", {"payment_rules": {"min_amount": 5}})
    assert [rules(api, kind)["min_amount"] for kind in ("bill", "account", "customer")] == [5, 5, 5]
    api.patch("/billing/accounts/R", {"payment_rules": {"min_amount": 6}})
    assert [rules(api, kind)["min_amount"] for kind in ("bill", "account", "customer")] == [6, 6, 5]
    changed = api.patch("/billing/bills/R", {"account": {"payment_rules": {"min_amount": None, "max_amount": 8}}})
    assert changed.json()["payment_rules"] == {**NONE, "min_amount": 5, "max_amount": 8}


@pytest.mark.parametrize("kind", ["bill", "account", "customer"])
def test_a_minimum_above_the_maximum_is_refused_however_it_comes_about(api, everything, kind):
    create(api, **{kind: {"min_amount": 5}})
    before = everything()
    for change in ({"max_amount": 4}, {"min_amount": 9, "max_amount": 8}):
        refused = api.patch(f"/billing/{kind}s/R", {"payment_rules": change})
        assert (refused.status_code, refused.json()["code"]) == (422, f"{kind}_min_amount_above_max_amount")
    assert everything() == before
    assert api.patch(f"/billing/{kind}s/R", {"payment_rules": {"max_amount": 5}}).status_code == 200


def test_expanded_owners_show_their_own_rules_in_force(api, limits):
    limits(amount_limits={"ZAR": {"max_amount": 900}})
    create(api, account={"min_amount": 2}, customer={"min_amount": 3}, currencies=("ZAR", None))
    shown = api.get("/billing/bills/R?expand=account,customer").json()
    assert shown["account"]["payment_rules"] == {**NONE, "min_amount": 2, "max_amount": 900}
    assert shown["customer"]["payment_rules"] == {**NONE, "min_amount": 3}
