"""Answer, from memory, which Micro a host name belongs to and whose credential a string is.

The gateway reads it for every request, on the event loop; it is filled at start and changed, on the loop too,
after each change has reached the disk. Nothing here waits.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType

from microhost.records import Micro, Token

_NO_KEYS: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Route:
    """Name the Micro behind a label and the sha256 digests of its API keys."""

    micro: Micro
    digests: frozenset[bytes]


class Directory:
    """Hold every Micro's route, every project's keys and the users' access tokens."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Make an empty directory; `clock` tells the time."""
        self._clock = clock
        self._domains: dict[bytes, str] = {}
        self._active_domains: set[bytes] = set()
        self._used: dict[str, datetime] = {}
        self._labels: dict[str, Route] = {}
        self._micros: dict[str, Route] = {}
        self._tokens: dict[str, Token] = {}
        self._projects: dict[str, dict[bytes, bytes]] = {}

    def find(self, label: str) -> Route | None:
        """Find the Micro with this random path or chosen sub-domain; `label` is lower case."""
        return self._labels.get(label)

    def find_domain(self, name: bytes) -> Route | None:
        """Find the Micro with this domain of its own; `name` is lower case."""
        micro_id = self._domains.get(name)
        return self._micros.get(micro_id) if micro_id else None

    def put_domain(self, domain: str, micro_id: str, *, is_active: bool) -> None:
        """Let a domain lead to a Micro, as long as that is known. `is_active`: a certificate may be got for it."""
        name = domain.encode("ascii")
        self._domains[name] = micro_id
        if is_active:
            self._active_domains.add(name)
        else:
            self._active_domains.discard(name)

    def mark_domain(self, domain: str, micro_id: str, *, is_active: bool) -> None:
        """Say what `put_domain` does of a domain that may have been taken away or given to another meanwhile."""
        if self._domains.get(domain.encode("ascii")) == micro_id:
            self.put_domain(domain, micro_id, is_active=is_active)

    def remove_domain(self, domain: str, micro_id: str) -> None:
        """Let a Micro's domain lead nowhere; nothing happens when it does, or leads to another."""
        name = domain.encode("ascii")
        if self._domains.get(name) == micro_id:
            del self._domains[name]
            self._active_domains.discard(name)

    def is_active_domain(self, name: bytes) -> bool:
        """Tell whether this is a Micro's domain that leads to this host; `name` is lower case."""
        return name in self._active_domains and self.find_domain(name) is not None

    @property
    def micro_ids(self) -> Collection[str]:
        """Give the ids of all Micros."""
        return self._micros.keys()

    def get(self, micro_id: str) -> Route | None:
        """Find the Micro with this id."""
        return self._micros.get(micro_id)

    def find_micro(self, micro_id: str) -> Micro | None:
        """Find the Micro with this id, as it is set now."""
        route = self._micros.get(micro_id)
        return route.micro if route else None

    def put(self, micro: Micro, digests: Iterable[bytes]) -> None:
        """Make a Micro known, or replace what was known of it; labels it no longer has are closed."""
        self.remove(micro.id)
        route = Route(micro, frozenset(digests))
        self._micros[micro.id] = route
        for label in _labels(micro):
            self._labels[label] = route

    def remove(self, micro_id: str) -> None:
        """Forget a Micro; nothing happens when it is not known."""
        former = self._micros.pop(micro_id, None)
        if former is None:
            return
        for label in _labels(former.micro):
            if self._labels.get(label) is former:
                del self._labels[label]

    def put_project(self, project_id: str, digests: Iterable[bytes]) -> None:
        """Make a project known with the sha256 digests of its keys, or replace what was known of it."""
        self._projects[project_id] = {each: each for each in digests}

    def remove_project(self, project_id: str) -> None:
        """Forget a project; nothing happens when it is not known."""
        self._projects.pop(project_id, None)

    def has_project(self, project_id: str) -> bool:
        """Tell whether there is a project with this id."""
        return project_id in self._projects

    def find_project_of(self, key: str) -> str | None:
        """Give the id of the project that a project key opens, None when `key` opens none.

        Any text may be asked about. The time does not tell whether the project exists, nor how many keys it has: the
        digests stand in a table whose hash nobody outside can compute, and the last comparison takes constant time.
        """
        project_id = key.partition("_")[0]
        digest = sha256(key.encode("utf-8", "surrogatepass")).digest()
        known = self._projects.get(project_id, _NO_KEYS).get(digest)
        return project_id if hmac.compare_digest(digest, known or bytes(len(digest))) and known else None

    def put_token(self, token: Token) -> None:
        """Make an access token valid."""
        self._tokens[token.id] = token

    def remove_token(self, token_id: str) -> None:
        """Make an access token invalid; nothing happens when it is not known."""
        self._tokens.pop(token_id, None)

    def remove_tokens_of(self, user_id: str) -> None:
        """Make every access token of a user invalid."""
        self._tokens = {each.id: each for each in self._tokens.values() if each.user_id != user_id}

    def find_token(self, token: str) -> Token | None:
        """Find the access token of which this is the text, when it is valid, and note that it is used.

        Any text may be asked about. The digests are compared in constant time, with one that matches nothing
        when the id is unknown.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._tokens.get(token.partition("_")[0])
        fits = hmac.compare_digest(digest, known.digest if known else bytes(len(digest)))
        if known is None or not fits:
            return None
        now = self._clock()
        if known.expires_at is not None and known.expires_at <= now:
            return None
        self._used[known.id] = now
        return known

    def is_access_token(self, token: str) -> bool:
        """Tell whether `token` is a valid access token of a user; they may all reach every project."""
        return self.find_token(token) is not None

    def take_used(self) -> dict[str, datetime]:
        """Give when tokens were last used, of those that were since the last call."""
        used, self._used = self._used, {}
        return used


def _labels(micro: Micro) -> set[str]:
    return {micro.path} if micro.subdomain is None else {micro.path, micro.subdomain}
