"""Webhook endpoints and the delivery log over the API: contract, section 5."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.apps import apps
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.models import IdempotencyKey
from core.ids import new_id
from events.models import MOST_ENDPOINTS, Delivery, Type, WebhookEndpoint, WebhookSecret

PATH = "/billing/webhook_endpoints"
URL = "https://hooks.example/"


@pytest.fixture
def endpoint(api):
    return api.post(PATH, {"url": URL}).json()


@pytest.fixture
def delivery(api, endpoint):
    api.post("/billing/customers", {"external_reference": "C"})
    api.get("/billing/events")
    return api.get("/billing/deliveries").json()["data"][0]


def test_an_endpoint_is_registered_with_a_secret_of_standard_webhooks(api):
    made = api.post(PATH, {"url": URL})
    assert made.status_code == 201
    told = made.json()
    assert made.headers["Location"] == f"{PATH}/{told['id']}"
    assert told["id"].startswith("whe_")
    prefix, _, key = told.pop("secret").partition("_")
    assert (prefix, len(base64.b64decode(key, validate=True))) == ("whsec", 32)
    assert told == api.get(f"{PATH}/{told['id']}").json()
    assert {name: told[name] for name in ("url", "events", "description", "enabled", "disabled_reason")} == {
        "url": URL,
        "events": ["*"],
        "description": None,
        "enabled": True,
        "disabled_reason": None,
    }


def test_the_secret_is_told_once_and_stands_in_no_other_answer_log_or_history(api, endpoint, caplog, delivery):
    path = f"{PATH}/{endpoint['id']}"
    new = api.post(f"{path}/rotate").json()["secret"]
    texts = [api.get(PATH).content, api.get(path).content, api.get("/billing/deliveries").content]
    texts += [api.patch(path, {"description": "x"}).content, api.patch(path, {"url": "x"}).content]
    refused = api.post(f"{path}/rotate", {"secret": "x"})
    assert refused.status_code == 400
    texts += [refused.content, caplog.text.encode()]
    texts += [str(list(apps.get_model("events", "WebhookEndpointHistory").objects.values())).encode()]
    texts += [str(WebhookSecret.objects.first()).encode(), repr(WebhookSecret.objects.first()).encode()]
    for text in texts:
        for secret in (endpoint["secret"], new):
            assert secret.removeprefix("whsec_").encode() not in text


def test_a_replay_tells_the_same_secret_again_and_makes_no_second_endpoint(api):
    first, again = (api.post(PATH, {"url": URL}, Idempotency_Key="k") for _ in range(2))
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (201, first.content, "true")
    path = f"{PATH}/{first.json()['id']}/rotate"
    first, again = (api.post(path, Idempotency_Key="r") for _ in range(2))
    assert (again.status_code, again.content) == (200, first.content)
    assert (WebhookEndpoint.objects.count(), WebhookSecret.objects.count()) == (1, 2)


def test_a_rotation_leaves_the_old_secret_24_hours_and_forgets_the_expired(api, endpoint):
    before = api.get(f"{PATH}/{endpoint['id']}")
    rotated = api.post(f"{PATH}/{endpoint['id']}/rotate")
    assert (rotated.status_code, before.headers["ETag"], rotated.headers["ETag"]) == (200, '"1"', '"2"')
    assert rotated.json()["secret_changed_at"] > before.json()["secret_changed_at"]
    old = WebhookSecret.objects.get(secret=endpoint["secret"])
    assert 86390 < (old.expires_at - timezone.now()).total_seconds() <= 86400
    WebhookSecret.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    api.post(f"{PATH}/{endpoint['id']}/rotate")
    assert WebhookSecret.objects.get(secret=rotated.json()["secret"]).expires_at > timezone.now()
    assert not WebhookSecret.objects.filter(pk=old.pk).exists()
    assert WebhookSecret.objects.filter(expires_at=None).count() == 1


@pytest.mark.parametrize(
    "events", [["*"], ["bill.paid"], list(Type.values), ["customer.created", "obligation.amount_applied"]]
)
def test_the_types_an_endpoint_takes(api, events):
    assert api.post(PATH, {"url": URL, "events": events}).json()["events"] == events


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], "invalid_event_types"),
        (["bill.lost"], "invalid_event_types"),
        (["*", "bill.paid"], "invalid_event_types"),
        (["*", "*"], "invalid_event_types"),
        (["bill.paid", "bill.paid"], "invalid_event_types"),
        ([""], "invalid_event_types"),
        (["BILL.PAID"], "invalid_event_types"),
        ([5], "invalid_type"),
        ([None], "invalid_type"),
        ([["bill.paid"]], "invalid_type"),
        ("bill.paid", "invalid_type"),
        ({}, "invalid_type"),
        (None, "null"),
    ],
)
def test_types_that_mean_nothing_are_refused(api, events, code):
    refused = api.post(PATH, {"url": URL, "events": events})
    assert [(error["pointer"], error["code"]) for error in refused.json()["errors"]] == [("/events", code)]
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "whe_x"}, "read_only"),
        ({"secret": "whsec_x"}, "read_only"),
        ({"disabled_reason": "gone"}, "read_only"),
        ({"created_at": "2026-01-01"}, "read_only"),
        ({"free_at": "2026-01-01"}, "unknown_field"),
        ({"biller": "x"}, "unknown_field"),
        ({"enabled": "true"}, "invalid_type"),
        ({"enabled": None}, "null"),
        ({"description": "x" * 501}, "too_long"),
    ],
)
def test_what_is_ours_or_unknown_is_refused(api, endpoint, change, code):
    for refused in (api.patch(f"{PATH}/{endpoint['id']}", change), api.post(PATH, {"url": URL, **change})):
        assert [error["code"] for error in refused.json()["errors"]] == [code]
    assert api.get(f"{PATH}/{endpoint['id']}").headers["ETag"] == '"1"'


WRONG = (None, True, 1, 1.5, "x", [], {}, ["x"], {"x": 1})
RIGHT = {"url": (), "events": (), "description": (None, "x"), "enabled": (True,)}


@pytest.mark.parametrize("field", RIGHT)
def test_a_wrong_value_is_a_400_that_names_its_place(api, everything, endpoint, field):
    before = everything()
    for value in (value for value in WRONG if not any(value is right for right in RIGHT[field])):
        body = {"url": URL, field: value}
        for refused in (api.post(PATH, body), api.patch(f"{PATH}/{endpoint['id']}", {field: value})):
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), value
            assert [error["pointer"] for error in refused.json()["errors"]] == [f"/{field}"], value
    assert everything() == before


def test_an_endpoint_is_changed_by_what_is_sent_alone(api, endpoint):
    path = f"{PATH}/{endpoint['id']}"
    changed = api.patch(path, {"description": "x" * 500, "events": ["bill.paid"]})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert "secret" not in changed.json()
    same = api.patch(path, {"description": "x" * 500, "events": ["bill.paid"], "enabled": True, "url": URL})
    assert (same.headers["ETag"], same.content) == ('"2"', changed.content)
    off = api.patch(path, {"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "asked")
    on = api.patch(path, {"enabled": True}).json()
    assert (on["enabled"], on["disabled_reason"]) == (True, None)


def test_a_stale_change_or_rotation_is_refused(api, endpoint):
    path = f"{PATH}/{endpoint['id']}"
    api.patch(path, {"description": "x"}, If_Match='"1"')
    for refused in (api.patch(path, {"description": "y"}, If_Match='"1"'), api.post(f"{path}/rotate", If_Match='"1"')):
        assert (refused.status_code, refused.json()["code"]) == (412, "stale")
    assert WebhookSecret.objects.count() == 1
    assert api.get(path, If_None_Match='"2"').status_code == 304


def test_the_workers_own_columns_change_no_version_and_leave_no_history(api, endpoint):
    history = apps.get_model("events", "WebhookEndpointHistory").objects
    before = history.count()
    WebhookEndpoint.objects.update(free_at=timezone.now(), failures=3)
    assert api.get(f"{PATH}/{endpoint['id']}").headers["ETag"] == '"1"'
    assert history.count() == before == 1


def test_a_biller_has_so_many_enabled_endpoints_and_no_more(api, api_for, other):
    made = [api.post(PATH, {"url": URL}) for _ in range(MOST_ENDPOINTS)]
    assert {one.status_code for one in made} == {201}
    for refused in (api.post(PATH, {"url": URL}), api.post(PATH, {"url": URL, "enabled": True})):
        assert (refused.status_code, refused.json()["code"]) == (422, "too_many_webhook_endpoints")
    spare = api.post(PATH, {"url": URL, "enabled": False})
    assert spare.status_code == 201
    path = f"{PATH}/{spare.json()['id']}"
    assert api.patch(path, {"enabled": True}).json()["code"] == "too_many_webhook_endpoints"
    api.patch(f"{PATH}/{made[0].json()['id']}", {"enabled": False})
    assert api.patch(path, {"enabled": True}).status_code == 200
    assert api_for(other).post(PATH, {"url": URL}).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_only_as_many_as_there_is_room_for_are_registered(api, biller):
    WebhookEndpoint.objects.bulk_create(WebhookEndpoint(biller=biller, url=URL) for _ in range(MOST_ENDPOINTS - 1))

    def register(_):
        try:
            return api.post(PATH, {"url": URL}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(register, range(8))) == [201] + [422] * 7
    assert WebhookEndpoint.objects.enabled().count() == MOST_ENDPOINTS


def test_endpoints_are_listed_newest_first_and_by_whether_they_are_enabled(api):
    ids = [api.post(PATH, {"url": URL, "enabled": number % 2 == 0}).json()["id"] for number in range(5)]
    assert [one["id"] for one in api.get(PATH).json()["data"]] == ids[::-1]
    assert [one["id"] for one in api.get(f"{PATH}?enabled=false").json()["data"]] == [ids[3], ids[1]]
    page = api.get(f"{PATH}?limit=2").json()
    assert [one["id"] for one in api.get(f"{PATH}?cursor={page['next_cursor']}").json()["data"]] == ids[2::-1]


# --- The log ---


def test_deliveries_are_found_by_endpoint_event_state_and_time(api, delivery, endpoint):
    api.post("/billing/customers", {"external_reference": "D"})
    api.get("/billing/events")
    Delivery.objects.exclude(pk=delivery["id"]).update(state="delivered", due_at=None)
    assert delivery["endpoint_id"] == endpoint["id"]
    assert (delivery["event_type"], delivery["sequence"], delivery["state"]) == ("customer.created", 1, "pending")
    for query, count in (
        ("", 2),
        ("state=pending", 1),
        ("state=delivered", 1),
        ("state=given_up", 0),
        (f"endpoint={endpoint['id']}", 2),
        (f"endpoint={new_id('whe')}", 0),
        ("endpoint=nonsense", 0),
        (f"event={delivery['event_id']}", 1),
        (f"event={delivery['event_id']}&state=delivered", 0),
        (f"created_at_gte={delivery['created_at']}", 2),
        (f"created_at_lte={delivery['created_at']}", 1),
        ("created_at_lte=2020-01-01", 0),
    ):
        assert len(api.get(f"/billing/deliveries?{query}").json()["data"]) == count, query
    for query in ("state=lost", "state=", "created_at_gte=x", "status=pending", "endpoint="):
        assert api.get(f"/billing/deliveries?{query}").status_code == 400, query


def test_redelivery_is_accepted_for_another_three_days_and_repeating_it_changes_nothing(api, delivery):
    path = f"/billing/deliveries/{delivery['id']}"
    Delivery.objects.update(state="given_up", due_at=None, attempts=9, begun_at=timezone.now(), last_status=500)
    first = api.post(f"{path}/redeliver")
    assert (first.status_code, first.json()["state"], first.json()["attempts"]) == (202, "pending", 0)
    assert first.json()["last_status"] == 500
    again = api.post(f"{path}/redeliver")
    assert (again.status_code, again.content, again.headers["ETag"]) == (202, first.content, first.headers["ETag"])
    assert api.get(path).content == first.content
    keyed = api.post(f"{path}/redeliver", Idempotency_Key="k")
    assert api.post(f"{path}/redeliver", Idempotency_Key="k").content == keyed.content
    assert IdempotencyKey.objects.get().status == 202
    assert Delivery.objects.get().begun_at is None


def test_what_was_delivered_can_be_asked_for_again(api, delivery):
    Delivery.objects.update(state="delivered", due_at=None, attempts=1)
    assert api.post(f"/billing/deliveries/{delivery['id']}/redeliver").json()["state"] == "pending"


def test_a_disabled_endpoint_gets_no_redelivery(api, delivery, endpoint):
    api.patch(f"{PATH}/{endpoint['id']}", {"enabled": False})
    Delivery.objects.update(state="given_up", due_at=None)
    refused = api.post(f"/billing/deliveries/{delivery['id']}/redeliver")
    assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")
    assert Delivery.objects.get().state == "given_up"


def test_a_stale_redelivery_is_refused(api, delivery):
    refused = api.post(f"/billing/deliveries/{delivery['id']}/redeliver", If_Match='"9"')
    assert (refused.status_code, refused.json()["code"]) == (412, "stale")


@pytest.mark.parametrize("key", ["", "x", "whe_0000000000000000000000", "bill_0000000000000000000000", "%00", "é"])
def test_what_names_nothing_is_absent(api, delivery, key):
    for path in (f"{PATH}/{key}/rotate", f"/billing/deliveries/{key}/redeliver"):
        assert api.post(path).status_code == 404
    for path in (f"{PATH}/{key}", f"/billing/deliveries/{key}"):
        assert api.get(path).status_code in ({404} if key else {404, 405})


@pytest.mark.django_db(transaction=True)
def test_a_registration_sends_7_statements_and_9_with_a_key(api):
    def statements(call):
        with CaptureQueriesContext(connection) as captured:
            assert call().status_code < 300
        return len(captured)

    made = api.post(PATH, {"url": URL}).json()
    assert statements(lambda: api.post(PATH, {"url": URL})) <= 7
    assert statements(lambda: api.post(PATH, {"url": URL}, Idempotency_Key="k")) <= 8
    assert statements(lambda: api.get(f"{PATH}/{made['id']}")) == 1
    assert statements(lambda: api.patch(f"{PATH}/{made['id']}", {"description": "x"})) <= 5
    assert statements(lambda: api.post(f"{PATH}/{made['id']}/rotate")) <= 8
