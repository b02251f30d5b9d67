"""Collect what an executor prints, and attribute it to the execution that printed it.

Theory of operation
    Two pipes an executor. While an execution runs they are read as they fill, 64 KiB a turn of the loop. When an execution
    has ended (its end frame was sent after its last byte was flushed) `take` empties the pipes before the next one may
    begin, so that a line belongs to exactly one execution. Beyond the cap the loop no longer listens: a flood fills its pipe,
    waits, and is thrown away in small portions by `discard`, which the pool calls every 50 ms. So a flood
    slows down the one who makes it and nobody else. A start has a deadline and a failure to report, which must not wait behind
    its own flood: `shedding` throws it away much faster for as long as the start lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import AsyncIterator

from microhost.limits import LOG_BYTES_PER_EXECUTION

READ_BYTES = 64 * 1024
DRAIN_BYTES_MAX = 1024 * 1024
SHED_S = 0.002  # a pipe's 64 KiB each time: at least 32 MB/s
SHED_QUIET_S = 0.02


class Output:
    """Read some pipes until they end. Owns the descriptors."""

    __slots__ = ("_cut_bytes", "_fds", "_kept_bytes", "_loop", "_parts", "_poll", "muted")

    def __init__(self, loop: asyncio.AbstractEventLoop, *fds: int) -> None:
        self._loop = loop
        self._fds = set(fds)
        self._poll = select.poll()
        self._parts: list[bytes] = []
        self._kept_bytes = 0
        self._cut_bytes = 0
        self.muted = False
        for fd in fds:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)
            loop.add_reader(fd, self._readable, fd)

    def take(self) -> str:
        """Give everything printed since the last call, and begin anew. What was beyond the cap is counted in a last line."""
        if self._fds and self._poll.poll(0):
            self._drain(DRAIN_BYTES_MAX)
        if not self._parts:
            return ""
        text = b"".join(self._parts).decode("utf-8", "replace")
        if self._cut_bytes:
            text += f"\n[{self._cut_bytes:,} bytes more were printed and not kept]\n"
        self.forget()
        return text

    def forget(self) -> None:
        """Begin anew without looking into the pipes."""
        if self._parts:
            self._parts.clear()
            self._kept_bytes = self._cut_bytes = 0
        if self.muted:
            self.muted = False
            for fd in self._fds:
                self._loop.add_reader(fd, self._readable, fd)

    def discard(self, budget_bytes: int) -> int:
        """Throw away up to `budget_bytes` of a flood; give what was thrown away."""
        before = self._cut_bytes
        if self._poll.poll(0):
            self._drain(budget_bytes)
        return self._cut_bytes - before

    def close(self) -> None:
        """Close the descriptors; calling twice changes nothing."""
        for fd in list(self._fds):
            self._end(fd)

    def _drain(self, budget_bytes: int) -> None:
        for fd in list(self._fds):
            while budget_bytes > 0:
                count = self._read(fd)
                budget_bytes -= count
                if not count:
                    break

    def _readable(self, fd: int) -> None:
        self._read(fd)
        if self._cut_bytes and not self.muted:
            self.muted = True
            for each in self._fds:
                self._loop.remove_reader(each)

    def _read(self, fd: int) -> int:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._end(fd)
            return 0
        room = LOG_BYTES_PER_EXECUTION - self._kept_bytes
        if room > 0:
            self._parts.append(data[:room])
        kept = min(room, len(data)) if room > 0 else 0
        self._kept_bytes += kept
        self._cut_bytes += len(data) - kept
        return len(data)

    def _end(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.discard(fd)
            self._loop.remove_reader(fd)
            self._poll.unregister(fd)
            os.close(fd)


@contextlib.asynccontextmanager
async def shedding(output: Output) -> AsyncIterator[None]:
    """Throw away what is printed beyond the cap inside the block, without waiting for the pool's turn."""
    task = asyncio.get_running_loop().create_task(_shed(output))
    try:
        yield
    finally:
        task.cancel()


async def _shed(output: Output) -> None:
    while True:
        await asyncio.sleep(SHED_S if output.muted else SHED_QUIET_S)
        if output.muted:
            output.discard(DRAIN_BYTES_MAX)
