"""Write what an install tells its user: whole lines, bounded, without what concerns this machine alone."""

from __future__ import annotations

import contextlib
import os
import re
import select

LOG_WAIT_MS = 500
LOG_BYTES = 256 * 1024


class BuildLog:
    """Write lines to a descriptor, bounded; a reader that is gone or full loses them."""

    def __init__(self, descriptor: int) -> None:
        """Write to `descriptor`, which stays the caller's."""
        self._descriptor = descriptor
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)
        self._left = LOG_BYTES

    def line(self, text: str) -> None:
        """Write a line, or lose it."""
        data = (text.rstrip() + "\n").encode(errors="replace")
        if len(data) > self._left:
            return
        self._left -= len(data)
        # A pipe that is ready takes PIPE_BUF bytes without waiting.
        for at in range(0, len(data), select.PIPE_BUF):
            with contextlib.suppress(OSError):
                if self._ready.poll(LOG_WAIT_MS):
                    os.write(self._descriptor, data[at : at + select.PIPE_BUF])


class ToolLines:
    """Pass on whole lines of an installer to the log, but those about this machine (`hidden`)."""

    def __init__(self, log: BuildLog, hidden: re.Pattern[str] | None = None) -> None:
        """Pass lines on to `log`."""
        self._log = log
        self._hidden = hidden
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take what was printed; a line may come in pieces."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._pass_on(line)
        self._rest = self._rest[-LOG_BYTES:]

    def end(self) -> None:
        """Pass on the last line, which nothing ended."""
        if self._rest:
            self._pass_on(self._rest)
        self._rest = b""

    def _pass_on(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        if self._hidden is None or not self._hidden.match(text):
            self._log.line(text)
