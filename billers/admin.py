"""How staff ask about billers, partners and their keys."""

import zoneinfo
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelect2MultipleWidget, UnfoldAdminSelect2Widget

from billers.acts import Act
from billers.forms import JsonInput, VerbForm, currency_choices
from billers.models import ApiKey, Biller, Enablement, Mode, Partner
from billers.staff import KeptAdmin, TenantAdmin, chosen_biller, link_to, secret_shown
from core import countries
from core.ids import decode


def timezone_choices() -> list[tuple[str, str]]:
    """Return the IANA time zones."""
    return [(name, name) for name in sorted(zoneinfo.available_timezones())]


def country_choices() -> list[tuple[str, str]]:
    """Return the countries of ISO 3166, after an empty choice."""
    return [("", "—"), *sorted(countries.names().items(), key=lambda country: country[1])]


class BillerForm(VerbForm):
    """A biller; a new one is founded in live and in test mode."""

    country = forms.TypedChoiceField(
        choices=country_choices, required=False, empty_value=None, widget=UnfoldAdminSelect2Widget
    )
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
            "country",
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


class KeyHolderAdmin(KeptAdmin):
    """Those whom keys belong to, each in live and in test mode."""

    ordering = ("reference", "mode")
    search_fields = ("name", "reference")
    search_help_text = "Name or reference"
    fixed_fields = ("reference", "mode_shown", "id", "created_at")

    def biller_of(self, request: HttpRequest, record: Any) -> Any:
        # A new one is of no biller yet, and a partner of none.
        return record if isinstance(record, Biller) else Biller()

    @display(description="mode", ordering="mode", label={Mode.LIVE.label: "success", Mode.TEST.label: "warning"})
    def mode_shown(self, holder: Biller | Partner) -> str:
        return Mode(holder.mode).label

    @display(description="keys")
    def keys(self, holder: Biller | Partner) -> str:
        address = f"{reverse('admin:billers_apikey_changelist')}?{holder._meta.model_name}={holder.pk}"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">API keys</a>', address)


@admin.register(Biller)
class BillerAdmin(KeyHolderAdmin):
    """Billers, each in live and in test mode."""

    form = BillerForm
    list_display = ("name", "reference", "mode_shown", "billing_model", "default_currency", "timezone", "keys")
    list_filter = ("mode", "billing_model")
    add_fieldsets = (
        (
            None,
            {
                "fields": ("name", "reference", ("billing_model", "default_currency"), ("country", "timezone")),
                "description": "A new biller is made twice: once for live data and once for tests, wholly apart.",
            },
        ),
        ("Default payment rules", {"fields": (("underpayment_allowed", "overpayment_allowed"), "amount_limits")}),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    ("reference", "mode_shown"),
                    ("billing_model", "default_currency"),
                    ("country", "timezone"),
                )
            },
        ),
        ("Default payment rules", {"fields": (("underpayment_allowed", "overpayment_allowed"), "amount_limits")}),
        ("Record", {"fields": (("id", "created_at"),)}),
    )


class PartnerForm(VerbForm):
    """A partner and the billers it may collect for; a new one is founded and enabled in live and in test mode."""

    billers = forms.ModelMultipleChoiceField(
        queryset=Biller.objects.none(),
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget,
        help_text="For whom it may collect. What it has collected stays when a biller is taken away.",
    )

    class Meta:
        model = Partner
        fields = ["name", "reference"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        billers: Any = self.fields["billers"]
        billers.queryset = Biller.objects.filter(mode=self.instance.mode)
        if not self.instance._state.adding:
            self.initial["billers"] = Biller.objects.collected_by(self.instance)

    def verb(self, act: Act) -> Partner:
        chosen, name = self.cleaned_data["billers"], self.cleaned_data["name"]
        if self.instance._state.adding:
            pair = Partner.objects.found(name=name, reference=self.cleaned_data["reference"])
            references = [biller.reference for biller in chosen]
            for mode, partner in pair.items():
                Enablement.objects.enable(partner, Biller.objects.filter(reference__in=references, mode=mode))
            return pair[Mode.LIVE]
        self.instance.name = name
        self.instance.full_clean()
        act.update(self.instance, ["name"])
        dropped = Biller.objects.collected_by(self.instance).exclude(pk__in=[biller.pk for biller in chosen])
        Enablement.objects.disable(self.instance, dropped, timezone.now())
        Enablement.objects.enable(self.instance, chosen)
        return self.instance


@admin.register(Partner)
class PartnerAdmin(KeyHolderAdmin):
    """Channel partners, each in live and in test mode, and for whom they collect."""

    form = PartnerForm
    list_display = ("name", "reference", "mode_shown", "enabled_for", "keys")
    list_filter = ("mode",)
    add_fieldsets = (
        (
            None,
            {
                "fields": ("name", "reference", "billers"),
                "description": "A new partner is made twice, for live payments and for tests, wholly apart.",
            },
        ),
    )
    fieldsets = (
        (None, {"fields": ("name", ("reference", "mode_shown"), "billers")}),
        ("Record", {"fields": (("id", "created_at"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        enabled = Count("enablements", filter=Q(enablements__disabled_at=None))
        return super().get_queryset(request).annotate(enabled=enabled)

    @display(description="billers", ordering="enabled")
    def enabled_for(self, partner: Any) -> int:
        return int(partner.enabled)


def chosen_partner(request: HttpRequest) -> Partner | None:
    """Return the partner whose keys a page is about, where its address names one instead of a biller."""
    came_from = QueryDict(request.GET.get("_changelist_filters", ""))
    key: Any = request.GET.get("partner") or came_from.get("partner")
    return Partner.objects.filter(pk=key).first() if decode("prt", key) else None


class ApiKeyForm(VerbForm):
    """A key to be issued."""

    partner: Partner | None
    secret: str

    class Meta:
        model = ApiKey
        fields = ["label", "scope", "expires_at"]

    def verb(self, act: Act) -> ApiKey:
        key, self.secret = ApiKey.objects.issue(self.partner or act.biller, **self.cleaned_data)
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
    joined = ("biller", "partner")
    list_before_template = "console/keys_of.html"
    change_form_before_template = "console/key_of.html"
    add_fieldsets = (
        (None, {"fields": ("label", "scope", "expires_at"), "description": "The key is shown once, on the next page."}),
    )
    fieldsets = (
        (None, {"fields": (("public_part", "state"), "owner_shown", ("label", "scope"))}),
        ("Record", {"fields": (("created_at", "expires_at"), ("last_used_at", "revoked_at"), "id")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if partner := chosen_partner(request):
            context = {"chosen_partner": partner, **(extra_context or {})}
            return super(TenantAdmin, self).changelist_view(request, context)
        if "partner" in request.GET:
            return HttpResponseRedirect(request.path)
        return super().changelist_view(request, extra_context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if partner := chosen_partner(request):
            context = {"chosen_partner": partner, **(extra_context or {})}
            return super(TenantAdmin, self).add_view(request, form_url, context)
        return super().add_view(request, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form = super().get_form(request, obj, change=change, **options)
        form.partner = chosen_partner(request)
        return form

    def biller_of(self, request: HttpRequest, record: Any) -> Any:
        # An act needs one, though a partner's key is of none.
        return (record.biller if record else None if chosen_partner(request) else chosen_biller(request)) or Biller()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may revoke the key, and it is not revoked yet."""
        key = self.get_object(request, object_id) if object_id else None
        allowed: bool = super().has_change_permission(request)
        return allowed and (key is None or key.revoked_at is None)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("digest")

    @display(description="belongs to")
    def owner_shown(self, key: ApiKey) -> str:
        return link_to(key.owner)

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
        sentence = (
            f"This is the whole key, for {obj.owner}. Copy it now: it is kept only as a fingerprint and will never be "
            "shown again."
        )
        return secret_shown(self, request, obj, "The new key", obj.owner, sentence, obj.secret)  # type: ignore[attr-defined]

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
