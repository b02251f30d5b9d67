"""Serve Base and Drive to the sandboxes, through the sockets that stand inside their networks.

Theory of operation
    The warden listens in every sandbox's own network and gives us duplicates of those sockets, before any of the user's
    code runs or when we take a sandbox over: those for HTTP and HTTPS are for a Door, those for DNS are for the
    resolver (resolver.py). Who is accepted on one is of that sandbox, so the socket proves the project: the
    application finds it as `scope["state"]["inside_project"]`. A connection is spoken with as a visitor's is
    (protocol.py: the same guards, the same deadlines), but it reaches one application by a few names, and nothing
    else: neither a Micro, nor the console, nor what an upstream proxy may say. We accept by ourselves instead of
    by a server, so that a connection counts from its first moment: one that never finishes its handshake holds a
    descriptor, too. Of a sandbox that is at its limit the longest silent connection is closed, else the new one. Of a
    sandbox's requests INSIDE_REQUESTS run at once and the others wait in their connections, so the loop is free for
    neighbours and visitors, whatever a sandbox asks. A host that is replaced leaves the doors that its successor has:
    no request from inside is lost. When the warden tells that the sandbox is gone, all of it is closed.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import uvicorn
from uvicorn.server import ServerState

from microhost.gateway.access import Route
from microhost.gateway.console import ConsoleRequest
from microhost.gateway.exchanges import Exchange
from microhost.gateway.guard import Head
from microhost.gateway.protocol import GatewayProtocol
from microhost.gateway.resolver import Resolver
from microhost.gateway.sharing import Gateway, Patience, Room
from microhost.limits import INSIDE_CLOSE_S, INSIDE_CONNECTIONS, INSIDE_HANDSHAKE_S, INSIDE_REQUESTS
from microhost.micros.pool import Pools
from microhost.settings import Settings
from sandbox.client import Doors

ACCEPTS_PER_TURN = 16
REST_S = 0.1

_log = logging.getLogger("microhost.inside")

_Take = Callable[[socket.socket], None]


class Warden(Protocol):
    """See of the warden what is needed here."""

    async def doors(self, sandbox: str) -> Doors:
        """Give duplicates of the sockets in a sandbox's network."""


class Inside:
    """Keep the doors of every sandbox. `open` and `close` may meet in any order."""

    def __init__(
        self,
        warden: Warden,
        app: Any,
        *,
        tls: ssl.SSLContext | None,
        project_of: Callable[[str], str | None],
        resolver: Resolver,
        pools: Pools,
        settings: Settings,
        connections: int,
        patience: Patience | None = None,
    ) -> None:
        """Serve `app` (ASGI) to sandboxes by the settings' names; `connections` is the most of all of them together.

        Without `tls` whoever speaks HTTPS is cut off.
        """
        self._warden = warden
        self._project_of = project_of
        self._resolver = resolver
        self.tls = tls
        self.names = frozenset(each.encode("ascii") for each in settings.inside_names)
        self.most_connections = connections
        # the wheel, the deadlines and the date, but no Micro, no owner and no trusted proxy
        alone = replace(settings, upstream_proxies="")
        self.gateway = Gateway(_Nobody(), pools, alone, patience or Patience(), connections)
        self.state = _State(self.gateway)
        self.config = uvicorn.Config(
            app,
            http=InsideConnection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        self.connections: set[InsideConnection] = set()
        self._doors: dict[str, Door] = {}
        pools.before_code(self.open)

    async def open(self, sandbox: str, micro_id: str) -> None:
        """Begin to accept what a sandbox connects to; nothing happens when its Micro is gone or it is open already.

        Raises: WardenError when the warden gives no sockets.
        """
        project_id = self._project_of(micro_id)
        if project_id is None or sandbox in self._doors:
            return
        door = self._doors[sandbox] = Door(self, project_id)
        try:
            given = await self._warden.doors(sandbox)
        except BaseException:
            self.close(sandbox)
            raise
        door.listen(given.http, given.https)
        if door.is_leaving:
            given.dns_tcp.close()
            given.dns_udp.close()
        else:
            self._resolver.open(sandbox, micro_id, given.dns_tcp, given.dns_udp)

    def close(self, sandbox: str) -> None:
        """Close everything of a sandbox that is gone; calling twice changes nothing."""
        door = self._doors.pop(sandbox, None)
        if door is not None:
            door.close()
            self._resolver.close(sandbox)

    def leave(self, sandbox: str) -> None:
        """Let a successor accept from now on: finish what was asked, and let each connection end with that."""
        door = self._doors.get(sandbox)
        if door is not None:
            door.leave()
            self._resolver.leave(sandbox)

    async def stop(self) -> None:
        """Close every door, and wait a moment for what the application still does."""
        for sandbox in list(self._doors):
            self.close(sandbox)
        if self.state.tasks:
            await asyncio.wait(list(self.state.tasks), timeout=INSIDE_CLOSE_S)


class Door:
    """Accept the connections of one sandbox."""

    def __init__(self, inside: Inside, project_id: str) -> None:
        self.inside = inside
        self.project_id = project_id
        self.room = Room()
        self.connections: set[InsideConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_leaving = False
        self._running_count = 0
        self._queue: dict[InsideConnection, None] = {}
        self._called: InsideConnection | None = None

    def may_start(self, connection: InsideConnection) -> bool:
        """Tell whether a connection may start its next request; if not, it is called when it may."""
        if self._running_count < INSIDE_REQUESTS and (not self._queue or self._called is connection):
            return True
        self._queue.setdefault(connection)
        return False

    def is_queued(self, connection: InsideConnection) -> bool:
        """Tell whether a connection will be called."""
        return connection in self._queue

    async def run(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        """Run one request's application, which was counted by `begin`."""
        try:
            await app(scope, receive, send)
        finally:
            self._running_count -= 1
            self._call()

    def begin(self) -> None:
        """Count a request that runs."""
        self._running_count += 1

    def _call(self) -> None:
        while self._queue and self._running_count < INSIDE_REQUESTS:
            self._called = next(iter(self._queue))
            del self._queue[self._called]
            self._called.go_on()
        self._called = None

    def listen(self, plain: socket.socket, secure: socket.socket) -> None:
        """Take the listening sockets over."""
        self._listeners = [plain, secure]
        if self.is_leaving:
            self._stop_listening()
            return
        self._watch(plain, self._take)
        tls = self.inside.tls
        self._watch(secure, self._refuse if tls is None else functools.partial(self._take, tls=tls))

    def close(self) -> None:
        """Close listeners and connections at once."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.abort()

    def leave(self) -> None:
        """Accept no more, and answer what comes on a connection that is open as its last request."""
        self._stop_listening()
        for connection in self.connections:
            connection.leave()

    def forget(self, connection: InsideConnection) -> None:
        """Count a connection no more."""
        self._queue.pop(connection, None)
        self.connections.discard(connection)
        self.inside.connections.discard(connection)

    def _stop_listening(self) -> None:
        self.is_leaving = True
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _watch(self, listener: socket.socket, take: _Take) -> None:
        if not self.is_leaving:
            self._loop.add_reader(listener.fileno(), self._accept, listener, take)

    def _accept(self, listener: socket.socket, take: _Take) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listener, take, error)
                return
            if self._has_room():
                take(accepted)
            else:
                accepted.close()

    def _rest(self, listener: socket.socket, take: _Take, error: OSError) -> None:
        """Accept nothing for a moment: the socket would stay readable, and the loop would do nothing else."""
        _log.warning("cannot accept from inside: %s", error.strerror)
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(REST_S, self._watch, listener, take)

    def _has_room(self) -> bool:
        inside = self.inside
        if len(self.connections) < INSIDE_CONNECTIONS and len(inside.connections) < inside.most_connections:
            return True
        return self.room.make()

    def _take(self, accepted: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        accepted.setblocking(False)
        connection = InsideConnection(self)
        self.connections.add(connection)
        self.inside.connections.add(connection)
        task = self._loop.create_task(self._begin(accepted, connection, tls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin(
        self, accepted: socket.socket, connection: InsideConnection, tls: ssl.SSLContext | None
    ) -> None:
        try:
            if tls is None:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
            else:
                await self._loop.connect_accepted_socket(
                    lambda: connection,
                    accepted,
                    ssl=tls,
                    ssl_handshake_timeout=INSIDE_HANDSHAKE_S,
                    ssl_shutdown_timeout=INSIDE_CLOSE_S,
                )
        except OSError:  # a handshake that failed, and nobody's business but the tenant's
            self.forget(connection)
            accepted.close()
        except BaseException:
            self.forget(connection)
            accepted.close()
            raise

    def _refuse(self, accepted: socket.socket) -> None:
        accepted.close()


class InsideConnection(GatewayProtocol):
    """Serve one connection out of a sandbox."""

    def __init__(self, door: Door) -> None:
        inside = door.inside
        self.gateway = inside.gateway
        super().__init__(inside.config, inside.state, {"inside_project": door.project_id})
        self._door = door
        self.room = door.room

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place free."""
        super().connection_lost(exc)
        self._door.forget(self)

    def make_way(self) -> None:
        """Close at once: a sandbox that does not shut its side down would keep the place."""
        self.expire()
        self.abort()

    def leave(self) -> None:
        """Answer what was asked and then close; an idle connection has one more request."""
        if self._active is not None or self._waiting:
            self.shutdown()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self._door.forget(self)
        if self.transport is not None:
            self.transport.abort()

    @property
    def may_start(self) -> bool:
        """Tell whether the next request may start."""
        return self._door.may_start(self)

    def go_on(self) -> None:
        """Start what waited."""
        self._advance()

    def _must_wait(self) -> bool:
        return super()._must_wait() or self._door.is_queued(self)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._door.begin()
        super()._start_asgi_task(cycle, functools.partial(self._door.run, app))

    def _make_request(self, head: Head, keep_alive: bool) -> Exchange:
        return InsideRequest(self, head, keep_alive=keep_alive)

    def _route(self, head: Head, keep_alive: bool, upgrades: bool) -> Exchange:
        if head.place.name in self._door.inside.names:
            return self._route_to_console(head, keep_alive and not self._door.is_leaving, upgrades)
        return self._constant(404, "There is nothing here.", head, keep_alive)


class InsideRequest(ConsoleRequest):
    """Carry one request out of a sandbox; it starts when the sandbox's others leave room."""

    connection: InsideConnection

    @property
    def may_start(self) -> bool:  # type: ignore[override]  # to whoever reads it, it is the same
        """Tell whether it may start."""
        return self.connection.may_start


class _Nobody:
    """Be a directory without Micros and without an owner."""

    def find(self, label: str) -> Route | None:
        """Find nothing."""

    def find_domain(self, name: bytes) -> Route | None:
        """Find nothing."""

    def is_access_token(self, token: str) -> bool:
        """Know none."""
        return False


class _State(ServerState):
    """Be what uvicorn shares between connections, apart from the visitors': those are waited for at the end."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Give the date."""
        name, _, value = self._gateway.date.strip().partition(b": ")
        return [(name, value)]

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Ignore what the base class begins with."""
