"""Frame the bytes between the host and one executor (runtimes/CONTRACT.md, section 3).

Theory of operation
    A frame is two u32 lengths, a meta and a body. The guest is hostile: a length beyond the contract, or an empty meta, is a
    violation and ends the executor. Nothing is copied twice on the usual path, where one read holds exactly one frame;
    a long frame is collected as a list of reads and joined once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct
from typing import Protocol, cast

META_BYTES_MAX = 128 * 1024
BODY_BYTES_MAX = 1024 * 1024
WRITE_BUFFER_BYTES = 256 * 1024

_LENGTHS = Struct(">II")
_pack: Callable[[int, int], bytes] = _LENGTHS.pack
_unpack_from = _LENGTHS.unpack_from


class Owner(Protocol):
    """Receive what a channel reads."""

    def frame_received(self, meta: bytes, body: bytes) -> None:
        """Take one whole frame."""

    def channel_violated(self, reason: str) -> None:
        """Learn that the guest broke the contract; nothing more will be read."""

    def channel_closed(self) -> None:
        """Learn that the guest's end is gone; every frame it sent was delivered before."""

    def channel_full(self, full: bool) -> None:
        """Learn that the transport's buffer is above its high mark, or below it again."""


def frame(meta: bytes, body: bytes = b"") -> bytes:
    """Give one frame as bytes."""
    return b"".join((_pack(len(meta), len(body)), meta, body))


class Channel(asyncio.Protocol):
    """Read frames from an executor's socket and write frames to it."""

    __slots__ = ("_closed", "_have", "_need", "_parts", "_paused", "_transport", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._closed = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and bound its buffer."""
        # uvloop's transports are no subclasses of asyncio's
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner once."""
        del exc
        self._closed = True
        self.owner.channel_closed()

    def pause_writing(self) -> None:
        """Pass the transport's back pressure on."""
        self.owner.channel_full(True)

    def resume_writing(self) -> None:
        """Pass the transport's relief on."""
        self.owner.channel_full(False)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        position, size = 0, len(data)
        while size - position >= 8:
            meta_bytes, body_bytes = _unpack_from(data, position)
            if not 0 < meta_bytes <= META_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
                self._violate(f"announced a frame of {meta_bytes} + {body_bytes} bytes")
                return
            start = position + 8
            middle = start + meta_bytes
            end = middle + body_bytes
            if end > size:
                self._need = end - position
                break
            position = end
            self.owner.frame_received(data[start:middle], data[middle:end])
            if self._closed:
                return
        else:
            self._need = 8
        if position < size:
            self._parts.append(data[position:] if position else data)
            self._have = size - position

    def send(self, meta: bytes, body: bytes = b"") -> None:
        """Write one frame in one write; say nothing when the channel is gone (its end is told by `channel_closed`)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join((_pack(len(meta), len(body)), meta, body)))

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading`; calling twice changes nothing."""
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again; calling twice changes nothing."""
        if self._transport is not None and self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self) -> bool:
        """Close the socket at once; what was not yet written is lost. False when it was never attached."""
        self._closed = True
        if self._transport is None:
            return False
        self._transport.abort()
        return True

    def _violate(self, reason: str) -> None:
        self._closed = True
        self._parts.clear()
        self.owner.channel_violated(reason)
