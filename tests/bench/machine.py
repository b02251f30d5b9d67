"""Look at the machine: its noise, and the memory of processes."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

LOOPS = 300_000
SAMPLES = 15


@dataclass(frozen=True)
class Noise:
    """How steady the machine was: a fixed piece of work many times, stolen time, load."""

    work_ms_median: float
    work_ms_spread: float  # (slowest - fastest) / median
    steal_percent: float
    load: float

    def text(self) -> str:
        """Say it in a line."""
        return (
            f"the same work took {self.work_ms_median:.1f} ms, spread {self.work_ms_spread * 100:.0f} %; "
            f"{self.steal_percent:.1f} % of the time was stolen; load {self.load:.2f}"
        )


def look_at_noise() -> Noise:
    """Do the same work many times and see how much the time differs."""
    before = _cpu_times()
    times = []
    for _ in range(SAMPLES):
        begun = time.perf_counter()
        total = 0
        for number in range(LOOPS):
            total += number
        times.append((time.perf_counter() - begun) * 1000)
    after = _cpu_times()
    median = statistics.median(times)
    passed = [late - early for early, late in zip(before, after, strict=True)]
    steal = 100 * passed[7] / max(sum(passed), 1)
    return Noise(median, (max(times) - min(times)) / median, steal, os.getloadavg()[0])


def memory_mb(pids: list[int]) -> float:
    """Sum the proportional set sizes of processes: shared pages count once."""
    total_kb = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024


def descendants(root: int) -> list[int]:
    """Give a process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(int(after_name[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
