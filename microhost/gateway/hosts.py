"""Decide what a host name means: a Micro's label, a product, the console's own names, or nothing of ours. Pure.

Source: RFC 9110, section 7.2 (exactly one Host); RFC 1123, section 2.1 (the shape of a name).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

CONSOLE_LABELS = frozenset(("www", "api", "web"))
# Deta docs, Deploy to Deta Button: the picture, and the address behind it
BUTTON_LABELS = frozenset(("button", "go"))
PRODUCT_LABELS = {"database": "base", "drive": "drive"}
# Deta docs, Base > HTTP and Drive > HTTP: the original's own names, for whoever points them at us
PRODUCT_NAMES = {b"database.deta.sh": "base", b"drive.deta.sh": "drive"}
CACHED_NAMES = 4096

_LABEL = rb"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rb"(?=.{1,254}(?::|\Z))(" + _LABEL + rb"(?:\." + _LABEL + rb")*)\.?(?::([0-9]{1,5}))?")
_LITERAL = re.compile(rb"(\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Place:
    """Say where a valid host name leads. `name` is canonical: lower case, no port, no final dot.

    `label` names a Micro, perhaps one that does not exist; `is_console`, `product` ('base' or 'drive') and `button` (the
    deploy button's 'button' or 'go') are for the ASGI application; none of them: not ours.
    """

    name: bytes
    port: bytes = b""
    label: str = ""
    is_console: bool = False
    product: str = ""
    button: str = ""


class Names:
    """Know our own domain, and the console's if it is another; remember the names that were asked for."""

    def __init__(self, domain: str, console: str = "") -> None:
        self._domain = domain.lower().encode("ascii")
        self._console = (console or domain).lower().encode("ascii")
        self._suffix = b"." + self._domain
        self._cache: dict[bytes, Place | None] = {}

    def find(self, host: bytes) -> Place | None:
        """Give the place of a `Host` value, None when it is no valid host name."""
        try:
            return self._cache[host]
        except KeyError:
            place = self._cache_place(host)
        return place

    def is_ours(self, name: bytes) -> bool:
        """Tell whether a canonical name is our domain, one label below it, or the console's."""
        return name in (self._domain, self._console) or (
            name.endswith(self._suffix) and b"." not in name.removesuffix(self._suffix)
        )

    def _cache_place(self, host: bytes) -> Place | None:
        place = self._decide(host)
        if len(host) <= len(self._suffix) + 64:
            if len(self._cache) >= CACHED_NAMES:
                self._cache.clear()
            self._cache[host] = place
        return place

    def _decide(self, host: bytes) -> Place | None:
        canonical = split_host(host)
        if canonical is None:
            return None
        name, port = canonical
        if name in PRODUCT_NAMES:
            return Place(name, port, product=PRODUCT_NAMES[name])
        label, found, rest = name.partition(self._suffix)
        if name == self._console or (self._domain == b"localhost" and _is_loopback(name)):
            return Place(name, port, is_console=True)
        if found and not rest and b"." not in label:
            text = label.decode("ascii")
            if text in CONSOLE_LABELS and self._console == self._domain:
                return Place(name, port, is_console=True)
            if text in PRODUCT_LABELS:
                return Place(name, port, product=PRODUCT_LABELS[text])
            if text in BUTTON_LABELS:
                return Place(name, port, button=text)
            return Place(name, port, label=text)
        return Place(name, port)


def split_host(host: bytes) -> tuple[bytes, bytes] | None:
    """Give the canonical name and the port of a `Host` value, None when it is not valid."""
    lower = host.lower()
    match = _NAME.fullmatch(lower)
    if match is None:
        match = _LITERAL.fullmatch(lower)
        if match is None or not _is_address(match[1]):
            return None
    port = match[2] or b""
    if port and not 0 < int(port) <= _PORT_MAX:
        return None
    return match[1], port


def _is_address(literal: bytes) -> bool:
    try:
        ipaddress.IPv6Address(literal[1:-1].decode("ascii"))
    except ValueError:
        return False
    return True


def _is_loopback(name: bytes) -> bool:
    try:
        return ipaddress.ip_address(name.strip(b"[]").decode("ascii")).is_loopback
    except ValueError:
        return False
