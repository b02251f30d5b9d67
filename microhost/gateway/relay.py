"""Relay one HTTP request to an executor and its response back, streaming both ways.

Theory of operation
    Created when a head was examined and access granted; started when it is its turn on the connection and its body is complete,
    or too long to wait for, or chunked (then it streams). The pool calls `begin` with a stream of an executor, `frame_received`
    for its frames, and ends it once. Every message is one write. When the visitor goes away `connection` becomes None: the
    execution goes on, what it says is dropped. When the response is complete the connection is free for the next request,
    while background work may still run in the executor.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from microhost.errors import ClientError, MicroError, OverloadedError
from microhost.gateway import pages
from microhost.gateway.guard import Head, Refusal, without_named
from microhost.gateway.sanitise import BadResponse, ResponseHead, sanitise
from microhost.limits import PAYLOAD_BYTES, REQUEST_BUFFER_BYTES
from microhost.micros.capture import Capture
from microhost.micros.channel import BODY_BYTES_MAX
from microhost.micros.stream import Stream
from microhost.micros.work import ABORTED_STATUS, ContractError, Failure, Fault, Work
from microhost.records import Execution, Micro, RawExchange

if TYPE_CHECKING:
    from microhost.gateway.protocol import GatewayProtocol

_H, _D = b"hd"
_MORE = ord("0")
_BODILESS = frozenset((204, 205, 304))
_PATH_CHARACTERS = 2048
_PATH_PARAMETERS = re.compile(rb";[^/;=]*=[^/]*")
SLOW_S = 0.001


def meta_of(head: Head, peer: bytes, *, scheme: bytes, port: bytes) -> bytes:
    """Give the fields of `Q` and `W` that follow the flag (runtimes/CONTRACT.md, section 3)."""
    fields = head.fields
    if head.connection:
        fields = without_named(fields, head.connection)
    for key in head.api_keys:
        fields += (b"x-api-key", key)
    for authorization in head.authorizations:
        fields += (b"authorization", authorization)
    if head.length is not None:
        fields += (b"content-length", b"%d" % head.length)
    place = head.place
    client = head.forwarded_for or peer.partition(b"\x00")[0]
    start = (
        b"",
        head.method,
        head.target,
        scheme,
        b"1.1",
        peer if not head.forwarded_for else client + b"\x000",
        place.name,
        place.port or port,
        b"host",
        head.host,
        b"x-forwarded-for",
        client,
        b"x-forwarded-proto",
        scheme.replace(b"ws", b"http"),
    )
    return b"\x00".join((*start, *fields))


class HttpExecution(Work):
    """Carry one request through its execution."""

    __slots__ = (
        "_chunked",
        "_discard",
        "_fault",
        "_has_faulted",
        "_head_sent",
        "_last_sent",
        "_left",
        "_meta",
        "_parts",
        "_pools",
        "_remaining",
        "_said_all",
        "answered",
        "body_bytes",
        "capture",
        "complete",
        "connection",
        "head",
        "html",
        "keep_alive",
        "status",
    )

    def __init__(
        self, connection: GatewayProtocol, micro: Micro, head: Head, meta: bytes, *, keep_alive: bool
    ) -> None:
        super().__init__(micro)
        self.connection: GatewayProtocol | None = connection
        self._pools = connection.gateway.pools
        self.head = head
        self.keep_alive = keep_alive
        self.html = pages.wants_html(head.method, head.accept)
        self._meta = meta
        self.capture: Capture | None = Capture(self._pools.visor_room, meta) if micro.visor else None
        self._parts: list[bytes] = []
        self.body_bytes = 0
        self.complete = False
        self._last_sent = False
        self.status = 0
        self.answered = False
        self._head_sent = False
        self._discard = False
        self._said_all = False
        self._left = False
        self._chunked = False
        self._remaining: int | None = None
        self._fault: Fault | None = None
        self._has_faulted = False

    # What the connection tells

    @property
    def may_start(self) -> bool:
        """Tell whether an executor should be taken now: a slow sender of a short body shall not hold one."""
        return self.complete or self.head.length is None or self.body_bytes >= REQUEST_BUFFER_BYTES

    @property
    def has_begun(self) -> bool:
        """Tell whether something of the answer was written."""
        return self._head_sent or self.answered

    def start(self) -> None:
        """Ask for an executor."""
        self._pools.dispatch(self)

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body.

        Raises: Refusal 413 at the byte that is too much.
        """
        self.body_bytes += len(data)
        if self.body_bytes > PAYLOAD_BYTES:
            raise Refusal(413, too_large())
        self._parts.append(data)
        if self.capture is not None:
            self.capture.add_request(data)

    def body_complete(self) -> None:
        """Learn that the request is whole."""
        self.complete = True

    def flush(self) -> None:
        """Send what has arrived of the body since the last time, in as few frames as it takes."""
        stream = self.stream
        if stream is None or self._last_sent or not (self._parts or self.complete):
            return
        body = b"".join(self._parts)
        self._parts.clear()
        for start in range(0, max(1, len(body)), BODY_BYTES_MAX):
            self._last_sent = self.complete and start + BODY_BYTES_MAX >= len(body)
            stream.send(b"D1" if self._last_sent else b"D0", body[start : start + BODY_BYTES_MAX])

    def client_gone(self) -> None:
        """Go on without a visitor; a request that was not whole is given up."""
        connection, self.connection = self.connection, None
        if connection is None or self.answered:
            return
        self.status = ABORTED_STATUS
        if self.stream is not None:
            self._left = True
            self.stream.send(b"X")
            self.stream.resume_reading()
        else:
            self._pools.forget(self)

    def abort(self, refusal: Refusal) -> bytes:
        """Give up a request that turned out to be malformed or too large; give the answer, empty when it is too late for one."""
        if self._head_sent or self.answered:
            self.client_gone()
            return b""
        answer = self._page(refusal.status, refusal.message)
        self.client_gone()
        self.status = refusal.status
        return answer

    def client_full(self, full: bool) -> None:
        """Stop or resume reading the executor, because the visitor reads slowly."""
        if self.stream is not None:
            if full:
                self.stream.pause_reading()
            else:
                self.stream.resume_reading()

    # What the pool and the executor tell

    def begin(self, stream: Stream) -> None:
        """Send the request: in one frame when it is whole and short enough."""
        self.stream = stream
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self.complete and len(body) <= BODY_BYTES_MAX:
            self._last_sent = True
            self._parts.clear()
            stream.send(b"Q1" + self._meta, body)
            return
        stream.send(b"Q0" + self._meta)
        self.flush()

    def executor_full(self, full: bool) -> None:
        """Stop or resume reading the visitor."""
        if self.connection is not None:
            self.connection.executor_full(full)

    def frame_received(self, kind: int, meta: bytes, body: bytes) -> None:
        """Take a piece of the response."""
        if kind == _H:
            self._said_all = meta[1] != _MORE
            if self._head_sent or self.answered or self._discard:
                raise ContractError("a second response")
            self._respond(meta, body)
        elif kind == _D:
            self._said_all = meta[1] != _MORE
            if self._discard:
                return
            if self.capture is not None:
                self.capture.add_response(body)
            if not self._head_sent or self.answered:
                raise ContractError("a body without a response")
            self._continue(meta[1] == _MORE, body)
        else:
            raise ContractError("no frame of an HTTP response")

    def faulted(self, fault: Fault) -> None:
        """Keep the guest's account until the end."""
        self._fault = fault
        self._has_faulted = True

    def check_end(self) -> None:
        """Allow an end after a whole response, a fault of the guest's own, or `X`.

        Raises: ContractError.
        """
        if not self._said_all and not self._left and not self._has_faulted:
            raise ContractError("an end without a whole response")

    def ended(self, log: str) -> None:
        """Record; what is wrong with the response was answered when it was seen."""
        failure: Failure | None = None
        if self._fault is not None:
            failure = Failure(self._fault.cause, self._fault.message)
        elif self._discard:
            failure = Failure("bad_response", self._bad_message())
        self._finish(failure, log)

    def failed(self, failure: Failure, log: str) -> None:
        """Answer if that has not been done, and record."""
        self._finish(failure, log)

    def refused(self, error: Exception) -> None:
        """Answer that there was no executor."""
        if isinstance(error, MicroError):
            self._finish(Failure(error.cause, error.message), error.log)
        elif isinstance(error, ClientError):
            self._answer(self._page(error.status, error.message, close=not self.keep_alive))
        else:
            retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else 1
            extra = b"retry-after: %d\r\n" % retry_after_s
            self._answer(self._page(503, str(error), extra=extra, close=not self.keep_alive))

    # The response

    def _respond(self, meta: bytes, body: bytes) -> None:
        try:
            head = sanitise(meta, self.head.place.name)
            more = meta[1] == _MORE
            if not more:
                self._check_length(head, body)
        except BadResponse:
            self._discard = True
            self._answer_failure(Failure("bad_response", self._bad_message()))
            return
        self._head_sent = True
        if self.connection is not None:
            self.status = head.status
        capture = self.capture
        if capture is not None:
            capture.status, capture.lines = head.status, head.lines
            capture.add_response(body)
        if more:
            self._write_start(head, body)
        else:
            self._write_whole(head, body)

    def _check_length(self, head: ResponseHead, body: bytes) -> None:
        if head.length is None or head.length == len(body):
            return
        if self.head.method != b"HEAD" and head.status not in _BODILESS:
            raise BadResponse("a body that differs from its content-length")

    def _write_whole(self, head: ResponseHead, body: bytes) -> None:
        connection = self.connection
        self.answered = True
        if connection is None:
            return
        length = b""
        if head.status in _BODILESS:
            body = b""
            if head.status == 205:
                length = b"content-length: 0\r\n"
        elif self.head.method != b"HEAD":
            length = b"content-length: %d\r\n" % len(body)
        else:
            if head.length is not None or body:
                length = b"content-length: %d\r\n" % (len(body) if head.length is None else head.length)
            body = b""
        connection.transport.write(
            b"".join(
                (
                    pages.STATUS_LINES[head.status],
                    b"" if head.has_date else connection.gateway.date,
                    head.lines,
                    length,
                    self._last_lines(),
                    body,
                )
            )
        )
        connection.answered(self)

    def _write_start(self, head: ResponseHead, body: bytes) -> None:
        connection = self.connection
        framing = b""
        if self.head.method == b"HEAD" or head.status in _BODILESS:
            self._remaining = None
            self._discard_body()
            if head.length is not None and head.status not in _BODILESS:
                framing = b"content-length: %d\r\n" % head.length
        elif head.length is not None:
            self._remaining = head.length
            framing = b"content-length: %d\r\n" % head.length
        elif self.head.version == "1.1":
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self.keep_alive = False
        if connection is None:
            return
        start = b"".join(
            (
                pages.STATUS_LINES[head.status],
                b"" if head.has_date else connection.gateway.date,
                head.lines,
                framing,
                self._last_lines(),
            )
        )
        piece = self._frame_body(body, last=False)
        if piece is not None:
            connection.transport.write(start + piece)

    def _discard_body(self) -> None:
        # a body that HTTP does not allow here is dropped as it comes
        self._remaining = -1

    def _continue(self, more: bool, body: bytes) -> None:
        connection = self.connection
        if not more:
            self.answered = connection is None
        if connection is None:
            return
        piece = self._frame_body(body, last=not more)
        if piece is None:
            return
        if piece:
            connection.transport.write(piece)
        if not more:
            self.answered = True
            connection.answered(self)

    def _frame_body(self, body: bytes, *, last: bool) -> bytes | None:
        """Give the bytes to write; None when the connection had to be cut, because the length was a lie."""
        if self._remaining == -1:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk + b"0\r\n\r\n" if last else chunk
        if self._remaining is not None:
            self._remaining -= len(body)
            if self._remaining < 0 or (last and self._remaining):
                self._remaining = 0
                self._cut(Failure("bad_response", self._bad_message()))
                return None
        return body

    def _cut(self, failure: Failure) -> None:
        self._fault = self._fault or Fault("execution", "bad_response", failure.message)
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cut()

    def _last_lines(self) -> bytes:
        wait_s = self.begun_at - self.asked_at
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        if wait_s < SLOW_S and self.start_kind == "warm":
            return end
        return (
            b'server-timing: queue;dur=%.1f;desc="%b"\r\n' % (wait_s * 1000, self.start_kind.encode()) + end
        )

    # The end

    def _finish(self, failure: Failure | None, log: str) -> None:
        if failure is not None and not self.answered:
            self._answer_failure(failure)
        self.stream = None
        connection, self.connection = self.connection, None
        if connection is not None and not self.answered:
            connection.cut()
        self._record(failure, log)

    def _answer_failure(self, failure: Failure) -> None:
        if self._head_sent:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.cut()
            return
        message = pages.failure_of(failure, self.micro.name)
        page = self._page(502, message, cause=failure.cause, event=self.id, close=not self.keep_alive)
        self.status = 502 if self.connection is not None else self.status or ABORTED_STATUS
        self._answer(page)

    def _answer(self, page: bytes) -> None:
        connection = self.connection
        if self.answered:
            return
        self.answered = True
        if connection is not None:
            connection.transport.write(page)
            connection.answered(self)

    def _page(
        self,
        status: int,
        message: str,
        *,
        cause: str = "",
        event: str = "",
        extra: bytes = b"",
        close: bool = True,
    ) -> bytes:
        return pages.answer(
            status,
            message,
            html=self.html,
            close=close,
            head_only=self.head.method == b"HEAD",
            cause=cause,
            event=event,
            extra=extra,
            date=self.connection.gateway.date if self.connection else b"",
        )

    def _bad_message(self) -> str:
        return f"Micro '{self.micro.name}' sent an invalid response."

    def _record(self, failure: Failure | None, log: str) -> None:
        execution = self.record(
            now=self._pools.now(),
            status=self.status,
            log=log,
            failure=failure,
            method=self.head.method.decode("latin-1"),
            path=path_of(self.head.target),
        )
        self.recorded(execution, self.seal_capture())

    def recorded(self, execution: Execution, exchange: RawExchange | None) -> None:
        """Pass the record on."""
        self._pools.on_execution(execution, exchange)

    def seal_capture(self) -> RawExchange | None:
        """Give what Visor saw, None when it is off."""
        capture = self.capture
        if capture is None:
            return None
        return capture.seal(id=self.id, micro_id=self.micro.id, started_at=self.started_at)


def path_of(target: bytes) -> str:
    """Give the path to record: without query and parameters (RFC 3986, section 3.3), where secrets may stand."""
    path = target.partition(b"?")[0]
    if b";" in path:
        path = _PATH_PARAMETERS.sub(b"", path)
    return path[:_PATH_CHARACTERS].decode("latin-1")


def too_large() -> str:
    """Say what is allowed."""
    return f"The request's body is too large; at most {PAYLOAD_BYTES / 1e6:.1f} MB may be sent."
