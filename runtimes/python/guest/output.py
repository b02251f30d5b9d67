"""Keep what the user's code prints in step with its executions."""

from __future__ import annotations

import sys


def prepare_output() -> None:
    """Make printed lines leave at once, whatever the locale, so that a killed execution loses none."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def flush_output() -> None:
    """Send out what is left of an unfinished line; the streams may be anything by now."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue
