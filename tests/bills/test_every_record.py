"""What customers, accounts and bills have in common over the API: contract, section 2."""

import re
from urllib.parse import quote

import pytest

from events.models import Event

RULES = {"min_amount": 100, "max_amount": 5000, "underpayment_allowed": False, "overpayment_allowed": True}
NO_RULES = {"min_amount": None, "max_amount": None, "underpayment_allowed": True, "overpayment_allowed": False}
FULL = {
    "customers": {
        "external_reference": "R-1",
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+27821234567",
        "currency": "ZAR",
        "balance": 2000,
        "payment_rules": RULES,
        "metadata": {"route": "7", "ward": "North"},
    },
    "accounts": {
        "external_reference": "R-1",
        "customer": "owner",
        "name": "Primary Account",
        "currency": "KWD",
        "balance": -20000,
        "payment_rules": RULES,
        "metadata": {"meter": "94/24615"},
    },
    "bills": {
        "external_reference": "R-1",
        "customer": "owner",
        "currency": "JPY",
        "amount_due": 2000,
        "amount_paid": 500,
        "bill_date": "2026-01-31",
        "due_date": "2099-02-28",
        "description": "Water, January",
        "payment_rules": RULES,
        "metadata": {"period": "2026-01"},
    },
}
LEAST = {
    "customers": {"external_reference": "R-1"},
    "accounts": {"external_reference": "R-1", "customer": "owner"},
    "bills": {"external_reference": "R-1", "customer": "owner", "currency": "ZAR", "amount_due": 1},
}
DEFAULTS = {
    "customers": {"name": None, "email": None, "phone": None, "currency": None, "balance": None},
    "accounts": {"name": None, "currency": None, "balance": None},
    "bills": {
        "account_id": None,
        "amount_paid": 0,
        "amount_remaining": 1,
        "amount_overpaid": 0,
        "status": "UNPAID",
        "overdue": False,
        "due_date": None,
        "description": None,
        "voided_at": None,
        "void_reason": None,
    },
}
CHANGES = {
    "customers": {
        "name": "Jane Doe",
        "email": "jane@example.com",
        "phone": "+441632960961",
        "balance": -7,
        "payment_rules": {"min_amount": 1},
        "metadata": {"route": "8"},
    },
    "accounts": {
        "name": "Second Account",
        "balance": 7,
        "payment_rules": {"max_amount": 6000},
        "metadata": {"meter": "none"},
    },
    "bills": {
        "amount_due": 3000,
        "amount_paid": 3001,
        "due_date": "2100-01-01",
        "description": "Water, all of it",
        "payment_rules": {"overpayment_allowed": False},
        "metadata": {"read": "by phone"},
    },
}
CLEARED = {"customers": ("name", "email", "phone"), "accounts": ("name",), "bills": ("due_date", "description")}
PREFIXES = {"customers": "bcus", "accounts": "bacc", "bills": "bill"}
FOLLOWING = {
    "amount_due": {"amount_remaining"},
    "amount_paid": {"amount_remaining", "amount_overpaid", "status"},
}
every = pytest.mark.parametrize("kind", FULL)
each_field = pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, changes in CHANGES.items() for field in changes]
)


@pytest.fixture(autouse=True)
def owner(api):
    """The customer that accounts and bills below hang on."""
    made = api.post("/billing/customers", {"external_reference": "owner"})
    assert made.status_code == 201
    return made.json()


def body_of(kind, body, **changes):
    """Return a body without its reference, as PUT takes it."""
    return {name: value for name, value in {**body[kind], **changes}.items() if name != "external_reference"}


def without_the_moment(answer):
    return {name: value for name, value in answer.items() if name not in {"id", "created_at", "updated_at"}}


def owner_of(kind, owner):
    return {} if kind == "customers" else {"customer_id": owner["id"]}


def sent_as_told(kind, body, owner):
    return {name: value for name, value in body.items() if name != "customer"} | owner_of(kind, owner)


@every
def test_every_field_that_is_sent_is_kept_and_answered_alike_by_post_get_and_list(api, owner, kind):
    made = api.post(f"/billing/{kind}", FULL[kind])
    assert made.status_code == 201
    record = made.json()
    follows = {} if kind != "bills" else {"amount_remaining": 1500, "amount_overpaid": 0, "status": "UNPAID"}
    told = sent_as_told(kind, FULL[kind], owner) | follows
    assert {name: record[name] for name in told} == told
    assert set(record) - set(told) <= {"id", "created_at", "updated_at", *DEFAULTS[kind]}
    assert made.headers["Location"] == f"/billing/{kind}/{record['id']}"
    for path in (made.headers["Location"], f"/billing/{kind}/R-1"):
        read = api.get(path)
        assert (read.status_code, read.json(), read.headers["ETag"]) == (200, record, made.headers["ETag"])
    assert api.get(f"/billing/{kind}?external_reference=R-1").json()["data"] == [record]


@every
def test_what_is_not_sent_takes_its_default_and_every_field_is_present(api, owner, kind):
    record = api.post(f"/billing/{kind}", LEAST[kind]).json()
    told = sent_as_told(kind, LEAST[kind], owner)
    expected = {**told, **DEFAULTS[kind], "payment_rules": NO_RULES, "metadata": {}}
    today = {"bill_date": record["created_at"][:10]} if kind == "bills" else {}
    assert without_the_moment(record) == expected | today
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z", record["created_at"])
    assert record["created_at"] == record["updated_at"]


@every
def test_ids_tell_their_kind_and_are_never_used_twice(api, kind):
    made = [api.post(f"/billing/{kind}", {**LEAST[kind], "external_reference": f"R-{n}"}).json() for n in range(5)]
    assert all(re.fullmatch(PREFIXES[kind] + "_[0-9A-Za-z]{22}", record["id"]) for record in made)
    assert len({record["id"] for record in made}) == 5
    assert sorted(record["id"] for record in made) == [record["id"] for record in made]


@every
def test_a_taken_reference_is_refused_with_the_id_that_has_it(api, everything, kind):
    first = api.post(f"/billing/{kind}", LEAST[kind]).json()
    before = everything()
    refused = api.post(f"/billing/{kind}", FULL[kind])
    assert (refused.status_code, refused.json()["code"]) == (409, "external_reference_taken")
    [reason] = refused.json()["errors"]
    assert (reason["pointer"], reason["existing_id"]) == ("/external_reference", first["id"])
    assert everything() == before


def test_a_reference_is_unique_for_each_type_and_biller_alone(api, api_for, other):
    stranger = api_for(other)
    stranger.post("/billing/customers", {"external_reference": "owner"})
    for caller in (api, stranger):
        assert [caller.post(f"/billing/{kind}", LEAST[kind]).status_code for kind in FULL] == [201, 201, 201]


@every
@pytest.mark.parametrize("reference", ["94 24615 é", "17850-United Kingdom", "INV-2024-001", "a%b?c#d&e=f+g"])
def test_a_reference_is_found_percent_encoded_in_the_path(api, kind, reference):
    made = api.post(f"/billing/{kind}", {**LEAST[kind], "external_reference": reference}).json()
    assert made["external_reference"] == reference
    path = f"/billing/{kind}/{quote(reference)}"
    assert api.get(path).json() == made
    assert api.patch(path, {"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    assert api.put(path, {"metadata": {"a": "c"}}).json()["metadata"] == {"a": "c"}


@every
def test_an_id_wins_over_a_reference_that_looks_like_it(api, kind):
    first = api.post(f"/billing/{kind}", LEAST[kind]).json()
    second = api.post(f"/billing/{kind}", {**LEAST[kind], "external_reference": first["id"]}).json()
    assert api.get(f"/billing/{kind}/{first['id']}").json() == first
    assert api.get(f"/billing/{kind}?external_reference={first['id']}").json()["data"] == [second]


# --- PUT --------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("body", [LEAST, FULL], ids=["least", "full"])
def test_put_creates_with_the_defaults_of_post(api, kind, body):
    put = api.put(f"/billing/{kind}/R-2", body_of(kind, body))
    assert put.status_code == 201
    assert put.headers["Location"] == f"/billing/{kind}/{put.json()['id']}"
    posted = api.post(f"/billing/{kind}", body[kind]).json()
    same = without_the_moment(posted) | {"external_reference": "R-2"}
    assert without_the_moment(put.json()) == same


@every
def test_put_of_what_is_there_already_writes_nothing(api, everything, kind):
    first = api.put(f"/billing/{kind}/R-1", body_of(kind, FULL))
    before = everything()
    again = api.put(f"/billing/{kind}/R-1", FULL[kind])
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json(), again.headers["ETag"]) == (first.json(), first.headers["ETag"])
    assert "Location" not in again.headers
    assert everything() == before


@every
def test_put_changes_only_what_is_sent(api, kind):
    made = api.post(f"/billing/{kind}", FULL[kind]).json()
    assert api.put(f"/billing/{kind}/R-1", {}).json() == made
    put = api.put(f"/billing/{kind}/R-1", {"metadata": {"new": "1"}}).json()
    assert {name for name in made if made[name] != put[name]} == {"metadata", "updated_at"}
    assert put["metadata"] == {**made["metadata"], "new": "1"}


@every
def test_the_reference_in_a_puts_body_is_optional_and_must_be_the_paths(api, everything, kind):
    before = everything()
    refused = api.put(f"/billing/{kind}/R-2", LEAST[kind])
    assert refused.status_code == 400
    assert [(e["pointer"], e["code"]) for e in refused.json()["errors"]] == [
        ("/external_reference", "reference_mismatch")
    ]
    assert everything() == before
    assert api.put(f"/billing/{kind}/R-1", LEAST[kind]).status_code == 201


@every
def test_a_reference_with_a_slash_is_put_and_got_on_the_collection(api, kind):
    reference = "94/24615/657/109889"
    path = f"/billing/{kind}?external_reference={reference}"
    created = api.put(path, body_of(kind, LEAST))
    assert (created.status_code, created.json()["external_reference"]) == (201, reference)
    updated = api.put(path, {"external_reference": reference, "metadata": {"a": "b"}})
    assert (updated.status_code, updated.json()["metadata"]) == (200, {"a": "b"})
    assert api.get(path).json()["data"] == [updated.json()]
    assert api.get(path.replace("109889", "other")).json()["data"] == []
    assert api.put(f"/billing/{kind}", body_of(kind, LEAST)).status_code == 400


# --- PATCH ------------------------------------------------------------------------------------------------------------


@each_field
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_one_field_changes_itself_and_what_follows_from_it_and_tells_one_event(api, kind, field, method):
    made = api.post(f"/billing/{kind}", FULL[kind])
    record, events = made.json(), Event.objects.count()
    changed = api.call(method, f"/billing/{kind}/R-1", {field: CHANGES[kind][field]})
    assert changed.status_code == 200
    answer = changed.json()
    differing = {name for name in record if record[name] != answer[name]}
    assert differing == {field, "updated_at", *FOLLOWING.get(field, ())}
    merged = field in {"payment_rules", "metadata"}
    value = {**record[field], **CHANGES[kind][field]} if merged else CHANGES[kind][field]
    assert answer[field] == value
    assert answer["updated_at"] > record["updated_at"]
    assert changed.headers["ETag"] > made.headers["ETag"]
    assert api.get(f"/billing/{kind}/R-1").json() == answer
    body = {"id": record["id"], "external_reference": "R-1", field: value}
    told = [(event.type, event.body) for event in Event.objects.order_by("id")[events:]]
    assert told[0] == (f"{kind.removesuffix('s')}.updated", body)
    assert [type_ for type_, _ in told[1:]] == (["bill.paid"] if field == "amount_paid" else [])


@every
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_what_changes_nothing_writes_nothing(api, everything, kind, method):
    made = api.post(f"/billing/{kind}", FULL[kind])
    before = everything()
    for body in (
        {name: FULL[kind][name] for name in CHANGES[kind]},
        {"metadata": {}, "payment_rules": {}},
        {"metadata": {"absent": None}},
        {},
        *({name: FULL[kind][name]} for name in CHANGES[kind]),
    ):
        same = api.call(method, f"/billing/{kind}/R-1", body)
        assert (same.status_code, same.json(), same.headers["ETag"]) == (200, made.json(), made.headers["ETag"]), body
    assert everything() == before


@every
def test_fields_that_may_be_unset_are_unset_by_null(api, kind):
    api.post(f"/billing/{kind}", FULL[kind])
    cleared = api.patch(f"/billing/{kind}/R-1", dict.fromkeys(CLEARED[kind])).json()
    assert [cleared[name] for name in CLEARED[kind]] == [None] * len(CLEARED[kind])
    sent = {**LEAST[kind], "external_reference": "R-2", **dict.fromkeys(CLEARED[kind])}
    assert api.post(f"/billing/{kind}", sent).status_code == 201


@every
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_metadata_merges_and_a_null_takes_a_key_away(api, kind, method):
    api.post(f"/billing/{kind}", {**LEAST[kind], "metadata": {"keep": "1", "change": "2", "go": "3"}})
    sent = {"metadata": {"change": "two", "go": None, "come": "4"}}
    changed = api.call(method, f"/billing/{kind}/R-1", sent).json()
    assert changed["metadata"] == {"keep": "1", "change": "two", "come": "4"}
    assert api.get(f"/billing/{kind}/R-1").json() == changed


@every
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_payment_rules_merge_and_a_null_takes_an_override_away(api, kind, method):
    api.post(f"/billing/{kind}", {**LEAST[kind], "payment_rules": {"min_amount": 5, "overpayment_allowed": True}})
    sent = {"payment_rules": {"min_amount": None, "max_amount": 9}}
    changed = api.call(method, f"/billing/{kind}/R-1", sent).json()
    assert changed["payment_rules"] == {**NO_RULES, "max_amount": 9, "overpayment_allowed": True}
    cleared = api.call(method, f"/billing/{kind}/R-1", {"payment_rules": dict.fromkeys(RULES)}).json()
    assert cleared["payment_rules"] == NO_RULES


@every
def test_a_null_in_new_payment_rules_is_no_override(api, kind):
    made = api.post(f"/billing/{kind}", {**LEAST[kind], "payment_rules": dict.fromkeys(RULES)})
    assert (made.status_code, made.json()["payment_rules"]) == (201, NO_RULES)


@every
def test_what_does_not_exist_cannot_be_changed(api, everything, kind):
    before = everything()
    for key in ("none", f"{PREFIXES[kind]}_{'0' * 22}"):
        refused = api.patch(f"/billing/{kind}/{key}", {"metadata": {}})
        assert (refused.status_code, refused.json()["code"]) == (404, f"{kind.removesuffix('s')}_not_found")
    assert everything() == before


@every
def test_nothing_is_ever_deleted(api, everything, kind):
    api.post(f"/billing/{kind}", LEAST[kind])
    before = everything()
    assert api.call("DELETE", f"/billing/{kind}/R-1").status_code == 405
    assert everything() == before
