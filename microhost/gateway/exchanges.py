"""Say what a request and its answer are to the connection that they are on; answer some with bytes that are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from microhost.gateway.guard import Refusal

if TYPE_CHECKING:
    from microhost.gateway.protocol import GatewayProtocol


class Exchange(Protocol):
    """Be one request and its answer, as the connection sees it."""

    complete: bool
    keep_alive: bool

    @property
    def may_start(self) -> bool: ...
    def start(self) -> None: ...
    def body_received(self, data: bytes) -> None: ...
    def body_complete(self) -> None: ...
    def flush(self) -> None: ...
    def client_gone(self) -> None: ...
    def client_full(self, full: bool) -> None: ...
    def abort(self, refusal: Refusal) -> bytes: ...


class Constant:
    """Answer a request with bytes that are ready."""

    may_start = True

    def __init__(
        self, connection: GatewayProtocol, answer: bytes, *, keep_alive: bool, complete: bool
    ) -> None:
        self.connection = connection
        self.answer = answer
        self.keep_alive = keep_alive
        self.complete = complete

    def start(self) -> None:
        """Write the answer."""
        self.connection.transport.write(self.answer)
        self.connection.answered(self)

    def body_received(self, data: bytes) -> None:
        """Drop it."""

    def body_complete(self) -> None:
        """Learn that the connection can go on."""
        self.complete = True

    def flush(self) -> None:
        """Nothing waits here."""

    def client_gone(self) -> None:
        """Nothing to tell."""

    def client_full(self, full: bool) -> None:
        """Nothing to stop."""

    def abort(self, refusal: Refusal) -> bytes:
        """Keep the answer."""
        del refusal
        return self.answer
