"""Decide who may reach a Micro: Deta Access. Refused requests start no tenant code.

Source: Deta docs, Micros > API Keys and Deta Access.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from microhost.accounts.browsers import ENTRY, SECURE_PREFIX
from microhost.gateway.guard import Head
from microhost.records import Micro

CREDENTIAL_BYTES_MAX = 1024
_BEARER = b"bearer "
_ENTRIES = (ENTRY.encode("ascii"), f"{SECURE_PREFIX}{ENTRY}".encode("ascii"))
_FETCH = (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"origin")


class Route(Protocol):
    """See of a route what access needs."""

    @property
    def micro(self) -> Micro:
        """Give the Micro."""

    @property
    def digests(self) -> frozenset[bytes]:
        """Give the sha256 of each of its API keys."""


class Owners(Protocol):
    """Know the users' tokens."""

    def is_access_token(self, token: str) -> bool:
        """Compare in constant time."""


class Entries(Protocol):
    """Know what lets browsers into Micros."""

    def opens(self, secret: bytes, micro_id: str) -> bool:
        """Tell whether an entry's secret opens a Micro."""


def may_enter(route: Route, owners: Owners, head: Head, entries: Entries | None = None) -> bool:
    """Tell whether the request may reach the Micro. Every credential of ours that is good is taken off its head, needed or
    not: a public Micro may be a stranger's code too.
    """
    entitled = not route.micro.http_auth
    if opens(head.api_keys, route.digests):
        head.api_keys = []
        entitled = True
    token = bearer_token(head.authorizations)
    if token and owners.is_access_token(token):
        head.authorizations = []
        entitled = True
    if not entitled and head.cookies and entries is not None:
        entitled = _has_entry(route, head, entries)
    return entitled


def _has_entry(route: Route, head: Head, entries: Entries) -> bool:
    found = [secret for value in head.cookies for secret in _entries_in(value)]
    return len(found) == 1 and is_meant(head) and entries.opens(found[0], route.micro.id)


def _entries_in(cookies: bytes) -> list[bytes]:
    pairs = (pair.strip().partition(b"=") for pair in cookies.split(b";"))
    return [value.strip() for name, _, value in pairs if name.strip() in _ENTRIES]


def is_meant(head: Head) -> bool:
    """Tell whether the Micro's own page sent a request with a cookie, or the visitor went there.

    Other Micros are siblings: what their pages send of themselves must not act with the visitor's entry.
    """
    said = _read_fetch(head)
    sites, origins = said[b"sec-fetch-site"], said[b"origin"]
    if sites:
        return sites in ([b"same-origin"], [b"none"]) or (
            head.method in (b"GET", b"HEAD")
            and said[b"sec-fetch-mode"] == [b"navigate"]
            and said[b"sec-fetch-dest"] == [b"document"]
        )
    if origins:
        return len(origins) == 1 and origins[0].partition(b"://")[2] == head.host.lower()
    return head.method in (b"GET", b"HEAD") and not head.upgrade


def navigates(head: Head) -> bool:
    """Tell whether a browser goes to a page, without a credential that we know."""
    said = _read_fetch(head)
    return (
        not head.api_keys
        and not head.authorizations
        and not head.upgrade
        and said[b"sec-fetch-mode"] in ([], [b"navigate"])
        and said[b"sec-fetch-dest"] in ([], [b"document"])
    )


def _read_fetch(head: Head) -> dict[bytes, list[bytes]]:
    said: dict[bytes, list[bytes]] = {name: [] for name in _FETCH}
    for at in range(0, len(head.fields) - 1, 2):
        if head.fields[at] in said:
            said[head.fields[at]].append(head.fields[at + 1])
    return said


def opens(api_keys: list[bytes], digests: Collection[bytes]) -> bool:
    """Tell whether a lone key is one of those whose digests are known, in a time that does not depend on which."""
    if len(api_keys) != 1 or not 0 < len(api_keys[0]) <= CREDENTIAL_BYTES_MAX:
        return False
    digest = sha256(api_keys[0]).digest()
    found = False
    for each in digests:
        found |= compare_digest(each, digest)
    return found


def bearer_token(authorizations: list[bytes]) -> str:
    """Give the token of a lone `Authorization: Bearer`, empty when there is none."""
    if len(authorizations) != 1 or len(authorizations[0]) > CREDENTIAL_BYTES_MAX:
        return ""
    value = authorizations[0]
    if value[: len(_BEARER)].lower() != _BEARER:
        return ""
    token = value[len(_BEARER) :].strip()
    return token.decode("ascii") if token.isascii() else ""
