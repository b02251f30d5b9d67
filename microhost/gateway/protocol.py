"""Speak HTTP with one visitor: guard, route, and hand each request to a Micro or to the console's application.

Theory of operation
    A subclass of uvicorn's httptools protocol. The parser's callbacks collect a head as bytes; when it is complete it is
    examined (`guard`), its host looked up (`hosts`), access checked (`access`), and an exchange made: a request for a Micro
    (`relay`), a WebSocket (`websocket`), one for the console (`console`), or a constant answer. Exchanges of one connection wait in
    `_waiting` and are answered in order, one at a time. While one waits behind another no more is parsed: bytes stay in `_held`, the
    socket is not read. Reading also stops while an executor or the console cannot take more, each for its own reason.
    There is no task, future or timer for a request to a Micro. `check`, called twice a second by the wheel, closes what is silent,
    slow or stuck. After a refusal nothing more of the connection is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from microhost.gateway import pages
from microhost.gateway.access import Entries, may_enter
from microhost.gateway.console import ConsoleRequest, Cycle, new_event
from microhost.gateway.entering import EnterRequest, is_entering, send_to_console
from microhost.gateway.exchanges import Constant, Exchange
from microhost.gateway.feeding import Feeder
from microhost.gateway.guard import PLATFORM_PREFIXES, SPECIAL, Head, Refusal, check_size, examine
from microhost.gateway.halfclosed import LOOKS_A_PROBE, LOOKS_S, was_reset
from microhost.gateway.relay import HttpExecution, meta_of, too_large
from microhost.gateway.sharing import Directory, Gateway, Patience, connection_cap
from microhost.gateway.websocket import WebSocketExecution, find_handshake
from microhost.gateway.wheel import PERIOD_S, Rider
from microhost.limits import (
    PAYLOAD_BYTES,
    REQUEST_HEADERS,
)
from microhost.micros.pool import Pools
from microhost.settings import Settings

PIECE_BYTES = 16 * 1024
WRITE_BUFFER_BYTES = 256 * 1024
APP_WRITE_BUFFER_BYTES = 64 * 1024
BODY_PROGRESS_BYTES = 64 * 1024
LINGER_S = 2.0
FIRST_REQUEST_S = 1.0  # that a visitor has to send one when we are stopping

_IDLE, _HEAD, _BODY, _UNSENT, _CLOSING, _BUSY = range(6)
# why the socket is not read
_QUEUE, _EXECUTOR, _CONSOLE, _TUNNEL = 1, 2, 4, 8

_log = logging.getLogger("microhost.gateway")


class GatewayProtocol(HttpToolsProtocol):
    """Serve one connection."""

    gateway: Gateway  # of the class for visitors, of the connection for sandboxes

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._feeder = Feeder(self.parser)
        self._fields: list[bytes] = []
        self._special: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._quiet_bytes = 0  # of a body, since the last that was content
        self._body_bytes = 0
        self._phase = _IDLE
        self._serial = 0
        self._parsed: Exchange | None = None
        self._active: Exchange | None = None
        self._waiting: list[Exchange] = []
        self._held = b""
        self._advancing = False
        self._deaf = False
        self._refusal: Refusal | None = None
        self._tunnel: WebSocketExecution | None = None
        self._paused = 0
        self._has_ended = False
        self._is_last = False
        self._looks = 0
        self._is_full = False
        self._seen: tuple[int, int] = (-1, 0)
        self._seen_at = 0.0
        self._spoke: set[Rider] = set()
        self._peer = b""
        self._port = b""
        self._is_trusted = False
        self.room = self.gateway.room

    # The transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        super().connection_made(transport)
        gateway = self.gateway
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.flow = _Flow(self, transport)
        host, port = self.client or ("", 0)
        self._peer = f"{host}\0{port}".encode("latin-1", "replace")
        self._port = str(self.server[1] if self.server and self.server[1] else "").encode()
        self._is_trusted = gateway.upstreams.trusts(host)
        self._spoke = gateway.wheel.add(self)
        if len(self.connections) > gateway.most_connections and not self.room.make():
            transport.write(pages.answer(503, "Too many connections.", extra=b"retry-after: 1\r\n"))
            self._close()
            return
        self.room.silent[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Let every exchange know."""
        super().connection_lost(exc)
        self._spoke.discard(self)
        self.room.silent.pop(self, None)
        self._deaf = True
        active, self._active = self._active, None
        if active is not None:
            active.client_gone()
        if self._tunnel is not None:
            self._tunnel.client_gone()
        self._waiting.clear()
        self._held = b""

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a visitor who has sent a whole request and no more; close when there is none, and where TLS cannot half-close."""
        self._has_ended = True
        waits = self._active or (self._waiting[0] if self._waiting else None)
        is_owed = waits is not None and waits is not self._parsed and self._tunnel is None
        if not is_owed or not self.transport.can_write_eof():
            return False
        for delay_s in LOOKS_S:
            self.loop.call_later(delay_s, self._look_for_visitor)
        return True

    def pause_writing(self) -> None:
        """Slow down whoever is sending to this visitor."""
        super().pause_writing()
        self._is_full = True
        if self._active is not None:
            self._active.client_full(True)

    def resume_writing(self) -> None:
        """Let it send again."""
        super().resume_writing()
        self._is_full = False
        if self._active is not None:
            self._active.client_full(False)

    def shutdown(self) -> None:
        """Close when the present request is answered (uvicorn is stopping); of who has just come it is on its way."""
        self._is_last = True
        if self._active is None and not self._waiting:
            if self._serial and self._phase == _IDLE:
                self.transport.close()
            else:
                self.loop.call_later(FIRST_REQUEST_S, self._close_unused)
        elif isinstance(self._active, ConsoleRequest) and self._active.cycle is not None:
            self._active.cycle.keep_alive = False
        for each in (self._active, *self._waiting):
            if each is not None:
                each.keep_alive = False

    def _close_unused(self) -> None:
        if not self._serial:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, unless something waits to be answered first."""
        if self._tunnel is not None:
            self._tunnel.data_received(data)
            return
        if self._deaf:
            return
        if self._held or len(data) > PIECE_BYTES or self._must_wait():
            self._held += data
        else:
            self._parse(data)
        self._advance()

    # The parser

    def _parse(self, data: bytes) -> None:
        body_bytes = self._body_bytes
        try:
            self._feeder.feed(data)
            if self._phase != _IDLE:
                self._check_quiet(len(data), has_body=self._body_bytes != body_bytes)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
        except (httptools.HttpParserError, Refusal) as error:
            if not self._deaf:
                self._refuse(self._refusal or _as_refusal(error))

    def _check_quiet(self, size: int, *, has_body: bool) -> None:
        """Bound what the parser keeps: an unfinished head, trailers, chunk extensions."""
        if self._phase == _HEAD:
            self._head_bytes += size
            check_size(self.url, self._head_bytes)
        elif has_body:
            self._quiet_bytes = 0
        else:
            self._quiet_bytes += size
            check_size(b"", self._quiet_bytes)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self.url = b""
        self._fields = []
        self._special = []
        self._head_bytes = self._quiet_bytes = self._body_bytes = 0
        self._phase = _HEAD
        self._serial += 1
        self._feeder.began()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop those with an underscore, ours, and trailers."""
        if self._phase != _HEAD:
            return
        name = name.lower()
        if name in SPECIAL:
            self._special.append((name, value))
        elif b"_" not in name and not name.startswith(PLATFORM_PREFIXES):
            self._fields += (name, value)
        elif self._is_trusted and name in (b"x-forwarded-for", b"x-forwarded-proto"):
            self._special.append((name, value))
        if len(self._fields) > 2 * REQUEST_HEADERS or len(self._special) > REQUEST_HEADERS:
            self._raise(Refusal(431, f"There are more than {REQUEST_HEADERS} headers."))

    def on_headers_complete(self) -> None:
        """Examine the head, find who answers it."""
        parser = self.parser
        self._phase = _BODY
        self.room.silent.pop(self, None)
        try:
            self._check_head()
            head = examine(
                self.gateway.names,
                parser.get_method(),
                parser.get_http_version(),
                self.url,
                self._special,
                self._fields,
            )
            self._feeder.measured(head.length)
            keep_alive = parser.should_keep_alive() and head.version == "1.1" and not self._is_last
            upgrades = parser.should_upgrade()
            exchange = self._route(head, keep_alive and not upgrades, upgrades)
        except Refusal as refusal:
            self._raise(refusal)
            return
        self._parsed = exchange
        self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_bytes += len(body)
        self._feeder.took(len(body))
        parsed = self._parsed
        if parsed is None:
            return
        try:
            parsed.body_received(body)
        except Refusal as refusal:
            self._raise(refusal)

    def on_message_complete(self) -> None:
        """End a request."""
        self._phase = _IDLE
        self._feeder.ended()
        parsed, self._parsed = self._parsed, None
        if parsed is not None:
            parsed.body_complete()
            if not parsed.keep_alive:
                self._deaf = True
                self._feeder.is_done = True

    def _check_head(self) -> None:
        size = self._head_bytes + sum(map(len, self._fields)) + len(self.url)
        for name, value in self._special:
            size += len(name) + len(value)
        check_size(self.url, size)

    def _raise(self, refusal: Refusal) -> None:
        # the parser tells only that a callback failed, not why
        self._refusal = refusal
        raise refusal

    # Routing

    def _route(self, head: Head, keep_alive: bool, upgrades: bool) -> Exchange:
        self._read_upstream(head)
        place = head.place
        if place.is_console or place.product or place.button:
            return self._route_to_console(head, keep_alive, upgrades)
        directory = self.gateway.directory
        route = directory.find(place.label) if place.label else directory.find_domain(place.name)
        if route is None:
            return self._constant(404, "There is nothing here.", head, keep_alive)
        if is_entering(head):
            entering = EnterRequest(self, head, keep_alive=keep_alive)
            entering.micro = route.micro
            return entering
        scheme = head.forwarded_proto or (self.scheme or "http").encode()
        if not may_enter(route, directory, head, self.gateway.entries):
            return self._keep_out(head, scheme, keep_alive)
        if head.length is not None and head.length > PAYLOAD_BYTES:
            raise Refusal(413, too_large())
        if upgrades and head.has_body:
            raise Refusal(400, "A request to upgrade may not have a body.")
        if upgrades and head.upgrade == b"websocket":
            key = find_handshake(head)
            meta = meta_of(head, self._peer, scheme=scheme.replace(b"http", b"ws"), port=self._port)
            return WebSocketExecution(self, route.micro, head, meta, key)
        meta = meta_of(head, self._peer, scheme=scheme, port=self._port)
        return HttpExecution(self, route.micro, head, meta, keep_alive=keep_alive)

    def _keep_out(self, head: Head, scheme: bytes, keep_alive: bool) -> Exchange:
        """Answer 401; a browser is sent to log in."""
        gateway = self.gateway
        peer = head.forwarded_for.decode("ascii") or (self.client or ("",))[0]
        way = (
            send_to_console(head, scheme=scheme, console=gateway.console_name, peer=peer)
            if gateway.entries
            else b""
        )
        if way:
            return self._constant(303, "Log in to see this page.", head, keep_alive, extra=way)
        return self._constant(401, "Unauthorized", head, keep_alive)

    def _route_to_console(self, head: Head, keep_alive: bool, upgrades: bool) -> Exchange:
        if upgrades and (head.has_body or head.upgrade == b"websocket"):
            raise Refusal(400, "The console speaks no other protocol than HTTP.")
        return self._make_request(head, keep_alive)

    def _make_request(self, head: Head, keep_alive: bool) -> Exchange:
        return ConsoleRequest(self, head, keep_alive=keep_alive)

    def _read_upstream(self, head: Head) -> None:
        if self._is_trusted:
            head.forwarded_for, head.forwarded_proto = self.gateway.upstreams.read(self._special)

    def _constant(
        self, status: int, message: str, head: Head, keep_alive: bool, *, extra: bytes = b""
    ) -> Constant:
        keep_alive = keep_alive and not head.has_body
        page = pages.answer(
            status,
            message,
            html=pages.wants_html(head.method, head.accept),
            close=not keep_alive,
            head_only=head.method == b"HEAD",
            date=self.gateway.date,
            extra=extra,
        )
        return Constant(self, page, keep_alive=keep_alive, complete=not head.has_body)

    # Exchanges

    def _advance(self) -> None:
        """Answer what is next, parse what is held, until something has to be waited for."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._start_next() or self._parse_held():
                pass
            if self._active is not None:
                self._active.flush()
        finally:
            self._advancing = False
        if self._has_ended and self._active is None:
            self._close()
            return
        is_blocked = bool(self._held) or (bool(self._waiting) and self._active is not None)
        if is_blocked != bool(self._paused & _QUEUE):
            self._pause(_QUEUE, is_blocked)

    def _must_wait(self) -> bool:
        """Tell whether what comes is not to be parsed yet: a request waits for its turn."""
        return bool(self._waiting) and self._active is not None

    def _start_next(self) -> bool:
        if self._active is not None or not self._waiting or self.transport.is_closing():
            return False
        exchange = self._waiting[0]
        if self._has_ended and exchange is self._parsed:
            return False  # the rest of it will not come
        if not exchange.may_start:
            self._invite(exchange)
            return False
        del self._waiting[0]
        self._active = exchange
        self._invite(exchange)
        exchange.start()
        if self._is_full and self._active is exchange:
            exchange.client_full(True)
        return True

    def _invite(self, exchange: Exchange) -> None:
        """Say 100 Continue once, when the visitor waits for it."""
        if isinstance(exchange, HttpExecution) and exchange.head.expects_continue:
            exchange.head.expects_continue = False
            if not exchange.complete and not exchange.body_bytes and exchange.head.version == "1.1":
                self.transport.write(pages.CONTINUE)

    def _parse_held(self) -> bool:
        if not self._held or self._deaf or self._tunnel is not None:
            return False
        if self._must_wait():
            return False
        held, self._held = self._held[:PIECE_BYTES], self._held[PIECE_BYTES:]
        self._parse(held)
        return True

    def answered(self, exchange: Exchange) -> None:
        """Go on with the connection, now that an exchange's answer is written."""
        if self._active is exchange:
            self._active = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive or not exchange.complete:
            self._close(linger=not exchange.complete)
            return
        if not self._waiting:
            self.room.silent[self] = None
        self._advance()

    def cut(self) -> None:
        """Close at once: what was sent so far is no whole answer, and must not look like one."""
        self._active = None
        self._deaf = True
        self.transport.abort()

    def finish_tunnel(self) -> None:
        """Close after a WebSocket's close frame; the visitor has a moment to send its own."""
        self._active = None
        self._close(linger=True)

    def start_cycle(self, scope: Any, expects_continue: bool, keep_alive: bool) -> Cycle:
        """Begin the ASGI application's task for a request to the console or a product.

        What it writes waits in the transport, however slowly it is read: hence a smaller buffer until it has answered.
        """
        self.transport.set_write_buffer_limits(high=APP_WRITE_BUFFER_BYTES)
        cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=new_event(),
            expect_100_continue=expects_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        self.cycle = cycle
        self._start_asgi_task(cycle, self.app)
        return cycle

    def on_response_complete(self) -> None:
        """Go on after the console's answer."""
        self.server_state.total_requests += 1
        self._pause(_CONSOLE, False)
        if not self.transport.is_closing():
            self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        active = self._active
        if active is not None:
            if isinstance(self.cycle, Cycle) and self.cycle.closes:
                active.keep_alive = False
            self.answered(active)

    # Refusing and closing

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in turn, then close; nothing more is parsed."""
        self._deaf = True
        self._held = b""
        parsed, self._parsed = self._parsed, None
        if parsed is None:
            answer = self._refusal_page(refusal)
        elif parsed is self._active:
            self._active = None
            answer = parsed.abort(refusal)
            if not answer:
                self.cut()
                return
        else:
            self._waiting.remove(parsed)
            answer = parsed.abort(refusal) or self._refusal_page(refusal)
        self._phase = _IDLE
        self._waiting.append(Constant(self, answer, keep_alive=False, complete=False))

    def _refusal_page(self, refusal: Refusal) -> bytes:
        return pages.answer(refusal.status, refusal.message, date=self.gateway.date)

    def _upgraded(self, rest: bytes) -> None:
        """Leave HTTP: to a WebSocket, or to nothing at all."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, WebSocketExecution):
            self._tunnel = last
            if rest or self._held:
                last.data_received(rest + self._held)
            self._held = b""
        else:
            self._deaf = True

    def _close(self, *, linger: bool = False) -> None:
        """Close when what was written is sent.

        With `linger`, what the visitor still sends is read for a moment, so that our answer arrives.
        """
        self._deaf = True
        self._held = b""
        if linger and self.transport.can_write_eof():
            self._pause(_QUEUE | _EXECUTOR | _CONSOLE | _TUNNEL, False)
            self.transport.write_eof()
        else:
            self.transport.close()

    def expire(self) -> None:
        """Close a connection that has been silent for too long."""
        self.room.silent.pop(self, None)
        self._deaf = True
        if not self.transport.is_closing():
            self.transport.close()

    def make_way(self) -> None:
        """Close a silent connection because another one needs its place."""
        self.expire()

    # Time

    def check(self, now: float) -> None:
        """Compare with the last visit; close what has not moved for too long."""
        if self._has_ended:
            self._look_for_visitor()
        state, patience_s = self._state()
        if state != self._seen:
            self._seen, self._seen_at = state, now
        elif now - self._seen_at >= patience_s - PERIOD_S:
            self._run_out(state[0])

    def _look_for_visitor(self) -> None:
        """Find out whether somebody who stopped sending still waits for the answer."""
        if self.transport.is_closing():
            return
        if was_reset(self.transport):
            self.transport.abort()
            return
        active = self._active
        if isinstance(active, ConsoleRequest) and active.is_endless:
            self.transport.close()  # nothing may be sent for hours that would tell
            return
        if isinstance(active, HttpExecution | ConsoleRequest) and not active.has_begun:
            if active.head.version == "1.1" and self._looks % LOOKS_A_PROBE == 0:
                self.transport.write(pages.CONTINUE)
            self._looks += 1

    def _state(self) -> tuple[tuple[int, int], float]:
        patience = self.gateway.patience
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            return (_UNSENT, unsent), patience.write_s
        if self._deaf and self._active is None and not self._waiting:
            return (_CLOSING, self._serial), LINGER_S
        if self._phase == _HEAD:
            return (_HEAD, self._serial), patience.head_s
        if self._phase == _BODY and not self._paused:
            return (_BODY, self._serial << 16 | self._body_bytes // BODY_PROGRESS_BYTES), patience.body_s
        if self._active is not None or self._waiting or self._tunnel is not None:
            return (_BUSY, 0), float("inf")
        return (_IDLE, self._serial), patience.idle_s if self._serial else patience.head_s

    def _run_out(self, state: int) -> None:
        if state in (_HEAD, _BODY):
            self._refuse(Refusal(408, "The request took too long to arrive."))
            self._advance()
        elif state == _IDLE:
            self.expire()
        else:
            self.transport.abort()

    # Reading

    def executor_full(self, full: bool) -> None:
        """Stop or resume reading, because an executor takes its request slowly."""
        self._pause(_EXECUTOR, full)

    def console_full(self, full: bool) -> None:
        """Stop or resume reading, because the console takes its request slowly."""
        self._pause(_CONSOLE, full)

    def tunnel_full(self, full: bool) -> None:
        """Stop or resume reading, because a WebSocket's executor is slow."""
        self._pause(_TUNNEL, full)

    def _pause(self, reason: int, on: bool) -> None:
        before = self._paused
        self._paused = before | reason if on else before & ~reason
        if bool(before) != bool(self._paused) and not self.transport.is_closing():
            with contextlib.suppress(RuntimeError):
                if self._paused:
                    self.transport.pause_reading()
                else:
                    self.transport.resume_reading()


class _Flow(FlowControl):
    """Let uvicorn's cycle pause reading for its own reason only."""

    def __init__(self, connection: GatewayProtocol, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._connection = connection

    def pause_reading(self) -> None:
        """Stop for the console."""
        self._connection.console_full(True)

    def resume_reading(self) -> None:
        """Go on, as far as the console is concerned."""
        self._connection.console_full(False)


def make_protocol(
    directory: Directory,
    pools: Pools,
    settings: Settings,
    *,
    patience: Patience | None = None,
    connections: int | None = None,
    entries: Entries | None = None,
) -> type[GatewayProtocol]:
    """Give the protocol class for uvicorn's `http=`; without `entries` no browser is sent to log in."""
    most = connections or connection_cap()
    gateway = Gateway(directory, pools, settings, patience or Patience(), most, entries=entries)

    class Protocol(GatewayProtocol):
        pass

    Protocol.gateway = gateway
    return Protocol


def _as_refusal(error: Exception) -> Refusal:
    return error if isinstance(error, Refusal) else Refusal(400, "This is no valid HTTP request.")
