"""How callers read what happened."""

import re

from django.http import HttpResponse
from rest_framework.request import Request

from api.answers import json_response
from api.problems import invalid_parameter
from api.views import ListViewSet
from events.models import Event
from events.serializers import EventAnswer

_SEQUENCE = re.compile(r"[0-9]{1,18}\Z", re.ASCII)


class EventViewSet(ListViewSet):
    """The feed of what happened, for whoever would rather ask than be told."""

    queryset = Event.objects.all()
    answer = EventAnswer

    def feed(self, request: Request) -> HttpResponse:
        """Answer the events after a sequence, in order and without a gap, those included that nobody has picked up."""
        asked = self.asked("after", "limit")
        after, limit = self._after(asked), self._limit(asked)
        # Before the page is read: what was committed before the call is in it, whoever numbers it.
        if Event.objects.waiting(self.biller):
            Event.objects.pick_up(self.biller)
        found = Event.objects.numbered(self.biller, after=after, limit=limit)
        told = [self.answer.told(row, self.biller, self.biller.today()) for row in found]
        return json_response({"data": told, "next_after": found[-1]["sequence"] if found else after})

    def _after(self, asked: dict[str, str]) -> int:
        text = asked.get("after", "0")
        if not _SEQUENCE.match(text):
            raise invalid_parameter("after", "Send the sequence of the last event you have, or 0.")
        return int(text)
