"""Count what is long under way, on a terminal only."""

from __future__ import annotations

import sys
import time

EVERY_S = 0.1


class Counter:
    """Show a growing number on one line. Use it as a context manager: the line is away at the end."""

    def __init__(self, label: str) -> None:
        """Count from 0."""
        self.count = 0
        self._label = label
        self._shows = sys.stderr.isatty()
        self._shown_at = 0.0

    def __enter__(self) -> Counter:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self.clear()

    def add(self, count: int) -> None:
        """Count on."""
        self.count += count
        now = time.monotonic()
        if self._shows and now - self._shown_at >= EVERY_S:
            self._shown_at = now
            sys.stderr.write(f"\r{self._label} {self.count:,}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be said."""
        if self._shows and self._shown_at:
            self._shown_at = 0.0
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
