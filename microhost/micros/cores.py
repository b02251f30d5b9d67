"""Tell how busy the machine's cores are, from /proc/stat."""

from __future__ import annotations

import os
from pathlib import Path

_IDLE_FIELDS = (3, 4)
_STALE_S = 0.2


class Cores:
    """Measure the share of the cores in use between two calls."""

    def __init__(self, file: Path = Path("/proc/stat")) -> None:
        self._file = file
        self._total = 0
        self._idle = 0
        self._read_at = -_STALE_S
        self.count = len(os.sched_getaffinity(0))

    def used_share(self, now: float) -> float | None:
        """Give 0 to 1 since the last call, None when that was too long ago to say (then this call begins a new span)."""
        is_fresh = now - self._read_at <= _STALE_S
        total, idle, self._read_at = self._total, self._idle, now
        with self._file.open("rb") as stat:
            ticks = [int(each) for each in stat.readline().split()[1:9]]
        self._total, self._idle = sum(ticks), sum(ticks[each] for each in _IDLE_FIELDS)
        if not is_fresh or self._total == total:
            return None
        return 1 - (self._idle - idle) / (self._total - total)
