"""Hold what all connections of a gateway share: where requests lead, patience, the room for connections, the wheel."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from microhost.gateway.access import Entries, Route
from microhost.gateway.hosts import Names
from microhost.gateway.upstream import Upstreams
from microhost.gateway.wheel import Wheel
from microhost.limits import CONNECTION_IDLE_S, CONNECTION_WRITE_S, REQUEST_BODY_S, REQUEST_HEAD_S
from microhost.micros.pool import Pools
from microhost.settings import Settings

if TYPE_CHECKING:
    from microhost.gateway.protocol import GatewayProtocol

FILES_MAX = 65_536
RESERVED_FILES = 1024
CONNECTIONS_MIN = 64


class Directory(Protocol):
    """See of the directory of Micros what routing needs."""

    def find(self, label: str) -> Route | None:
        """Give the route of a label."""

    def find_domain(self, name: bytes) -> Route | None:
        """Give the route of a domain of a Micro's own."""

    def is_access_token(self, token: str) -> bool:
        """Compare in constant time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Hold how long a visitor may take, in seconds."""

    head_s: float = REQUEST_HEAD_S
    body_s: float = REQUEST_BODY_S
    idle_s: float = CONNECTION_IDLE_S
    write_s: float = CONNECTION_WRITE_S


class Gateway:
    """Hold what all connections share."""

    def __init__(
        self,
        directory: Directory,
        pools: Pools,
        settings: Settings,
        patience: Patience,
        connections: int,
        *,
        entries: Entries | None = None,
    ) -> None:
        self.directory = directory
        self.entries = entries
        self.console_name = settings.console_name
        self.pools = pools
        self.names = Names(settings.domain, settings.console_name)
        self.upstreams = Upstreams(settings.upstream_proxies)
        self.patience = patience
        self.most_connections = connections
        self.wheel = Wheel()
        self.room = Room()
        self.date = _date_line()
        self._turns = 0
        pools.each_turn(self._turn)

    def _turn(self, now: float) -> None:
        self._turns += 1
        if self._turns % 20 == 0:
            self.date = _date_line()
        self.wheel.turn(now)


class Room:
    """Hold the connections that wait for nothing, the one that is silent for longest first."""

    def __init__(self) -> None:
        self.silent: dict[GatewayProtocol, None] = {}

    def make(self) -> bool:
        """Close the connection that has been silent for longest; tell whether there was one."""
        for oldest in self.silent:
            oldest.make_way()
            return True
        return False


def connection_cap() -> int:
    """Raise the limit on open files, and give how many visitors may be connected beside executors and databases."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = min(hard, FILES_MAX) if hard != resource.RLIM_INFINITY else FILES_MAX
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(CONNECTIONS_MIN, soft - RESERVED_FILES if soft > 2 * RESERVED_FILES else soft // 2)


def _date_line() -> bytes:
    return f"date: {formatdate(usegmt=True)}\r\n".encode()
