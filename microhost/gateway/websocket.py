"""Relay a WebSocket between a visitor and an executor.

Theory of operation
    The handshake passes the same guard, access check and queue as a request, and the same deadline holds for the whole connection.
    wsproto (without I/O of its own) reads and writes the visitor's frames; whole messages of at most 1 MiB go to the executor as
    `M`, its messages come back as `m`. Pings are answered here. No extension is negotiated: no compression, no bombs.
    Until the Micro has accepted, what the visitor sends is kept and the socket is not read.
Source: RFC 6455.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import msgspec
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from microhost.errors import ClientError, MicroError, OverloadedError
from microhost.gateway import pages
from microhost.gateway.guard import Head, Refusal
from microhost.gateway.relay import path_of
from microhost.gateway.sanitise import BadResponse, sanitise_accept
from microhost.limits import WEBSOCKET_MESSAGE_BYTES
from microhost.micros.capture import Capture
from microhost.micros.stream import Stream
from microhost.micros.work import ABORTED_STATUS, ContractError, Failure, Fault, Work
from microhost.records import Micro, RawExchange

if TYPE_CHECKING:
    from microhost.gateway.protocol import GatewayProtocol

_A, _M, _C = b"amc"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_GOING_AWAY, _ABNORMAL, _TOO_BIG, _INTERNAL = 1001, 1006, 1009, 1011
_CODES = frozenset({*range(1000, 1004), *range(1005, 1015), *range(3000, 5000)})  # RFC 6455, section 7.4
_REASON_BYTES = 120


class _Close(msgspec.Struct, frozen=True):
    code: int = 1000
    reason: str | None = ""


def find_handshake(head: Head) -> bytes:
    """Give the key of a WebSocket handshake.

    Raises: Refusal 400 or 426.
    """
    fields = dict(zip(head.fields[::2], head.fields[1::2], strict=True))
    if fields.get(b"sec-websocket-version") != b"13":
        raise Refusal(426, "Only WebSocket version 13 is spoken here.")
    key = fields.get(b"sec-websocket-key", b"")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if head.method != b"GET" or head.version != "1.1" or not is_key:
        raise Refusal(400, "This is no valid WebSocket handshake.")
    return key


class WebSocketExecution(Work):
    """Carry one WebSocket through its execution."""

    __slots__ = (
        "_accepted",
        "_early",
        "_fault",
        "_key",
        "_message",
        "_message_bytes",
        "_meta",
        "_pools",
        "_said_gone",
        "_wire",
        "answered",
        "capture",
        "complete",
        "connection",
        "head",
        "keep_alive",
        "status",
    )

    may_start = True

    def __init__(
        self, connection: GatewayProtocol, micro: Micro, head: Head, meta: bytes, key: bytes
    ) -> None:
        super().__init__(micro)
        self.connection: GatewayProtocol | None = connection
        self._pools = connection.gateway.pools
        self.head = head
        self.keep_alive = False
        self.complete = False
        self.answered = False
        self.status = 0
        self._meta = meta
        self.capture: Capture | None = Capture(self._pools.visor_room, meta) if micro.visor else None
        self._key = key
        self._early = b""
        self._wire = Connection(ConnectionType.SERVER)
        self._message: list[str | bytes] = []
        self._message_bytes = 0
        self._accepted = False
        self._said_gone = False
        self._fault: Fault | None = None

    # What the connection tells

    def start(self) -> None:
        """Ask for an executor; read no more until the Micro has decided."""
        if self.connection is not None:
            self.connection.tunnel_full(True)
        self._pools.dispatch(self)

    def body_received(self, data: bytes) -> None:
        """Nothing comes as a body."""

    def body_complete(self) -> None:
        """Learn that the handshake's head is whole."""
        self.complete = True

    def flush(self) -> None:
        """Nothing waits here."""

    def abort(self, refusal: Refusal) -> bytes:
        """Give up."""
        del refusal
        self.client_gone()
        return b""

    def client_gone(self) -> None:
        """Tell the Micro, once."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if not self.answered and not self._accepted:
            self.status = ABORTED_STATUS
        if self.stream is None:
            if not self._accepted:
                self._pools.forget(self)
            return
        self.stream.resume_reading()
        self._tell_closed(_ABNORMAL, "")

    def client_full(self, full: bool) -> None:
        """Stop or resume reading the executor, because the visitor reads slowly."""
        if self.stream is not None:
            if full:
                self.stream.pause_reading()
            else:
                self.stream.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take what the visitor sent."""
        if not self._accepted:
            self._early += data
            return
        if self._wire.state in (ConnectionState.CLOSED, ConnectionState.REMOTE_CLOSING):
            return
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                self._take(event)
        except RemoteProtocolError as error:
            hint = error.event_hint
            code = hint.code if isinstance(hint, CloseConnection) else 1002
            self._close(code, "")

    def _take(self, event: object) -> None:
        if isinstance(event, Message):
            self._collect(event)
        elif isinstance(event, Ping):
            self._write(self._wire.send(event.response()))
        elif isinstance(event, CloseConnection):
            if self._wire.state is ConnectionState.OPEN:
                # wsproto tells of a malformed frame in this way
                self._close(int(event.code), event.reason or "")
                return
            if self._wire.state is ConnectionState.REMOTE_CLOSING:
                self._write(self._wire.send(event.response()))
            self._tell_closed(int(event.code), event.reason or "")
            if self.connection is not None:
                self.connection.transport.close()

    def _collect(self, event: Message[Any]) -> None:
        data = event.data
        self._message.append(data)
        self._message_bytes += len(data.encode()) if isinstance(data, str) else len(data)
        if self._message_bytes > WEBSOCKET_MESSAGE_BYTES:
            self._message.clear()
            self._close(_TOO_BIG, f"A message may have {WEBSOCKET_MESSAGE_BYTES} bytes.")
            return
        if not event.message_finished or self.stream is None or self._said_gone:
            return
        if isinstance(event, TextMessage):
            self.stream.send(b"Mt", "".join(str(each) for each in self._message).encode())
        else:
            self.stream.send(
                b"Mb", b"".join(bytes(each) for each in self._message if not isinstance(each, str))
            )
        self._message.clear()
        self._message_bytes = 0

    # What the pool and the executor tell

    def begin(self, stream: Stream) -> None:
        """Send the handshake."""
        self.stream = stream
        stream.send(b"W0" + self._meta)

    def executor_full(self, full: bool) -> None:
        """Stop or resume reading the visitor."""
        if self.connection is not None:
            self.connection.tunnel_full(full)

    def frame_received(self, kind: int, meta: bytes, body: bytes) -> None:
        """Take the Micro's decision, message or close."""
        if kind == _A and not self._accepted and not self.answered:
            self._accept(meta)
        elif kind == _M and self._accepted:
            self._send(meta, body)
        elif kind == _C:
            self._close_by_micro(meta)
        else:
            raise ContractError("no frame of a WebSocket")

    def faulted(self, fault: Fault) -> None:
        """Keep the guest's account until the end."""
        self._fault = fault

    def check_end(self) -> None:
        """Allow an end after a close by either side, a refusal, or a fault.

        Raises: ContractError.
        """
        if not self._said_gone and not self.answered and self._fault is None:
            raise ContractError("an end without a close")

    def ended(self, log: str) -> None:
        """Record."""
        failure: Failure | None = None
        if self._fault is not None:
            failure = Failure(self._fault.cause, self._fault.message)
        self._finish(failure, log)

    def failed(self, failure: Failure, log: str) -> None:
        """Close and record."""
        self._finish(failure, log)

    def refused(self, error: Exception) -> None:
        """Answer the handshake: there was no executor."""
        if isinstance(error, MicroError):
            self._finish(Failure(error.cause, error.message), error.log)
        elif isinstance(error, ClientError):
            self._answer(error.status, error.message)
        else:
            retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else 1
            self._answer(503, str(error), extra=b"retry-after: %d\r\n" % retry_after_s)

    # To the visitor

    def _accept(self, meta: bytes) -> None:
        try:
            subprotocol, lines = sanitise_accept(meta, self.head.place.name)
        except BadResponse as error:
            raise ContractError(str(error)) from error
        if subprotocol and not self._was_offered(subprotocol):
            raise ContractError("a subprotocol that was not offered")
        self._accepted = True
        self.status = 101
        if self.capture is not None:
            self.capture.status, self.capture.lines = 101, lines
        connection = self.connection
        if connection is None:
            return
        accept = base64.b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())
        chosen = b"sec-websocket-protocol: %b\r\n" % subprotocol if subprotocol else b""
        connection.transport.write(
            b"".join(
                (
                    pages.STATUS_LINES[101],
                    b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
                    accept,
                    b"\r\n",
                    chosen,
                    lines,
                    b"\r\n",
                )
            )
        )
        connection.tunnel_full(False)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def _was_offered(self, subprotocol: bytes) -> bool:
        fields = self.head.fields
        offered = [
            token.strip()
            for name, value in zip(fields[::2], fields[1::2], strict=True)
            if name == b"sec-websocket-protocol"
            for token in value.split(b",")
        ]
        return subprotocol in offered

    def _send(self, meta: bytes, body: bytes) -> None:
        if self._wire.state is not ConnectionState.OPEN:
            return
        if meta[1:2] == b"t":
            try:
                self._write(self._wire.send(TextMessage(data=body.decode())))
            except UnicodeDecodeError as error:
                raise ContractError("a text message that is not UTF-8") from error
        else:
            self._write(self._wire.send(BytesMessage(data=body)))

    def _close_by_micro(self, meta: bytes) -> None:
        if not self._accepted:
            self._answer(403, "The Micro refused the WebSocket.")
            return
        close = msgspec.json.decode(meta[1:], type=_Close)
        self._close(close.code if close.code in _CODES else _INTERNAL, close.reason or "")

    def _close(self, code: int, reason: str) -> None:
        if self._wire.state is ConnectionState.OPEN:
            text = reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore")
            try:
                self._write(self._wire.send(CloseConnection(code=code, reason=text)))
            except (LocalProtocolError, ValueError):
                self._write(self._wire.send(CloseConnection(code=_INTERNAL)))
        self._tell_closed(code, reason)
        if self.connection is not None:
            self.connection.finish_tunnel()

    def _write(self, data: bytes) -> None:
        if self.connection is not None and not self.connection.transport.is_closing():
            self.connection.transport.write(data)

    def _answer(self, status: int, message: str, *, cause: str = "", extra: bytes = b"") -> None:
        if self.answered:
            return
        self.answered = True
        self.status = status
        connection = self.connection
        if connection is None:
            return
        event = self.id if cause else ""
        connection.transport.write(
            pages.answer(status, message, cause=cause, event=event, extra=extra, date=connection.gateway.date)
        )
        connection.answered(self)

    # To the Micro

    def _tell_closed(self, code: int, reason: str) -> None:
        if self.stream is not None and not self._said_gone:
            self._said_gone = True
            self.stream.send(b"C" + msgspec.json.encode({"code": code, "reason": reason}))

    # The end

    def _finish(self, failure: Failure | None, log: str) -> None:
        self.stream = None
        if not self._accepted:
            if failure is not None:
                self._answer(502, pages.failure_of(failure, self.micro.name), cause=failure.cause)
        elif failure is not None:
            self._close(_INTERNAL, failure.cause)
        else:
            self._close(1000, "")
        self._pools.on_execution(
            self.record(
                now=self._pools.now(),
                status=self.status,
                log=log,
                failure=failure,
                method="GET",
                path=path_of(self.head.target),
            ),
            self._seal_capture(),
        )

    def _seal_capture(self) -> RawExchange | None:
        capture = self.capture
        if capture is None:
            return None
        if capture.status is None and self.answered and self.status != 502:
            capture.status = self.status  # the Micro refused the handshake
        return capture.seal(id=self.id, micro_id=self.micro.id, started_at=self.started_at)
