"""How staff see to webhooks: enabled, disabled, a new secret shown once, an event delivered once more."""

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from core.ids import new_id
from customers.models import Customer
from events.models import Delivery, Event, WebhookEndpoint, WebhookSecret


@pytest.fixture
def endpoint(made):
    return made(WebhookEndpoint.objects.register, url="https://hooks.example/x")


@pytest.fixture
def delivery(made, endpoint, biller):
    made(Customer.objects.enrol, external_reference="C")
    Event.objects.pick_up(biller)
    return Delivery.objects.get()


def address(record, action):
    return reverse(f"admin:{record._meta.app_label}_{record._meta.model_name}_{action}", args=[quote(record.pk)])


def do(staff, record, action, **fields):
    form = staff.get(address(record, action)).context["form"]
    return staff.post(
        address(record, action), {"version": form["version"].value(), "reason": "Asked by phone", **fields}
    )


def page(staff, record):
    return staff.get(address(record, "change")).content.decode()


def test_an_endpoint_is_disabled_and_enabled_for_a_reason(staff, endpoint):
    assert do(staff, endpoint, "disable").status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "asked")
    assert staff.post(address(endpoint, "disable"), {"reason": "Again"}).status_code == 403
    assert do(staff, endpoint, "enable").status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (True, None)
    assert staff.post(address(endpoint, "enable"), {"reason": "Again"}).status_code == 403
    contexts = apps.get_model("events", "WebhookEndpointHistory").objects.values_list("pgh_context", flat=True)
    assert [context.get("reason") for context in contexts.order_by("pgh_id")] == [
        None,
        "Asked by phone",
        "Asked by phone",
    ]


def test_without_a_reason_or_on_a_stale_page_nothing_happens(staff, endpoint):
    assert do(staff, endpoint, "disable", reason="").status_code == 200
    assert do(staff, endpoint, "disable", version=7).status_code == 200
    assert do(staff, endpoint, "rotate", version=7).status_code == 200
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.version, WebhookSecret.objects.count()) == (True, 1, 1)


def test_a_secret_is_shown_once_and_stands_nowhere_else(staff, endpoint, caplog):
    first = WebhookSecret.objects.get().secret
    answer = do(staff, endpoint, "rotate")
    secret = WebhookSecret.objects.get(expires_at=None).secret
    assert answer.status_code == 200
    assert secret in answer.content.decode().replace("&#x2B;", "+").replace("&#43;", "+")
    assert "no-store" in answer["Cache-Control"]
    assert WebhookSecret.objects.get(secret=first).expires_at > timezone.now()
    history = apps.get_model("events", "WebhookEndpointHistory").objects.values()
    told = [page(staff, endpoint), staff.get(address(endpoint, "history")).content.decode(), caplog.text]
    told += [staff.get(reverse("admin:events_webhookendpoint_changelist"), follow=True).content.decode()]
    told += [str(LogEntry.objects.values()), str(list(history)), str(answer.cookies), str(staff.session.items())]
    for text in told:
        for canary in (first, secret):
            assert canary.removeprefix("whsec_")[:20] not in text
    # Sent again, the form is stale: no second secret that nobody sees.
    again = staff.post(address(endpoint, "rotate"), {"version": 1, "reason": "Reload"})
    assert again.status_code == 200
    assert WebhookSecret.objects.count() == 2


def test_an_event_is_delivered_once_more(staff, delivery):
    Delivery.objects.update(state="given_up", due_at=None, attempts=9, last_error="It answered 500.")
    assert "It answered 500." in page(staff, delivery)
    assert do(staff, delivery, "redeliver").status_code == 302
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("pending", 0)


def test_nothing_is_delivered_once_more_to_a_disabled_endpoint(staff, made, delivery, endpoint):
    made(WebhookEndpoint.objects.amend, key=endpoint.pk, enabled=False)
    Delivery.objects.update(state="given_up", due_at=None)
    answer = do(staff, delivery, "redeliver")
    assert "The webhook endpoint is disabled." in answer.content.decode()
    assert Delivery.objects.get().state == "given_up"


def test_the_deliveries_of_one_endpoint_are_listed(staff, delivery, endpoint, biller):
    for key, count in ((endpoint.pk, 1), (new_id("whe"), 0)):
        found = staff.get(
            reverse("admin:events_delivery_changelist"),
            {"biller": biller.pk, "endpoint_id": key, "state__exact": "pending"},
        )
        assert found.context["cl"].result_count == count


def test_a_reader_among_the_staff_sees_to_nothing(client, django_user_model, delivery, endpoint):
    reader = django_user_model.objects.create_user("reader", password="pass", is_staff=True)
    reader.user_permissions.set(
        Permission.objects.filter(content_type__app_label="events", codename__startswith="view")
    )
    client.force_login(reader)
    assert client.get(address(endpoint, "change")).status_code == 200
    for record, action in ((endpoint, "disable"), (endpoint, "rotate"), (delivery, "redeliver")):
        assert client.post(address(record, action), {"reason": "x"}).status_code == 403
    assert WebhookSecret.objects.count() == 1
