"""Tell how busy a Micro keeps the cores: those who compute get no more executors, those who wait do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

_STALE_S = 0.2
_IDLE_FIELDS = (3, 4)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Meter:
    """Measure the share of the cores that something used between two calls."""

    __slots__ = ("_count", "_read", "_read_at", "_used_s")

    def __init__(self, read: Callable[[], float], count: int) -> None:
        """Take a function that gives the CPU seconds used so far, and the number of cores."""
        self._read = read
        self._count = count
        self._used_s = 0.0
        self._read_at = -math.inf

    def share(self, now: float) -> float | None:
        """Give 0 to 1 since the last call; None when that was too long ago to say (a new span begins now)."""
        before_s, before_at = self._used_s, self._read_at
        try:
            self._used_s, self._read_at = self._read(), now
        except (OSError, ValueError):
            return None
        if not 0 < now - before_at <= _STALE_S:
            return None
        return (self._used_s - before_s) / ((now - before_at) * self._count)


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def meter_machine(count: int) -> Meter:
    """Measure everything that runs on the machine."""
    return Meter(_read_machine, count)


def meter_beside(freezer: int, count: int) -> Meter:
    """Measure the sandbox whose executor is frozen by `freezer`; the whole machine when there is no account of it.

    The file's own name in the control groups tells where that account is: the group above the executor's.
    """
    leaf = Path(os.readlink(f"/proc/self/fd/{freezer}")).parent
    sandbox = leaf.parent
    if (sandbox / "cpu.stat").exists():
        return Meter(lambda: _read_stat(sandbox / "cpu.stat"), count)
    account = Path(str(sandbox).replace("/freezer/", "/cpuacct/")) / "cpuacct.usage"
    if account != sandbox / "cpuacct.usage" and account.exists():
        return Meter(lambda: int(account.read_text()) / 1e9, count)
    return meter_machine(count)


def _read_stat(file: Path) -> float:
    for line in file.read_text().splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise ValueError("no usage_usec")


def _read_machine() -> float:
    with Path("/proc/stat").open("rb") as stat:
        ticks = [int(each) for each in stat.readline().split()[1:9]]
    return (sum(ticks) - sum(ticks[each] for each in _IDLE_FIELDS)) / _TICKS_PER_S
