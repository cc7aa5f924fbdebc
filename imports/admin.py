"""How staff import files: sent, looked at, tried or run, followed while a worker is at it, and cancelled."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from billers.forms import act_as
from billers.staff import TenantAdmin, chosen_biller, page_of
from core.ids import decode
from core.money import display as money
from core.refusals import Refusal
from core.text import is_reference
from events.admin import SeenToAdmin
from imports.columns import BadOption
from imports.kinds import KINDS, Kind
from imports.models import HOLDS, Import, Job, Phase, Piece, Status, What
from imports.options import Option, as_field, named_in, options_of, read
from imports.previewing import preview
from imports.uploading import last_part

SECONDS_TO_REFRESH = 2
_APART = ("dry_run",)
"""What the page has buttons for."""


class FileForm(forms.Form):
    """A file to look at."""

    kind = forms.ChoiceField(
        label="What the rows are", choices=[(name, name.capitalize()) for name in HOLDS], initial="bills",
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget, help_text="CSV with a header line, plain or .gz.", allow_empty_file=False
    )

    def clean_file(self) -> Any:
        """Refuse a file that is larger than one may be."""
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_BYTES:
            raise forms.ValidationError(f"A file holds at most {settings.IMPORT_MAX_BYTES:,} bytes.")
        return file


class OptionsForm(forms.Form):
    """How a file is to be understood: a field for every option there is."""

    def __init__(self, kind: Kind, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kind, self.asked = kind, dict[str, Any]()
        for option in options_of(kind):
            if option.name not in _APART:
                self.fields[option.name] = _field_of(option, kind)

    def clean(self) -> None:
        """Have the options read as those of the other doors are."""
        texts: dict[str, list[str]] = {}
        for name, value in self.cleaned_data.items():
            if isinstance(value, bool):
                texts[name] = ["true" if value else "false"]
            elif said := [line.strip() for line in value.splitlines() if line.strip()]:
                texts[name] = said
        try:
            self.asked = read(self.kind, texts)
        except BadOption as refusal:
            field = named_in(str(refusal))
            self.add_error(field if field in self.fields else None, as_field(str(refusal)))


def _field_of(option: Option, kind: Kind) -> forms.Field:
    told = option.help.replace("{kind}", str(kind))
    about: dict[str, Any] = {"required": False, "help_text": told[:1].upper() + told[1:] + "."}
    about["label"] = option.name.replace("_", " ").capitalize()
    if option.is_flag:
        return forms.BooleanField(widget=UnfoldBooleanSwitchWidget, **about)
    if option.choices:
        named = [(word, word) for word in option.choices]
        if option.default is None:
            named.insert(0, ("", "—"))
        return forms.ChoiceField(choices=named, initial=option.default, widget=UnfoldAdminSelectWidget, **about)
    if option.repeats:
        about["help_text"] = f"One a line, {option.metavar}: " + told.partition(";")[0] + "."
        return forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), **about)
    return forms.CharField(initial=option.default, widget=UnfoldAdminTextInputWidget, **about)


@admin.register(Import)
class ImportAdmin(SeenToAdmin):
    """Files that are imported, whichever way they came."""

    list_display = ("created_at", "file_name", "kind", "status", "read_shown", "rejected_shown", "dry_run")
    list_display_links = ("created_at",)
    list_filter = (("kind", ChoicesDropdownFilter), ("phase", ChoicesDropdownFilter))
    sortable_by = ("created_at",)
    search_fields = ("id",)
    search_help_text = "An id"
    actions_detail = ("cancel",)
    list_before_template = "console/biller_switch.html"
    change_form_before_template = "console/import_of.html"
    fieldsets = (
        (None, {"fields": (("file_name", "kind"), ("status", "dry_run"), "failure_shown", "options_shown")}),
        (
            "Rows",
            {
                "fields": (
                    ("read", "rejected_shown"),
                    ("created", "updated", "unchanged"),
                    ("customers_shown", "accounts_shown"),
                    "totals_shown",
                    "warnings_shown",
                )
            },
        ),
        ("Record", {"fields": (("id", "asked_by"), ("created_at", "started_at", "finished_at"))}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("imports.add_import"))

    def has_cancel_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may cancel the import, and a worker is to run it."""
        if not self.may_see_to(request):
            return False
        if not object_id:
            return True
        found = self.shown(request, object_id)
        jobs = Job.objects.of(found).filter(cancel_asked_at=None) if found else None
        return jobs is not None and jobs.exists()

    def get_urls(self) -> list[Any]:
        own = [
            ("<path:object_id>/preview/", self.preview_view, "preview"),
            ("<path:object_id>/refused/", self.refused_view, "refused"),
        ]
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(path(where, self.admin_site.admin_view(view), name=f"{name}_{what}") for where, view, what in own),
            *super().get_urls(),
        ]

    # --- Sent and looked at ---

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Take a file; what happens to it is decided on the page that shows how it begins."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        biller = chosen_biller(request)
        if biller is None or (request.method == "GET" and request.GET.get("biller") != biller.pk):
            return TenantAdmin.add_view(self, request, form_url, extra_context)
        form = FileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            file, kind = form.cleaned_data["file"], form.cleaned_data["kind"]
            name = last_part(file.name or "")
            name = name if is_reference(name) else "upload"

            def upload(act: Any) -> Import:
                return Import.objects.upload(act, file.file, kind=kind, file_name=name, asked={}, draft=True)

            draft = act_as(request, biller, upload)
            return HttpResponseRedirect(self._address(draft, "preview"))
        context = self._context(request, "Import a file", form, biller)
        return TemplateResponse(request, "console/import_file.html", context)

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show how a file begins under the options, and try it, run it or throw it away."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        draft = self.found(request, object_id)
        if draft.phase != Phase.DRAFT:
            return HttpResponseRedirect(page_of(draft))
        # What was tried last stands in the form, so that it can be run as it was.
        tried = {name: "\n".join(one) if isinstance(one, list) else one for name, one in draft.options.items()}
        form = OptionsForm(KINDS[draft.kind], request.POST or None, initial=tried)
        asked = draft.options if not form.is_bound else form.asked if form.is_valid() else {}
        if request.method == "POST" and "discard" in request.POST:
            act_as(request, draft.biller, lambda act: Import.objects.cancel(act, draft.pk))
            messages.success(request, f"{draft.file_name} is thrown away.")
            return HttpResponseRedirect(reverse("admin:imports_import_changelist"))
        shown = preview(draft, asked)
        if form.is_bound and form.is_valid() and not shown.trouble and {"run", "try"} & set(request.POST):
            return self._started(request, draft, asked | ({"dry_run": True} if "try" in request.POST else {}))
        context = self._context(request, f"{draft.file_name}: {draft.kind}", form, draft.biller)
        context |= {"preview": shown, "trouble": as_field(shown.trouble), "draft": draft}
        return TemplateResponse(request, "console/import_preview.html", context)

    def _started(self, request: HttpRequest, draft: Import, asked: dict[str, Any]) -> HttpResponse:
        try:
            started = act_as(request, draft.biller, lambda act: Import.objects.start(act, draft.pk, asked))
        except Refusal as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(page_of(draft))
        self.log_change(request, started, f"Started with {asked or 'the usual options'}.")
        back = f"?draft={draft.pk}" if started.pk != draft.pk else ""
        return HttpResponseRedirect(page_of(started) + back)

    def _context(self, request: HttpRequest, title: str, form: forms.Form, biller: Any) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "chosen_biller": biller,
            "back": reverse("admin:imports_import_changelist"),
        }

    def _address(self, imported: Import, page: str) -> str:
        return reverse(f"admin:imports_import_{page}", args=[quote(imported.pk)])

    # --- Followed ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        if found is not None and found.phase == Phase.DRAFT and self.has_add_permission(request):
            return HttpResponseRedirect(self._address(found, "preview"))
        job = Job.objects.of(found).first() if found else None
        draft = request.GET.get("draft", "")
        context = {
            "job": job,
            "draft_address": reverse("admin:imports_import_preview", args=[quote(draft)])
            if decode("imp", draft)
            else "",
        }
        response = super().change_view(request, object_id, form_url, context | (extra_context or {}))
        if found is not None and found.finished_at is None:
            # The browser's own way to come again: no script, whatever the policy says.
            response.headers["Refresh"] = str(SECONDS_TO_REFRESH)
        return response

    def refused_view(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """Answer the file of refused rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.found(request, object_id)
        if found.errors_until is None:
            raise Http404
        response = StreamingHttpResponse(Piece.objects.bytes_of(found, What.REFUSED), content_type="text/csv")
        name = content_disposition_header(as_attachment=True, filename=f"{found.file_name}.errors.csv")
        response.headers["Content-Disposition"] = str(name)
        return response

    @action(description="Cancel", icon="cancel", variant=ActionVariant.DANGER, permissions=["cancel"])
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the import where it stands."""
        imported = self.found(request, object_id)
        return self.confirmed(
            request,
            imported,
            lambda act, *_: Import.objects.cancel(act, imported.pk),
            title=f"Cancel the import of {imported.file_name}",
            effect="What waits is not begun; what runs ends before its next chunk. What was written stays, and the "
            "counts tell how much that is. Sent again, the file is completed.",
            button="Cancel the import",
            done="The import is cancelled, or about to be.",
        )

    # --- Shown ---

    @display(
        description="status",
        label={
            Status.DRAFT.label: "info",
            Status.QUEUED.label: "info",
            Status.RUNNING.label: "info",
            Status.COMPLETED.label: "success",
            Status.REFUSED.label: "danger",
            Status.FAILED.label: "danger",
            Status.CANCELLED.label: "warning",
        },
    )
    def status(self, imported: Import) -> str:
        return Status.of(imported.phase, imported.finished_at).label

    @display(description="read")
    def read_shown(self, imported: Import) -> str:
        return f"{imported.read:,}"

    @display(description="refused")
    def rejected_shown(self, imported: Import) -> str:
        if not imported.errors_until:
            return f"{imported.rejected:,}"
        return format_html(
            '{} — <a href="{}" class="text-primary-600 dark:text-primary-500">get them as CSV</a>',
            f"{imported.rejected:,}",
            self._address(imported, "refused"),
        )

    @display(description="why it failed")
    def failure_shown(self, imported: Import) -> str:
        return as_field(imported.failure or "") or "—"

    @display(description="options")
    def options_shown(self, imported: Import) -> str:
        return "; ".join(f"{name}: {_spelt(value)}" for name, value in imported.options.items()) or "The usual ones."

    @display(description="customers")
    def customers_shown(self, imported: Import) -> str:
        return f"{imported.customers_created:,} created, {imported.customers_updated:,} updated"

    @display(description="accounts")
    def accounts_shown(self, imported: Import) -> str:
        return f"{imported.accounts_created:,} created, {imported.accounts_updated:,} updated"

    @display(description="totals")
    def totals_shown(self, imported: Import) -> str:
        told = [
            ", ".join(f"{name.replace('_', ' ')} {money(amount, code)}" for name, amount in total.items())
            for code, total in sorted(imported.totals.items())
        ]
        return "; ".join(told) or "—"

    @display(description="warnings")
    def warnings_shown(self, imported: Import) -> str:
        return format_html_join("", "<p>{}</p>", ((warning,) for warning in imported.warnings)) or "—"


def _spelt(value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return "yes" if value is True else str(value)
    return ", ".join(map(str, value))
