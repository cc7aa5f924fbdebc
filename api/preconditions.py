"""ETag, If-Match and If-None-Match (RFC 9110): the entity tag is the row's version, strong."""

import re
from collections.abc import Container

from rest_framework.request import Request

_TAGS = re.compile(r'(?:W/)?"(?:[\x21\x23-\x7e])*"')
_OURS = re.compile(r'"([1-9][0-9]{0,18})"')


class _Any(Container[int]):
    def __contains__(self, version: object) -> bool:
        return True


def etag(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def expected_versions(request: Request) -> Container[int] | None:
    """Return the versions a change is meant for, or None without If-Match; a weak or foreign tag matches none."""
    header = request.META.get("HTTP_IF_MATCH")
    if header is None:
        return None
    if header.strip() == "*":
        return _Any()
    return {int(ours[1]) for tag in _TAGS.findall(header) if (ours := _OURS.fullmatch(tag))}


def is_known(request: Request, version: int) -> bool:
    """Tell whether the caller has this version already (If-None-Match compares weakly)."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "")
    return header.strip() == "*" or etag(version) in [tag.removeprefix("W/") for tag in _TAGS.findall(header)]
