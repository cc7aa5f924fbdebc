"""Lists that staff save as a table: exactly the rows that the page would show, page after page."""

from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from api.exporting import EVERYTHING, Export, Table
from api.problems import Problem
from api.tables import streamed
from billers.staff import TenantAdmin, chosen_biller


class ExportedAdmin(TenantAdmin):
    """A list that has a table, with every column of it."""

    exported: ClassVar[Table]

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(require_safe(self.export))
        return [path("export/", view, name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        address = f"{self._address('export')}?{request.GET.urlencode()}" if chosen_biller(request) else None
        return super().changelist_view(request, {"export": address, **(extra_context or {})})

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Answer all rows of the list that its address asks for, of the biller that is chosen."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        biller = chosen_biller(request)
        back = HttpResponseRedirect(f"{self._address('changelist')}?{request.GET.urlencode()}")
        if biller is None:
            return back
        try:
            rows = self.get_changelist_instance(request).queryset.for_biller(biller)
            return streamed(self.exported.name, Export(self.exported, rows, columns=EVERYTHING).chunks())
        except IncorrectLookupParameters:
            # The list says what is wrong with its filters.
            return back
        except Problem as problem:
            messages.error(request, f"{problem.detail}")
            return back

    def _address(self, page: str) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}")
