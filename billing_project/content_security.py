"""The Content-Security-Policy of each part of the site."""

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

from api.middleware import ConsoleOnly

# The console's theme evaluates expressions of Alpine and colours itself inline; swagger-ui styles itself inline.
LOOSENED: dict[str, dict[str, list[str]]] = {
    "/admin/": {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]},
    "/docs": {"style-src": [SELF, UNSAFE_INLINE]},
}


class ContentSecurityPolicyMiddleware(ConsoleOnly, CSPMiddleware):
    """Sends the strict policy of the settings, loosened only where a page cannot work without."""

    def get_policy_parts(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        report_only: bool = False,
    ) -> PolicyParts:
        """Return the policy of the response, with what its path needs in place of the default."""
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, directives in LOOSENED.items():
            if request.path_info.startswith(prefix):
                parts.replace = {**directives, **(parts.replace or {})}
        return parts
