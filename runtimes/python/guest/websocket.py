"""Carry one WebSocket through an ASGI application. Source: the ASGI specification, WebSocket 2.3."""

from __future__ import annotations

from collections import deque

from .asgi import NUL, as_bytes, make_scope
from .faults import Fault, from_exception
from .frames import BODY_BYTES, BrokenChannel, frame, json_frame, read_json

ASGI_WEBSOCKET = {"version": "3.0", "spec_version": "2.3"}
NORMAL, INTERNAL_ERROR, NO_STATUS = 1000, 1011, 1005
UNREAD_BYTES = 1024 * 1024
REASON_BYTES = 123


class WebSocketExecution:
    """Be `receive` and `send` of one WebSocket, and its end."""

    held = None
    completed_at = 0.0

    def __init__(self, executor, meta: bytes) -> None:
        fields = meta.split(NUL)
        self.executor = executor
        self.scope = make_scope("websocket", ASGI_WEBSOCKET, fields, executor.state)
        self.subprotocols = find_subprotocols(self.scope["headers"])
        self.scope["subprotocols"] = list(self.subprotocols)
        del self.scope["method"]
        self.inbox: deque = deque([{"type": "websocket.connect"}])
        self.unread_bytes = 0
        self.waiter = None
        self.started = False  # accepted
        self.closed = False  # by either side
        self.failure = None

    async def run(self) -> None:
        """Call the application and end the execution, whatever it does."""
        try:
            await self.executor.app(self.scope, self.receive, self.send)
        except BaseException as error:  # the executor lives on; the host hears of it
            self.failure = error
        # a failure before the handshake's answer is answered by the fault alone
        if not self.closed and (self.started or self.failure is None):
            self._close(INTERNAL_ERROR if self.failure is not None else NORMAL, "")
        self.executor.end(self)

    async def receive(self) -> dict:
        """Give the next message of the client."""
        while not self.inbox:
            self.waiter = self.executor.loop.create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        message = self.inbox.popleft()
        self.unread_bytes -= len(message.get("text") or message.get("bytes") or "")
        if self.unread_bytes <= UNREAD_BYTES:
            self.executor.resume_reading()
        return message

    async def send(self, message: dict) -> None:
        """Take `websocket.accept`, `websocket.send` or `websocket.close`.

        Raises: RuntimeError when the message comes at the wrong time; Fault when it is malformed.
        """
        kind = message["type"]
        if self.closed:
            # the client may have gone a moment ago: what is sent to it is lost, as on any network
            return
        if kind == "websocket.close":
            self._close(message.get("code") or NORMAL, message.get("reason") or "")
        elif kind == "websocket.accept" and not self.started:
            self._accept(message)
        elif kind == "websocket.send" and self.started:
            await self._send_message(message)
        else:
            raise RuntimeError(
                f"{kind!r} was sent {'after' if self.started else 'before'} 'websocket.accept'."
            )

    def _accept(self, message: dict) -> None:
        subprotocol = message.get("subprotocol") or ""
        if subprotocol and subprotocol not in self.subprotocols:
            raise Fault("bad_response", f"The client did not offer the sub-protocol {subprotocol!r}.")
        fields = [subprotocol.encode("latin-1")]
        try:
            for name, value in message.get("headers") or ():
                fields += (name.lower(), value)
            meta = b"a" + NUL + NUL.join(fields)
        except (TypeError, ValueError, AttributeError):
            raise Fault("bad_response", "The headers of 'websocket.accept' must be pairs of bytes.") from None
        if meta.count(NUL) != len(fields) or b"\n" in meta or b"\r" in meta:
            raise Fault("bad_response", "A header of 'websocket.accept' contains a line break or a NUL.")
        self.started = True
        self.executor.channel.write(frame(meta))

    async def _send_message(self, message: dict) -> None:
        text = message.get("text")
        if isinstance(text, str):
            meta, body = b"mt", text.encode("utf-8")
        else:
            meta, body = b"mb", as_bytes(message.get("bytes"))
        if len(body) > BODY_BYTES:
            raise ValueError(
                f"a WebSocket message has {len(body)} bytes; at most {BODY_BYTES} can be sent in one."
            )
        channel = self.executor.channel
        channel.write(frame(meta, body))
        if channel.is_full():
            await channel.drained()

    def _close(self, code: int, reason: str) -> None:
        self.closed = True
        # a close frame holds at most 125 bytes (RFC 6455, section 5.5)
        reason = str(reason).encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")
        self.executor.channel.write(json_frame(b"c", {"code": int(code), "reason": reason}))
        self._deliver({"type": "websocket.disconnect", "code": int(code), "reason": str(reason)}, 0)

    def on_frame(self, kind: bytes, meta: bytes, body: bytes) -> None:
        """Take a frame of this execution.

        Raises: BrokenChannel when it does not belong to a WebSocket.
        """
        if self.closed:
            return
        if kind == b"M" and self.started:
            self._deliver(_client_message(meta, body), len(body))
            if self.unread_bytes > UNREAD_BYTES:
                self.executor.pause_reading()
        elif kind == b"C":
            document = read_json(meta[1:])
            self._gone(document.get("code") or NO_STATUS, document.get("reason") or "")
        elif kind == b"X":
            self._gone(1006, "")
        else:
            raise BrokenChannel(f"a frame {meta[:1]!r} does not belong to this WebSocket")

    def _gone(self, code: int, reason: str) -> None:
        self.closed = True
        self._deliver({"type": "websocket.disconnect", "code": code, "reason": reason}, 0)

    def _deliver(self, message: dict, size_bytes: int) -> None:
        self.inbox.append(message)
        self.unread_bytes += size_bytes
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def fault(self):
        """Give what went wrong as a Fault, None when all went well."""
        return None if self.failure is None else from_exception(self.failure, "a WebSocket")


def _client_message(meta: bytes, body: bytes) -> dict:
    if meta == b"Mb":
        return {"type": "websocket.receive", "bytes": body}
    try:
        return {"type": "websocket.receive", "text": body.decode("utf-8")}
    except UnicodeDecodeError as error:
        raise BrokenChannel("a text message is not UTF-8") from error


def find_subprotocols(headers: list) -> list:
    """Give the sub-protocols that the client offers, in its order."""
    offered = b",".join(value for name, value in headers if name == b"sec-websocket-protocol")
    return [each.strip().decode("latin-1") for each in offered.split(b",") if each.strip()]
