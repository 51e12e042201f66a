"""Web origins: what a browser says about the page that asks. Pure.

Without a token, nothing but the page's origin tells the operator's own pages from everybody else's, and a page
anywhere in the world can send requests to 127.0.0.1. So a request that a page makes is answered only if the
page comes from this machine, from this very server, or from an origin that the operator named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

#: RFC 6454 section 6.2, and any scheme: editors and apps have their own.
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://(?P<host>\[[0-9a-f:.]{2,45}\]|[0-9a-z._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
#: RFC 6762 section 3 and appendix G, RFC 8375, and what home routers name their networks.
_LOCAL_SUFFIXES: Final = (
    *(".local", ".intranet", ".internal", ".private", ".corp", ".home", ".lan"),
    *(".home.arpa", ".localdomain"),
)
#: What sandboxed frames and files say.
OPAQUE: Final = "null"


def parse_origin(text: str) -> str | None:
    """Return an origin in one spelling, None for what is none."""
    text = text.strip().lower()
    if text == OPAQUE:
        return OPAQUE
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    port = match["port"]
    if port is None or port == _DEFAULT_PORTS.get(match["scheme"]):
        return f"{match['scheme']}://{match['host']}"
    return f"{match['scheme']}://{match['host']}:{port}"


def origin_of(url: str) -> str | None:
    """Return the origin of a page's address, as in a Referer header."""
    scheme, _, rest = url.partition("://")
    return parse_origin(f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}")


def host_of(origin: str) -> str:
    """Return the host name of an origin; "" for an opaque one."""
    match = _ORIGIN.fullmatch(origin)
    return match["host"] if match is not None else ""


def names_this_machine(host: str) -> bool:
    """Whether a host name is always that of the machine it is looked up on (RFC 6761 section 6.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_local_name(host: str) -> bool:
    """Whether a host name can be in no public name system, so that no foreign page can have it: one label alone,
    or below what is kept for private networks."""
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


class Origins:
    """Whose pages are answered without a token: those of this machine, of this server, and the `allowed`."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(filter(None, map(parse_origin, allowed)))

    def may_ask(self, *, origin: str, site: str, mode: str, method: str, referer: str, host: str) -> bool:
        """Judge a request by its headers: Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Referer and Host.

        Browsers leave Origin out where a page cannot read the answer: pictures, scripts, films, downloads. They
        say then that the page is another's. Programs say nothing of this, and may ask.
        """
        if origin:
            return self._allows(parse_origin(origin), host)
        if site not in ("cross-site", "same-site"):
            return True
        if mode == "navigate" and method in ("GET", "HEAD"):
            return True  # a link to here, which somebody followed
        return self._allows(origin_of(referer), host)

    def _allows(self, origin: str | None, host: str) -> bool:
        if origin is None:
            return False
        if origin in self._allowed or names_this_machine(host_of(origin)):
            return True
        scheme = origin.partition(":")[0]
        return scheme in _DEFAULT_PORTS and origin == parse_origin(f"{scheme}://{host}")
