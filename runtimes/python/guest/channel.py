"""Write to the channel from an event loop without ever waiting, and tell when it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Optional

from .frames import BrokenChannel

FULL_BYTES = 256 * 1024
DRAINED_BYTES = 64 * 1024


class Writer:
    """Send at once what the socket takes, keep the rest until it takes more."""

    def __init__(self, sock, loop: asyncio.AbstractEventLoop) -> None:
        self._send = sock.send
        self._descriptor = sock.fileno()
        self._loop = loop
        self._queue: deque = deque()
        self._queued_bytes = 0
        self._waiter: Optional[asyncio.Future] = None

    def write(self, data: bytes) -> None:
        """Send or queue `data`.

        Raises: BrokenChannel when the host is gone.
        """
        if self._queue:
            self._enqueue(data)
            return
        sent = self._try_send(data)
        if sent < len(data):
            self._enqueue(memoryview(data)[sent:] if sent else data)
            self._loop.add_writer(self._descriptor, self._on_writable)

    def is_full(self) -> bool:
        """Tell whether the application should wait before it sends more."""
        return self._queued_bytes > FULL_BYTES

    async def drained(self) -> None:
        """Wait until most of the queue is sent."""
        if self._waiter is None:
            self._waiter = self._loop.create_future()
        await asyncio.shield(self._waiter)

    def _enqueue(self, data) -> None:
        self._queue.append(data)
        self._queued_bytes += len(data)

    def _try_send(self, data) -> int:
        try:
            return self._send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise BrokenChannel("the host is gone") from error

    def _on_writable(self) -> None:
        queue = self._queue
        while queue:
            data = queue[0]
            sent = self._try_send(data)
            self._queued_bytes -= sent
            if sent < len(data):
                queue[0] = memoryview(data)[sent:]
                break
            queue.popleft()
        if not queue:
            self._loop.remove_writer(self._descriptor)
        if self._waiter is not None and self._queued_bytes <= DRAINED_BYTES:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_result(None)
