"""Which form an answer takes: JSON, whoever asks."""

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

_ANY = frozenset({"*/*", "application/json"})


class JsonAnyway(DefaultContentNegotiation):
    """Weighs the Accept header only of a caller that does not plainly take JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        if request.META.get("HTTP_ACCEPT", "*/*") in _ANY:
            return renderers[0], renderers[0].media_type
        chosen: Any = super().select_renderer(request, renderers, format_suffix)
        if len(renderers) > 1:
            # DRF does not weigh: of two forms that are taken, that which is wanted more comes by `q` alone.
            wanted = request.get_preferred_type([renderer.media_type for renderer in renderers])
            chosen = next(((one, wanted) for one in renderers if one.media_type == wanted), chosen)
        return chosen
