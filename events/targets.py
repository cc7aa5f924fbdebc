"""Where a webhook may go: an https address that is the world's, never this network's own."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_LENGTH = 2000
HTTPS = 443

_WRITTEN = re.compile(r"https://[\x21-\x7e]+\Z", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)\Z")
_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Said here too, because what Python's own list holds differs between its versions.
_SPECIAL = [
    ipaddress.ip_network(written)
    for written in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
]


class TargetRefused(Exception):  # noqa: N818 a refusal is an answer, not an error
    """A webhook does not go there; `code` says why, the text says it to people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Target:
    """An address on the web, taken apart."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Return the target a URL names.

        Raises:
            TargetRefused: `invalid_url`, or `url_not_public` where the URL itself tells so.
        """
        if len(url) > MAX_LENGTH or not _WRITTEN.match(url) or "\\" in url or "#" in url:
            raise _malformed("Send an https URL of printable ASCII, without a fragment.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _malformed("The host or the port cannot be read.") from None
        if "@" in parts.netloc:
            raise _malformed("A URL with a name or a password is refused: the signature says who we are.")
        if port == 0 or parts.netloc.endswith(":"):
            raise _malformed("A port is 1 to 65535.")
        known = _LOOPBACK if host == "localhost" or host.endswith(".localhost") else _literal(host, parts.netloc)
        if known is not None and not may_go_to(known):
            raise not_public()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, HTTPS if port is None else port, path)

    def addresses(self) -> list[str]:
        """Return the addresses the host has now, each of which may be gone to.

        Raises:
            TargetRefused: `url_not_public`: one of them may not.
            OSError: the host has none.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if not all(may_go_to(ipaddress.ip_address(address.partition("%")[0])) for address in addresses):
            raise not_public()
        return addresses


def _malformed(sentence: str) -> TargetRefused:
    return TargetRefused("invalid_url", sentence)


def not_public() -> TargetRefused:
    """Return the refusal of an address of a private network."""
    return TargetRefused("url_not_public", "The host is not on the public internet.")


def _literal(host: str, netloc: str) -> Address | None:
    """Return the address that a host is written as, or None of a name.

    What ends in a number is an address to most resolvers: 127.1, 2130706433, 0x7f.1 and 0177.0.0.1 all mean loopback.
    """
    try:
        if netloc.startswith("["):
            return ipaddress.IPv6Address("" if "%" in host else host)
        labels = host.split(".")
        if _NUMBER.match(labels[-1]):
            return ipaddress.IPv4Address(host)
    except ValueError:
        raise _malformed("Write an address as four decimal numbers, or in brackets.") from None
    if len(host) > 253 or not all(map(_LABEL.match, labels)):  # noqa: PLR2004 the longest name there is
        raise _malformed("The host is no name: letters, digits, hyphens and dots.")
    return None


def may_go_to(address: Address) -> bool:
    """Tell whether an address is public, or in a network that the operator has allowed."""
    meant = _meant(address)
    return is_public(meant) or any(
        meant in network for network in settings.WEBHOOK_ALLOWED_NETWORKS if network.version == meant.version
    )


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            return address.sixtofour
    return address


def is_public(address: Address) -> bool:
    """Tell whether an address is of the public internet, not private, shared, loopback, link-local or reserved."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST  # noqa: PLR2004
