"""Carry one HTTP request through an ASGI application. Source: the ASGI specification, HTTP 2.4.

The order of the code follows its weight: a request with a complete body and an answer of one piece costs one
read, one step of one task and one write.
"""

from __future__ import annotations

import types
from time import perf_counter
from typing import Optional
from urllib.parse import unquote

from .faults import Fault, from_exception
from .frames import BODY_BYTES, COMPLETE, MORE, BrokenChannel, frame, pack_prefix

NUL = b"\0"
REQUEST_FIELDS = 9
BODY_UNREAD_BYTES = 256 * 1024
# 2.4 and not 2.3: frameworks then notice a lost client by `send`, and do not call `receive` beside a body that the
# application is still reading, which takes pieces of it away
ASGI_HTTP = {"version": "3.0", "spec_version": "2.4"}
DISCONNECT = {"type": "http.disconnect"}


def make_scope(kind: str, asgi: dict, fields: list, state: dict) -> dict:
    """Build the scope of a `Q` or `W` meta that was split at NUL.

    Raises: BrokenChannel when the fields are not those of the contract.
    """
    if len(fields) < REQUEST_FIELDS or len(fields) % 2 == 0:
        raise BrokenChannel("a request has the wrong number of fields")
    raw_path, _, query = fields[2].partition(b"?")
    path = raw_path.decode("latin-1")
    return {
        "type": kind,
        "asgi": asgi.copy(),
        "http_version": fields[4].decode("latin-1"),
        "method": fields[1].decode("latin-1"),
        "scheme": fields[3].decode("latin-1"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": list(zip(fields[9::2], fields[10::2])),  # noqa: B905  (3.9 has no strict=; checked above)
        "client": _address(fields[5], fields[6]),
        "server": _address(fields[7], fields[8]),
        "state": state.copy(),
    }


def _address(host: bytes, port: bytes):
    return (host.decode("latin-1"), int(port) if port.isdigit() else 0) if host else None


def join_head(status: object, headers: object) -> bytes:
    """Give status and headers as an `h` meta has them behind its flag, with a leading NUL.

    Raises: Fault of kind bad_response naming what is wrong.
    """
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise Fault(
            "bad_response", f"The response's status is {status!r}; it must be a number from 200 to 999."
        )
    fields = [b"%d" % status]
    try:
        for name, value in headers:  # type: ignore[attr-defined]
            fields.append(name.lower())
            fields.append(value)
        joined = NUL + NUL.join(fields)
    except (TypeError, ValueError, AttributeError):
        raise Fault("bad_response", "The response's headers must be pairs of bytes.") from None
    if joined.count(NUL) != len(fields) or b"\n" in joined or b"\r" in joined:
        raise Fault("bad_response", "A header of the response contains a line break or a NUL.")
    return joined


class ClientGone(OSError):
    """Tell an application that nobody reads what it sends."""


def stems_from_client(error: Optional[BaseException], depth: int) -> bool:
    """Tell whether an exception is ClientGone or was raised in its wake, looking `depth` causes deep."""
    if error is None or depth == 0:
        return False
    if isinstance(error, ClientGone):
        return True
    causes = (error.__cause__, error.__context__, *getattr(error, "exceptions", ()))
    return any(stems_from_client(each, depth - 1) for each in causes)


class HttpExecution:
    """Be `receive` and `send` of one request, and its end."""

    __slots__ = (
        "body_complete",
        "body_taken",
        "chunks",
        "complete",
        "completed_at",
        "disconnected",
        "executor",
        "failure",
        "head",
        "held",
        "scope",
        "started",
        "unread_bytes",
        "waiters",
    )

    def __init__(self, executor, meta: bytes, body: bytes) -> None:
        fields = meta.split(NUL)
        self.executor = executor
        self.scope = make_scope("http", ASGI_HTTP, fields, executor.state)
        self.chunks = [body]
        self.unread_bytes = len(body)
        self.body_complete = fields[0] == b"Q1"
        self.body_taken = False  # the application has seen the end of the body
        self.disconnected = False
        self.waiters: list = []
        self.head = None  # status and headers, until the first piece of the body
        self.started = False  # the head was given to the channel
        self.held = None  # the last frame, until it is known whether the execution ended with it
        self.complete = False
        self.completed_at = 0.0
        self.failure = None

    async def run(self) -> None:
        """Call the application and end the execution, whatever it does."""
        try:
            await self._drive(self.executor.app(self.scope, self.receive, self.send))
        except BaseException as error:  # the executor lives on; the host hears of it
            self.failure = error
        self.executor.end(self)

    @types.coroutine
    def _drive(self, application):
        """Await the application, and let go of a held frame when a step ends without its return."""
        try:
            steps = application.__await__()
        except AttributeError:
            raise Fault("bad_response", f"'app' gave {application!r} where ASGI wants a coroutine.") from None
        step, argument = steps.send, None
        while True:
            try:
                awaited = step(argument)
            except StopIteration:
                return
            if self.completed_at:
                self.executor.holding.learn(self.completed_at)
                self.completed_at = 0.0
                if self.held is not None:
                    self.release()
            try:
                argument = yield awaited
                step = steps.send
            except BaseException as error:  # a cancellation goes where it was meant to go
                step, argument = steps.throw, error

    # --- what the application calls

    async def receive(self) -> dict:
        """Give the next piece of the request's body, then wait for the client to go."""
        while True:
            if self.disconnected or (self.body_taken and self.complete):
                return DISCONNECT.copy()
            if not self.body_taken and (self.chunks or self.body_complete):
                return self._take_body()
            # several tasks of one request may wait here, and each may be cancelled alone
            waiter = self.executor.loop.create_future()
            self.waiters.append(waiter)
            try:
                await waiter
            finally:
                self.waiters.remove(waiter)

    def _take_body(self) -> dict:
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.unread_bytes = 0
        self.body_taken = self.body_complete
        self.executor.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self.body_complete}

    async def send(self, message: dict) -> None:
        """Take `http.response.start` or `http.response.body`.

        Raises: RuntimeError when the message comes at the wrong time; Fault when it is malformed; ClientGone.
        """
        kind = message["type"]
        if kind == "http.response.body":
            if self.head is None and not self.started:
                raise RuntimeError("'http.response.body' was sent before 'http.response.start'.")
            if self.complete:
                raise RuntimeError("'http.response.body' was sent after the response was complete.")
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = as_bytes(body)
            if self.disconnected:
                raise ClientGone("the client has gone")
            if message.get("more_body", False):
                await self._send_piece(body)
            else:
                self._send_last(body)
        elif kind == "http.response.start":
            if self.head is not None or self.started:
                raise RuntimeError("'http.response.start' was sent twice.")
            self.head = join_head(message.get("status"), message.get("headers", ()))
        else:
            raise RuntimeError(f"an HTTP response has no message of type {kind!r}.")

    async def _send_piece(self, body: bytes) -> None:
        channel = self.executor.channel
        if body or not self.started:
            self._write_pieces(body)
        if channel.is_full():
            await channel.drained()

    def _write_pieces(self, body: bytes) -> None:
        write = self.executor.channel.write
        for start in range(0, len(body) or 1, BODY_BYTES):
            write(frame(self._meta(MORE), body[start : start + BODY_BYTES]))

    def _meta(self, flag: bytes) -> bytes:
        if self.started:
            return b"d" + flag
        self.started = True
        meta = b"h" + flag + self.head
        self.head = None
        return meta

    def _send_last(self, body: bytes) -> None:
        if len(body) > BODY_BYTES:
            last = (len(body) - 1) // BODY_BYTES * BODY_BYTES
            self._write_pieces(body[:last])
            body = body[last:]
        self.complete = True
        self.completed_at = perf_counter()
        self.held = (self._meta(b""), body)
        if not self.executor.holding.allowed:
            self.release()
        if self.waiters:
            self.wake()

    def release(self) -> None:
        """Send the last frame by itself; the execution's end will follow."""
        self.executor.channel.write(self.take_held(COMPLETE))

    def take_held(self, flag: bytes) -> bytes:
        """Give the last frame with its flag, once."""
        meta, body = self.held
        self.held = None
        return pack_prefix(len(meta) + 1, len(body)) + meta[:1] + flag + meta[1:] + body

    # --- what the channel brings

    def on_frame(self, kind: bytes, meta: bytes, body: bytes) -> None:
        """Take a frame of this execution.

        Raises: BrokenChannel when it does not belong to an HTTP request.
        """
        if kind == b"D" and not self.body_complete:
            if body:
                self.chunks.append(body)
                self.unread_bytes += len(body)
            self.body_complete = meta == b"D1"
            if self.unread_bytes > BODY_UNREAD_BYTES:
                self.executor.pause_reading()
        elif kind == b"X":
            self.disconnected = True
        else:
            raise BrokenChannel(f"a frame {meta[:1]!r} does not belong to this request")
        self.wake()

    def wake(self) -> None:
        """Let those that wait in `receive` look again."""
        for each in self.waiters:
            if not each.done():
                each.set_result(None)

    def fault(self):
        """Give what went wrong as a Fault, None when all went well."""
        if self.failure is not None:
            if self.disconnected and stems_from_client(self.failure, 10):
                return None
            return from_exception(self.failure, "a request")
        if self.complete or self.disconnected:
            return None
        if self.head is None and not self.started:
            return Fault("no_response", "The application returned without sending a response.")
        return Fault("bad_response", "The application returned before its response was complete.")


def as_bytes(body: object) -> bytes:
    """Give a message's body as bytes.

    Raises: Fault of kind bad_response.
    """
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise Fault(
        "bad_response", f"A piece of the response's body is of type '{type(body).__name__}', not bytes."
    )
