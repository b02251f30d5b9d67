"""Decide who may reach a Micro: Deta Access. Refused requests start no tenant code.

Source: Deta docs, Micros > API Keys and Deta Access.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from microhost.gateway.guard import Head
from microhost.records import Micro

CREDENTIAL_BYTES_MAX = 1024
_BEARER = b"bearer "


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


def may_enter(route: Route, owners: Owners, head: Head) -> bool:
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
    return entitled


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
