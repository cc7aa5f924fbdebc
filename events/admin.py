"""How staff read what was told outward, and see to where it goes."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from billers.acts import Act
from billers.staff import ReadOnlyAdmin, link_to, secret_shown
from events.models import EVERY, Delivery, Event, State, Stopped, WebhookEndpoint


class NumberedFilter(DropdownFilter):
    """Events that wait for their number, or those that have it: each has the index its order needs."""

    title = "sequence"
    parameter_name = "numbered"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Not picked up yet"), ("yes", "Picked up")]

    def value(self) -> str:
        return super().value() or "no"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(sequence__isnull=self.value() == "no")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The outbox."""

    list_display = ("created_at", "type", "about", "sequence")
    list_filter = (NumberedFilter,)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": (("type", "about"), "body_shown")}),
        ("Record", {"fields": (("id", "sequence"), "created_at")}),
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-sequence",) if request.GET.get("numbered") == "yes" else ("-position",)

    @display(description="about")
    def about(self, event: Event) -> str:
        return str(event.body.get("external_reference") or event.body.get("id", ""))

    @display(description="body")
    def body_shown(self, event: Event) -> str:
        return format_html(
            '<pre class="whitespace-pre-wrap">{}</pre>', json.dumps(event.body, indent=2, ensure_ascii=False)
        )


class SeenToAdmin(ReadOnlyAdmin):
    """Records that staff see to by actions alone; who may not change any is offered none."""

    def may_see_to(self, request: HttpRequest) -> bool:
        """Tell whether this member of staff may do more than read."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def shown(self, request: HttpRequest, object_id: str | None) -> Any:
        """Return the record whose page is shown, or None on a list."""
        return self.get_object(request, object_id) if object_id else None


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(SeenToAdmin):
    """Where events are delivered to: registered by billers, seen to by staff."""

    list_display = ("url", "state", "types", "description", "created_at")
    list_filter = ("enabled",)
    sortable_by = ("created_at",)
    search_fields = ("id",)
    search_help_text = "An id"
    actions_detail = ("enable", "disable", "rotate")
    fieldsets = (
        (None, {"fields": (("url", "state"), ("types", "description"), "deliveries")}),
        ("Record", {"fields": (("id", "secret_changed_at"), ("created_at", "updated_at"))}),
    )

    def has_enable_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may enable the endpoint, and it is disabled."""
        endpoint = self.shown(request, object_id)
        return self.may_see_to(request) and (endpoint is None or not endpoint.enabled)

    def has_disable_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may disable the endpoint, and it is enabled."""
        endpoint = self.shown(request, object_id)
        return self.may_see_to(request) and (endpoint is None or endpoint.enabled)

    def has_rotate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may change the secret."""
        return self.may_see_to(request)

    @display(
        label={"Enabled": "success", Stopped.ASKED.label: "warning", Stopped.GONE.label: "danger"}, description="state"
    )
    def state(self, endpoint: WebhookEndpoint) -> str:
        return "Enabled" if endpoint.disabled_reason is None else Stopped(endpoint.disabled_reason).label

    @display(description="types of event")
    def types(self, endpoint: WebhookEndpoint) -> str:
        return "all" if endpoint.events == [EVERY] else ", ".join(endpoint.events)

    @display(description="deliveries")
    def deliveries(self, endpoint: WebhookEndpoint) -> str:
        address = f"{reverse('admin:events_delivery_changelist')}?biller={endpoint.biller_id}&endpoint_id={endpoint.pk}"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">All of them</a>', address)

    @action(description="Enable", icon="play_arrow", permissions=["enable"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Deliver to the endpoint again."""
        return self._turned(
            request,
            object_id,
            enabled=True,
            effect="What still waits for it is delivered, and what happens from now on. What happened while it was "
            "disabled is in the feed of events alone.",
            button="Enable the endpoint",
            done="The endpoint is enabled.",
        )

    @action(description="Disable", icon="pause", variant=ActionVariant.DANGER, permissions=["disable"])
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop delivering to the endpoint."""
        return self._turned(
            request,
            object_id,
            enabled=False,
            effect="Nothing is delivered to it until it is enabled again.",
            button="Disable the endpoint",
            done="The endpoint is disabled.",
        )

    def _turned(self, request: HttpRequest, object_id: str, *, enabled: bool, **words: Any) -> HttpResponse:
        endpoint = self.found(request, object_id)

        def turn(act: Act, reason: str, versions: set[int] | None) -> WebhookEndpoint:
            return WebhookEndpoint.objects.amend(act, endpoint.pk, versions=versions, enabled=enabled)

        return self.confirmed(request, endpoint, turn, title=f"{words['button']} {endpoint}", **words)

    @action(description="Change the secret", icon="key", variant=ActionVariant.DANGER, permissions=["rotate"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the endpoint a new secret and show it this once, in this very answer."""
        endpoint = self.found(request, object_id)

        def shown(rotated: WebhookEndpoint) -> HttpResponse:
            sentence = (
                f"This secret signs what is sent to {rotated} of {rotated.biller}. Copy it now: it will never be shown "
                "again. The one before it signs too for 24 hours."
            )
            return secret_shown(self, request, rotated, "The new secret", rotated.biller, sentence, rotated.secret)

        def rotate(act: Act, reason: str, versions: set[int] | None) -> WebhookEndpoint:
            return WebhookEndpoint.objects.rotate(act, endpoint.pk, versions=versions)

        return self.confirmed(
            request,
            endpoint,
            rotate,
            shown,
            title=f"Change the secret of {endpoint}",
            effect="The secret before it signs too for 24 hours, so that the receiver can be changed meanwhile.",
            button="Change the secret",
            done="The secret is changed.",
        )


@admin.register(Delivery)
class DeliveryAdmin(SeenToAdmin):
    """What was delivered, and what is still being tried."""

    narrowing = ("endpoint_id",)
    joined = ("biller", "endpoint", "event")
    list_display = ("created_at", "sequence", "type", "endpoint_shown", "state_shown", "attempts", "last_error")
    list_display_links = ("created_at",)
    list_filter = (("state", ChoicesDropdownFilter),)
    sortable_by = ("created_at",)
    search_fields = ("id",)
    search_help_text = "An id"
    actions_detail = ("redeliver",)
    fieldsets = (
        (None, {"fields": (("event_shown", "sequence"), ("endpoint_shown", "state_shown"), ("attempts", "due_at"))}),
        ("The last attempt", {"fields": (("last_attempt_at", "last_status"), "last_error")}),
        ("Record", {"fields": (("id", "created_at"),)}),
    )

    def has_redeliver_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may have an event delivered once more."""
        return self.may_see_to(request)

    @display(description="type")
    def type(self, delivery: Delivery) -> str:
        return str(delivery.event.type)

    @display(description="event")
    def event_shown(self, delivery: Delivery) -> str:
        return link_to(delivery.event, delivery.event.type)

    @display(description="endpoint")
    def endpoint_shown(self, delivery: Delivery) -> str:
        return link_to(delivery.endpoint)

    @display(
        description="state",
        label={State.PENDING.label: "info", State.DELIVERED.label: "success", State.GIVEN_UP.label: "danger"},
    )
    def state_shown(self, delivery: Delivery) -> str:
        return State(delivery.state).label

    @action(description="Deliver once more", icon="replay", permissions=["redeliver"])
    def redeliver(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have the event delivered once more."""
        delivery = self.found(request, object_id)

        def again(act: Act, reason: str, versions: set[int] | None) -> Delivery:
            return Delivery.objects.ask_again(act, delivery.pk, versions=versions)

        return self.confirmed(
            request,
            delivery,
            again,
            title=f"Deliver {delivery.event.type} once more",
            effect=f"It is sent to {delivery.endpoint} again, for another three days if need be.",
            button="Deliver once more",
            done="It will be delivered once more.",
        )
