"""How callers read what happened, and have it told to them."""

import re
from dataclasses import replace

from django.http import HttpResponse
from rest_framework.request import Request

from api import nodes
from api.answers import json_response
from api.operations import CREATE, LIMIT, NOW, UPDATE, Operation
from api.preconditions import expected_versions
from api.problems import invalid_parameter
from api.views import ListViewSet, NamedViewSet
from events.filters import DeliveryFilter, EndpointFilter
from events.models import Delivery, Event, WebhookEndpoint
from events.serializers import (
    DeliveryAnswer,
    EventAnswer,
    NewEndpoint,
    Nothing,
    PatchEndpoint,
    WebhookEndpointAnswer,
    WebhookEndpointWithSecretAnswer,
)

AFTER = nodes.query(
    "after",
    {"type": "integer", "format": "int64", "minimum": 0, "maximum": 10**18 - 1, "default": 0},
    "From next_after: the last sequence at hand.",
)
_SEQUENCE = re.compile(r"[0-9]{1,18}\Z", re.ASCII)


class EventViewSet(ListViewSet):
    """The feed of what happened, for whoever would rather ask than be told."""

    queryset = Event.objects.all()
    answer = EventAnswer
    operations = {
        "feed": Operation(
            "feed",
            "What happened after a sequence, in order",
            {200: "The next events."},
            versioned=False,
            parameters=[AFTER, LIMIT],
            refuses={400: ["invalid_limit"]},
            envelope=nodes.feed_of,
        ),
    }

    def feed(self, request: Request) -> HttpResponse:
        """Answer the events after a sequence, in order and without a gap, those included that nobody has picked up."""
        asked = self.asked("after", "limit")
        after, limit = self._after(asked), self._limit(asked)
        # Before the page is read: what was committed before the call is in it, whoever numbers it.
        if Event.objects.waiting(self.biller):
            Event.objects.pick_up(self.biller)
        found = Event.objects.numbered(self.biller, after=after, limit=limit)
        today = self.biller.today()
        told = [self.answer.told(row, self.biller, today) for row in found]
        return json_response({"data": told, "next_after": found[-1]["sequence"] if found else after})

    def _after(self, asked: dict[str, str]) -> int:
        text = asked.get("after", "0")
        if not _SEQUENCE.match(text):
            raise invalid_parameter("after", "Send the sequence of the last event you have, or 0.")
        return int(text)


class WebhookEndpointViewSet(NamedViewSet):
    """Where events are delivered to."""

    queryset = WebhookEndpoint.objects.all()
    collection = "/billing/webhook_endpoints"
    create_verb = "register"
    answer = WebhookEndpointAnswer
    answers = {"create": WebhookEndpointWithSecretAnswer, "rotate": WebhookEndpointWithSecretAnswer}
    create_shape, patch_shape, rotate_shape = NewEndpoint(), PatchEndpoint(), Nothing()
    filters = EndpointFilter
    operations = {
        "create": replace(CREATE, refuses={422: ["too_many_webhook_endpoints"]}),
        "partial_update": replace(UPDATE, refuses={422: ["too_many_webhook_endpoints"]}),
        "rotate": Operation("rotate", "Change the secret", NOW, shape="rotate_shape", bodiless=True),
    }

    def rotate(self, request: Request, key: str) -> HttpResponse:
        """Give an endpoint a new secret; the one before it signs too for 24 hours."""
        self.asked()
        versions = expected_versions(request)
        self.rotate_shape.run_validation(self.body(required=False))
        self.nameable(key)
        return self.write(lambda act: (self.verbs.rotate(act, key, versions=versions), False))


class DeliveryViewSet(NamedViewSet):
    """What was delivered, and what is still being tried."""

    queryset = Delivery.objects.all()
    collection = "/billing/deliveries"
    answer = DeliveryAnswer
    redeliver_shape = Nothing()
    filters = DeliveryFilter
    operations = {
        "redeliver": Operation(
            "redeliver",
            "Deliver once more",
            {202: "It will be tried again."},
            shape="redeliver_shape",
            bodiless=True,
            refuses={409: ["webhook_endpoint_disabled"]},
        ),
    }

    def redeliver(self, request: Request, key: str) -> HttpResponse:
        """Have an event delivered once more."""
        self.asked()
        versions = expected_versions(request)
        self.redeliver_shape.run_validation(self.body(required=False))
        self.nameable(key)
        return self.write(lambda act: (self.verbs.ask_again(act, key, versions=versions), False), status=202)
