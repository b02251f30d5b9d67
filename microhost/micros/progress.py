"""Tell how a deployment goes: its phases with their seconds, and what its installation prints, bounded."""

from __future__ import annotations

import time
from typing import Literal, Protocol

from microhost.limits import LOG_BYTES_PER_EXECUTION

Phase = Literal["fetch", "waiting", "validate", "dependencies", "publish", "start", "switch"]


class Progress(Protocol):
    """Hear how a deployment goes."""

    def phase(self, name: Phase) -> None:
        """Hear that a phase begins."""

    def line(self, text: str) -> None:
        """Hear a line of the log."""


class InstallLog:
    """Keep and pass on what an installation prints, at most LOG_BYTES_PER_EXECUTION: build code may print for
    ever.
    """

    def __init__(self, progress: Progress) -> None:
        """Tell `progress`."""
        self.text = ""
        self._progress = progress
        self._left = LOG_BYTES_PER_EXECUTION

    def add(self, line: str) -> None:
        """Keep and pass on a line."""
        if self._left <= 0:
            return
        self._left -= len(line.encode("utf-8", "replace")) + 1
        line = line if self._left > 0 else "(more was printed; it is left out here)"
        self.text += line if not self.text else f"\n{line}"
        self._progress.line(line)


class Steps:
    """Time the phases and tell of them."""

    def __init__(self, progress: Progress) -> None:
        """Tell `progress`."""
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._name: Phase | None = None
        self._since = time.monotonic()

    def begin(self, name: Phase) -> None:
        """End the phase before and begin this one."""
        self.end()
        self._name = name
        self._progress.phase(name)

    def end(self) -> None:
        """End the phase that runs; may be called twice."""
        now = time.monotonic()
        if self._name is not None:
            self.seconds[self._name] = round(now - self._since, 4)
        self._name, self._since = None, now
