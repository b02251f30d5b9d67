"""Hand a request for the console's own names to the ASGI application, by uvicorn's cycle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from microhost.gateway.guard import Head, Refusal

if TYPE_CHECKING:
    from microhost.gateway.protocol import GatewayProtocol


class Cycle(RequestResponseCycle):
    """Be uvicorn's cycle, and say so when the connection ends after an answer that came before the request's end.

    Otherwise a client would send its next request into a connection that is being closed.
    """

    closes = False

    async def send(self, message: Any) -> None:
        """Send a message of the application."""
        if message["type"] != "http.response.start" or not self.more_body or not self.keep_alive:
            await super().send(message)
            return
        self.closes = True
        message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await super().send(message)
        self.keep_alive = (
            True  # to uvicorn: it would close without a moment to read the rest, and lose the answer
        )


class ConsoleRequest:
    """Carry one request to the ASGI application."""

    __slots__ = ("_parts", "complete", "connection", "cycle", "head", "keep_alive")

    may_start = True

    def __init__(self, connection: GatewayProtocol, head: Head, *, keep_alive: bool) -> None:
        self.connection = connection
        self.head = head
        self.keep_alive = keep_alive
        self.complete = False
        self.cycle: Cycle | None = None
        self._parts: list[bytes] = []

    @property
    def has_begun(self) -> bool:
        """Tell whether something of the answer was written."""
        return self.cycle is not None and self.cycle.response_started

    @property
    def is_endless(self) -> bool:
        """Tell whether the application has said that its answer goes on until its reader goes (console/streams.py)."""
        return self.cycle is not None and bool(self.cycle.scope["state"].get("is_endless"))

    def start(self) -> None:
        """Begin the application's task."""
        connection = self.connection
        self.cycle = connection.start_cycle(self._scope(), self.head.expects_continue, self.keep_alive)
        self.cycle.body += b"".join(self._parts)
        self._parts.clear()
        self.cycle.more_body = not self.complete
        if self.complete or self.cycle.body:
            self.cycle.message_event.set()

    def body_received(self, data: bytes) -> None:
        """Pass a piece of the body on, or keep it until the request's turn."""
        cycle = self.cycle
        if cycle is None:
            self._parts.append(data)
        elif not cycle.response_complete:
            cycle.body += data
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.connection.flow.pause_reading()
            cycle.message_event.set()

    def body_complete(self) -> None:
        """Pass the end of the body on."""
        self.complete = True
        if self.cycle is not None:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def flush(self) -> None:
        """Nothing waits here."""

    def client_gone(self) -> None:
        """Let the application see the disconnect."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def client_full(self, full: bool) -> None:
        """Nothing to do: uvicorn's flow control does it."""

    def abort(self, refusal: Refusal) -> bytes:
        """Give up a request that turned out to be malformed: the connection is cut."""
        del refusal
        self.client_gone()
        return b""

    def _scope(self) -> dict[str, Any]:
        head, connection = self.head, self.connection
        path, _, query = head.target.partition(b"?")
        fields = iter(head.fields)
        headers = [(b"host", head.host), *zip(fields, fields, strict=True)]
        headers += [(b"x-api-key", each) for each in head.api_keys]
        headers += [(b"authorization", each) for each in head.authorizations]
        if head.length is not None:
            headers.append((b"content-length", b"%d" % head.length))
        client = connection.client
        if head.forwarded_for:
            client = (head.forwarded_for.decode("ascii"), 0)
        return {
            "type": "http",
            "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
            "http_version": head.version,
            "server": connection.server,
            "client": client,
            "scheme": head.forwarded_proto.decode("ascii") or connection.scheme,
            "method": head.method.decode("ascii"),
            "root_path": connection.root_path,
            "path": connection.root_path + unquote(path.decode("latin-1")),
            "raw_path": connection.root_path.encode("ascii") + path,
            "query_string": query,
            "headers": headers,
            "state": connection.app_state.copy(),
        }


def new_event() -> asyncio.Event:
    """Give the event that a cycle waits for."""
    return asyncio.Event()
