import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billers.models import ApiKey, Biller, Enablement, Partner


def page(record_or_model, name="change"):
    opts = record_or_model._meta
    args = [] if name in {"add", "changelist"} else [quote(record_or_model.pk)]
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args)


def collected(partner):
    return [biller.reference for biller in Biller.objects.collected_by(partner)]


def standing():
    return [list(model.objects.order_by("pk").values()) for model in (Partner, Enablement, ApiKey, Biller, LogEntry)]


@pytest.fixture
def second(db):
    return Biller.objects.found(name="Kopano Schools", reference="kopano")


@pytest.fixture
def partners(billers):
    pair = Partner.objects.found(name="Corner Shops", reference="corner")
    for mode, partner in pair.items():
        Enablement.objects.enable(partner, [billers[mode]])
    return pair


@pytest.fixture
def partner(partners):
    return partners["live"]


def test_founding_a_partner_makes_both_modes_and_enables_it_in_both(staff, biller, second):
    fields = {"name": "Corner Shops", "reference": "corner", "billers": [biller.pk, second["live"].pk]}
    answer = staff.post(page(Partner, "add"), fields)
    assert answer.status_code == 302, answer.context["errors"]
    pair = {partner.mode: partner for partner in Partner.objects.filter(reference="corner")}
    assert {mode: collected(partner) for mode, partner in pair.items()} == {
        "live": ["highveld", "kopano"],
        "test": ["highveld", "kopano"],
    }
    assert [row.pgh_context["actor"] for row in Partner.pgh_event_model.objects.all()] == ["staff:thandi"] * 2
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"reference": "corner"}, "reference", "Another partner has this reference."),
        ({"reference": "a b"}, "reference", "letters, numbers"),
        ({"name": ""}, "name", "required"),
        ({"billers": ["blr_" + "0" * 22]}, "billers", "not one of the available choices"),
        ({"billers": ["x"]}, "billers", "is no blr_ id"),
        ({"billers": ["test"]}, "billers", "not one of the available choices"),
    ],
)
def test_what_is_wrong_with_a_partner_is_said_beside_the_field(staff, partners, billers, changes, field, sentence):
    before = standing()
    fields = {"name": "Shops", "reference": "new", **changes}
    fields["billers"] = [billers["test"].pk if one == "test" else one for one in fields.get("billers", [])]
    errors = staff.post(page(Partner, "add"), fields).context["adminform"].form.errors
    assert sentence in str(errors.get(field) or errors["__all__"])
    assert standing() == before


def test_the_billers_of_a_partner_are_chosen_and_taken_away_within_its_mode(staff, partners, billers, second):
    partner = partners["live"]
    answer = staff.post(page(partner), {"name": "Corner", "billers": [second["live"].pk]})
    assert answer.status_code == 302, answer.context["errors"]
    partner.refresh_from_db()
    assert (partner.name, partner.reference, collected(partner)) == ("Corner", "corner", ["kopano"])
    assert collected(partners["test"]) == ["highveld"]
    assert Enablement.objects.get(partner=partner, biller=billers["live"]).disabled_at is not None
    before = standing()
    assert staff.post(page(partner), {"name": "Corner", "billers": [billers["test"].pk]}).status_code == 200
    assert standing() == before
    assert staff.post(page(partner), {"name": "Corner", "billers": [billers["live"].pk]}).status_code == 302
    assert collected(partner) == ["highveld"]


def test_a_form_nobody_touched_changes_nothing(staff, partner):
    before = standing()[:-1]
    form = staff.get(page(partner)).context["adminform"].form
    chosen = form["billers"].value()
    assert chosen == [biller.pk for biller in Biller.objects.collected_by(partner)]
    answer = staff.post(page(partner), {"name": partner.name, "billers": chosen})
    assert answer.status_code == 302
    assert standing()[:-1] == before


def test_a_partners_reference_and_mode_stay(staff, partner):
    assert staff.post(page(partner), {"name": "Corner", "reference": "x", "mode": "test"}).status_code == 302
    partner.refresh_from_db()
    assert (partner.name, partner.reference, partner.mode) == ("Corner", "corner", "live")


def test_a_partners_key_is_issued_on_its_own_page_and_shown_once(staff, partner, biller):
    address = f"{page(ApiKey, 'add')}?partner={partner.pk}"
    assert "Corner Shops" in staff.get(address).content.decode()
    answer = staff.post(address, {"label": "tills", "scope": "write"})
    key = ApiKey.objects.get()
    secret = answer.context["secret"]
    assert secret in answer.content.decode()
    assert (key.owner, key.label, bytes(key.digest)) == (partner, "tills", ApiKey.digest_of(secret))
    for shown in (page(key), f"{page(ApiKey, 'changelist')}?partner={partner.pk}", page(key, "history")):
        told = staff.get(shown).content.decode()
        assert secret not in told
        assert "Corner Shops" in told or "history" in shown
    assert ApiKey.pgh_event_model.objects.get().pgh_context["actor"] == "staff:thandi"


def test_keys_are_listed_by_their_owner_and_show_it(staff, partners, biller):
    keys = {owner: ApiKey.objects.issue(owner)[0] for owner in (*partners.values(), biller)}
    for owner, key in keys.items():
        kind = owner._meta.model_name
        listed = staff.get(page(ApiKey, "changelist"), {kind: owner.pk})
        assert list(listed.context["cl"].result_list) == [key]
        shown = staff.get(page(key)).content.decode()
        assert page(owner) in shown
        assert str(owner) in shown


def test_a_partners_key_can_be_revoked(staff, partner):
    key, _ = ApiKey.objects.issue(partner)
    address = reverse("admin:billers_apikey_revoke", args=[quote(key.pk)])
    assert staff.get(address).status_code == 200
    assert staff.post(address, {"reason": "Leaked"}).status_code == 302
    assert not ApiKey.objects.filter(revoked_at=None).exists()


@pytest.mark.parametrize("name", ["x", "prt_" + "0" * 22, "blr_" + "0" * 22, ""])
def test_keys_of_a_partner_that_is_not_there_are_nobodys(staff, biller, partner, name):
    ApiKey.objects.issue(partner)
    listed = staff.get(page(ApiKey, "changelist"), {"partner": name}, follow=True)
    assert listed.status_code == 200
    assert list(listed.context["cl"].result_list) == []
    assert staff.get(page(ApiKey, "add"), {"partner": name}, follow=True).status_code == 200


def test_the_list_of_partners_tells_for_how_many_each_collects_and_asks_no_more_for_thirty(staff, partner, biller):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            listed = staff.get(page(Partner, "changelist"))
        return len(captured), {row.reference: row.enabled for row in listed.context["cl"].result_list}

    Partner.objects.found(name="Bank", reference="bank")
    queries()
    few, counts = queries()
    assert counts == {"bank": 0, "corner": 1}
    for number in range(15):
        for one in Partner.objects.found(name="P", reference=f"p{number}").values():
            if one.mode == "live":
                Enablement.objects.enable(one, [biller])
    many, counts = queries()
    assert (many, len(counts)) == (few, 17)


def test_a_billers_country_is_chosen_from_a_list(staff, biller):
    address = page(biller)
    form = staff.get(address).context["adminform"].form
    fields = {name: value if (value := form[name].value()) is not None else "" for name in form.fields}
    assert ("ZA", "South Africa") in form.fields["country"].choices
    for country, kept in (("ZA", "ZA"), ("", None)):
        assert staff.post(address, {**fields, "country": country}).status_code == 302
        biller.refresh_from_db()
        assert biller.country == kept
    assert "country" in staff.post(address, {**fields, "country": "XX"}).context["adminform"].form.errors
