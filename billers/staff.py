"""The pages staff work on: records that stay, of the biller that is chosen, written through the verbs alone."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from billers.acts import Act
from billers.forms import Confirmation, act_as, add_refusal
from billers.lists import COUNTED, EstimatedPaginator, IndexedChangeList
from billers.models import Biller
from core.ids import PrefixedIdField, decode
from core.refusals import Refusal

CHOICES_SHOWN = 20


def chosen_biller(request: HttpRequest) -> Biller | None:
    """Return the biller a page is about: the one its address names, else the last one chosen, else the first."""
    came_from = QueryDict(request.GET.get("_changelist_filters", ""))
    keys: list[Any] = [request.GET.get("biller"), came_from.get("biller"), request.session.get("biller")]
    for key in keys:
        if decode("blr", key) and (biller := Biller.objects.filter(pk=key).first()):
            request.session["biller"] = biller.pk
            return biller
    return Biller.objects.first()


def page_of(record: models.Model) -> str:
    """Return the address of a record's own page."""
    return reverse(f"admin:{record._meta.app_label}_{record._meta.model_name}_change", args=[quote(record.pk)])


def link_to(record: models.Model | None, text: object = None) -> str:
    """Return a link to a record's own page."""
    if record is None:
        return ""
    return format_html(
        '<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', page_of(record), text or record
    )


class OwnTransaction(admin.ModelAdmin):
    """Pages whose verb opens its own transaction, so that what COMMIT refuses is still said in the form."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]


def secret_shown(
    model_admin: ModelAdmin, request: HttpRequest, record: Any, title: str, owner: Any, sentence: str, secret: str
) -> HttpResponse:
    """Show a secret in this very answer: a redirect would have to keep it somewhere."""
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        "owner": owner,
        "sentence": sentence,
        "secret": secret,
        "back": page_of(record),
    }
    return TemplateResponse(request, "console/secret_shown.html", context)


class KeptAdmin(ModelAdmin, OwnTransaction):
    """Records that stay: written through verbs, corrected, never deleted."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    fixed_fields: tuple[str, ...] = ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[IndexedChangeList]:
        return IndexedChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *(self.fixed_fields if obj else ()))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        key = unquote(object_id)
        if decode(self.model._meta.pk.prefix, key) is None:
            return None
        found = self.prepared(list(self.get_queryset(request).filter(pk=key)))
        return found[0] if found else None

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """Return the record an action is about."""
        record = self.get_object(request, object_id)
        if record is None:
            raise Http404
        return record

    def prepared(self, rows: list[Any]) -> list[Any]:
        """Bring the rows of a page everything its columns show, in a number of queries that does not grow with them."""
        return rows

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **options)
        form.request, form.biller = request, self.biller_of(request, obj)
        return form

    def biller_of(self, request: HttpRequest, record: Any) -> Any:
        """Return the biller whose record is shown or made."""
        return record.biller if record else chosen_biller(request)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        form.save_m2m = lambda: None
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: the form's verb has saved it."""

    def confirmed(
        self,
        request: HttpRequest,
        record: Any,
        verb: Callable[[Act, str, set[int] | None], Any],
        shown: Callable[[Any], HttpResponse] | None = None,
        **words: str,
    ) -> HttpResponse:
        """Say what is about to happen, take the reason, and do it; then go back, or show what was made."""
        form = Confirmation(request.POST or None, initial={"version": getattr(record, "version", None)})
        if form.is_valid():
            reason, version = form.cleaned_data["reason"], form.cleaned_data["version"]
            versions = None if version is None else {version}
            try:
                made = act_as(request, self.biller_of(request, record), lambda act: verb(act, reason, versions), reason)
            except Refusal as refusal:
                add_refusal(form, refusal)
            else:
                self.log_change(request, record, f"{words['done']} {reason}")
                if shown is not None:
                    return shown(made)
                messages.success(request, words["done"])
                return HttpResponseRedirect(page_of(record))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "record": record,
            "form": form,
            "back": page_of(record),
            **words,
        }
        return TemplateResponse(request, "console/confirm.html", context)


class TenantAdmin(KeptAdmin):
    """Records of one biller at a time: every list is the chosen biller's, and says so in its address."""

    list_before_template = "console/biller_switch.html"
    change_form_before_template = "console/biller.html"
    ordering = ("-created_at", "-id")
    list_filter_submit = True
    narrowing: tuple[str, ...] = ()
    joined: tuple[str, ...] = ("biller",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related(*self.joined)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        biller = chosen_biller(request)
        if biller and request.method == "GET" and request.GET.get("biller") != biller.pk:
            query = request.GET.copy()
            query["biller"] = biller.pk
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        narrowed = next((request.GET[name] for name in self.narrowing if name in request.GET), None)
        context = {"chosen_biller": biller, "billers": Biller.objects.all(), "narrowed": narrowed}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        biller = chosen_biller(request)
        if biller is None:
            messages.warning(request, "Add a biller first: every record belongs to one.")
            return HttpResponseRedirect(reverse("admin:billers_biller_add"))
        if request.method == "GET" and request.GET.get("biller") != biller.pk:
            query = request.GET.copy()
            query["biller"] = biller.pk
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
        return super().add_view(request, form_url, {"chosen_biller": biller, **(extra_context or {})})

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        for field in self.model._meta.concrete_fields:
            if isinstance(field, PrefixedIdField) and decode(field.prefix, term):
                return queryset.filter(**{field.attname: term}), False
        return super().get_search_results(request, queryset, term)

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_choices"
        return [path("choices/<str:biller>/", self.admin_site.admin_view(self.choices), name=name), *super().get_urls()]

    def choices(self, request: HttpRequest, biller: str) -> HttpResponse:
        """Answer a field that chooses one of this biller's records by typing a part of its name."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = (
            self.get_queryset(request).filter(biller_id=biller) if decode("blr", biller) else self.model.objects.none()
        )
        if term := request.GET.get("term", "").replace("\0", ""):
            found, _ = self.get_search_results(request, rows, term)
            # Found first and sorted then: asked at once, the planner may walk all rows, newest first, for a rare word.
            rows = rows.filter(pk__in=found.order_by().values("pk")[:COUNTED])
        results = [{"id": row.pk, "text": self.choice_label(row)} for row in rows[:CHOICES_SHOWN]]
        return JsonResponse({"results": results, "pagination": {"more": False}})

    @staticmethod
    def choice_label(record: Any) -> str:
        """Return what a record is called where it is chosen."""
        about = getattr(record, "name", None) or getattr(record, "description", None)
        return f"{record} — {about}" if about else str(record)


class ReadOnlyAdmin(TenantAdmin):
    """Records that nobody writes by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
