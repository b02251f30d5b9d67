"""Take note of a request and its response for Visor while they pass. On the event loop only.

Theory of operation
    Only executions of a Micro with Visor on have a capture. It holds references to what passes anyway, up to VISOR_BODY_BYTES of each
    body; only a body that comes in pieces is copied, so far. All captures together hold at most VISOR_IN_FLIGHT_BYTES
    of bodies; beyond that bodies are counted, not held. What a capture holds is given back when it is handed over or forgotten.
"""

from __future__ import annotations

from datetime import UTC, datetime

from microhost.limits import VISOR_BODY_BYTES, VISOR_IN_FLIGHT_BYTES
from microhost.records import RawExchange


class Room:
    """Bound what all captures of a host hold together."""

    __slots__ = ("left_bytes",)

    def __init__(self, most_bytes: int = VISOR_IN_FLIGHT_BYTES) -> None:
        """Give at most `most_bytes`."""
        self.left_bytes = most_bytes


class Capture:
    """Hold what was seen of one execution so far."""

    __slots__ = (
        "_held_bytes",
        "_request",
        "_response",
        "_room",
        "head",
        "lines",
        "request_bytes",
        "response_bytes",
        "status",
    )

    def __init__(self, room: Room, head: bytes) -> None:
        """Begin with a request's head, as it goes to the executor; empty for an event."""
        self._room = room
        self._held_bytes = 0
        self._request: bytes | bytearray = b""
        self._response: bytes | bytearray = b""
        self.head = head
        self.status: int | None = None
        self.lines = b""
        self.request_bytes = 0
        self.response_bytes = 0

    def __del__(self) -> None:
        # an execution may be given up in many places, and no one of them must be forgotten
        self._room.left_bytes += self._held_bytes

    def add_request(self, data: bytes) -> None:
        """Note a piece of the request's body."""
        before = self.request_bytes
        self.request_bytes = before + len(data)
        if before < VISOR_BODY_BYTES and data:
            self._request = self._hold(self._request, data, before)

    def add_response(self, data: bytes) -> None:
        """Note a piece of the response's body."""
        before = self.response_bytes
        self.response_bytes = before + len(data)
        if before < VISOR_BODY_BYTES and data:
            self._response = self._hold(self._response, data, before)

    def seal(
        self,
        *,
        id: str,
        micro_id: str,
        started_at: float,
        action: str = "",
        time: datetime | None = None,
    ) -> RawExchange:
        """Hand over what was seen, once."""
        self._room.left_bytes += self._held_bytes
        self._held_bytes = 0
        return RawExchange(
            id=id,
            micro_id=micro_id,
            started_at=datetime.fromtimestamp(started_at, UTC),
            head=self.head,
            request=bytes(self._request),
            request_bytes=self.request_bytes,
            status=self.status,
            lines=self.lines,
            response=bytes(self._response),
            response_bytes=self.response_bytes,
            action=action,
            time=time,
        )

    def _hold(self, kept: bytes | bytearray, data: bytes, before: int) -> bytes | bytearray:
        size = min(len(data), VISOR_BODY_BYTES - before)
        room = self._room
        if len(kept) != before or size > room.left_bytes:
            return kept  # what comes after a gap is no beginning
        room.left_bytes -= size
        self._held_bytes += size
        piece = data if size == len(data) else data[:size]
        if not kept:
            return piece
        if isinstance(kept, bytes):
            kept = bytearray(kept)  # many small pieces would take more than their bytes
        kept += piece
        return kept
