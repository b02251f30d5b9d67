"""Write the host's log to standard error, a line an event; a log that cannot be written, on a full disk, costs nobody but its reader."""

from __future__ import annotations

import contextlib
import os
import sys

import structlog


class StandardError:
    """Write lines to a descriptor, whole and at once."""

    def __init__(self, descriptor: int) -> None:
        """Write to `descriptor`."""
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Write a line, or let it go."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Nothing waits."""


def set_up_log() -> None:
    """Write one JSON object a line to stderr. Tracebacks carry no local variables: they may hold secrets."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(StandardError(sys.stderr.fileno())),  # type: ignore[arg-type]
    )
