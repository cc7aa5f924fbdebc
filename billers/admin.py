"""How staff ask about billers and their keys."""

import zoneinfo
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelect2Widget

from billers.acts import Act
from billers.forms import JsonInput, VerbForm, currency_choices
from billers.models import ApiKey, Biller, Mode
from billers.staff import KeptAdmin, TenantAdmin, page_of


def timezone_choices() -> list[tuple[str, str]]:
    """Return the IANA time zones."""
    return [(name, name) for name in sorted(zoneinfo.available_timezones())]


class BillerForm(VerbForm):
    """A biller; a new one is founded in live and in test mode."""

    default_currency = forms.TypedChoiceField(
        choices=currency_choices, required=False, empty_value=None, widget=UnfoldAdminSelect2Widget
    )
    timezone = forms.ChoiceField(
        choices=timezone_choices, initial="UTC", widget=UnfoldAdminSelect2Widget, help_text="Decides what “today” is."
    )

    amount_limits = JsonInput(
        required=False, help_text='Per currency, in minor units: {"ZAR": {"min_amount": 100, "max_amount": 500000}}.'
    )

    class Meta:
        model = Biller
        fields = [
            "name",
            "reference",
            "billing_model",
            "default_currency",
            "timezone",
            "underpayment_allowed",
            "overpayment_allowed",
            "amount_limits",
        ]

    def verb(self, act: Act) -> Biller:
        fields = {**self.cleaned_data, "amount_limits": self.cleaned_data["amount_limits"] or {}}
        if self.instance._state.adding:
            return Biller.objects.found(**fields)[Mode.LIVE]
        for name, value in fields.items():
            setattr(self.instance, name, value)
        self.instance.full_clean()
        act.update(self.instance, fields)
        return self.instance


@admin.register(Biller)
class BillerAdmin(KeptAdmin):
    """Billers, each in live and in test mode."""

    form = BillerForm
    list_display = ("name", "reference", "mode_shown", "billing_model", "default_currency", "timezone", "keys")
    list_filter = ("mode", "billing_model")
    search_fields = ("name", "reference")
    search_help_text = "Name or reference"
    ordering = ("reference", "mode")
    fixed_fields = ("reference", "mode_shown", "id", "created_at")
    add_fieldsets = (
        (
            None,
            {
                "fields": ("name", "reference", ("billing_model", "default_currency"), "timezone"),
                "description": "A new biller is made twice: once for live data and once for tests, wholly apart.",
            },
        ),
        ("Default payment rules", {"fields": (("underpayment_allowed", "overpayment_allowed"), "amount_limits")}),
    )
    fieldsets = (
        (None, {"fields": ("name", ("reference", "mode_shown"), ("billing_model", "default_currency"), "timezone")}),
        ("Default payment rules", {"fields": (("underpayment_allowed", "overpayment_allowed"), "amount_limits")}),
        ("Record", {"fields": (("id", "created_at"),)}),
    )

    def biller_of(self, request: HttpRequest, record: Any) -> Any:
        return record or Biller()

    @display(description="mode", ordering="mode", label={Mode.LIVE.label: "success", Mode.TEST.label: "warning"})
    def mode_shown(self, biller: Biller) -> str:
        return Mode(biller.mode).label

    @display(description="keys")
    def keys(self, biller: Biller) -> str:
        address = f"{reverse('admin:billers_apikey_changelist')}?biller={biller.pk}"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">API keys</a>', address)


class ApiKeyForm(VerbForm):
    """A key to be issued."""

    secret: str

    class Meta:
        model = ApiKey
        fields = ["label", "scope", "expires_at"]

    def verb(self, act: Act) -> ApiKey:
        key, self.secret = ApiKey.objects.issue(act.biller, **self.cleaned_data)
        return key


@admin.register(ApiKey)
class ApiKeyAdmin(TenantAdmin):
    """Keys: issued and revoked, never changed; the secret is shown once, in the answer that made it."""

    form = ApiKeyForm
    list_display = ("public_part", "label", "scope", "state", "created_at", "expires_at", "last_used_at")
    list_filter = ("scope",)
    search_fields = ("public_part", "label")
    search_help_text = "Start of the key, or what it is for"
    sortable_by = ("created_at",)
    actions_detail = ("revoke",)
    add_fieldsets = (
        (None, {"fields": ("label", "scope", "expires_at"), "description": "The key is shown once, on the next page."}),
    )
    fieldsets = (
        (None, {"fields": (("public_part", "state"), ("label", "scope"))}),
        ("Record", {"fields": (("created_at", "expires_at"), ("last_used_at", "revoked_at"), "id")}),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may revoke the key, and it is not revoked yet."""
        key = self.get_object(request, object_id) if object_id else None
        allowed: bool = super().has_change_permission(request)
        return allowed and (key is None or key.revoked_at is None)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("digest")

    @display(label={"Works": "success", "Expired": "warning", "Revoked": "danger"})
    def state(self, key: ApiKey) -> str:
        now = timezone.now()
        if key.revoked_at is not None:
            return "Revoked"
        return "Expired" if key.expires_at is not None and key.expires_at <= now else "Works"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.secret = form.secret

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret in this very answer: a redirect would have to keep it somewhere."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The new key",
            "key": obj,
            "back": page_of(obj),
        }
        return TemplateResponse(request, "console/key_issued.html", context)

    @action(description="Revoke", icon="block", variant=ActionVariant.DANGER, permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke the key for good."""
        key = self.found(request, object_id)
        return self.confirmed(
            request,
            key,
            lambda *_: ApiKey.objects.filter(pk=key.pk).revoke(timezone.now()),
            title=f"Revoke the key {key}",
            effect="Whoever uses it is shut out within seconds. It cannot be undone.",
            button="Revoke the key",
            done="The key is revoked.",
        )
