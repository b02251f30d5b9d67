"""Fold minutes into the points of a chart, and remember how much memory Micros took."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from microhost.limits import METRICS_MINUTES_MAX, METRICS_POINTS
from microhost.storage.minutes import Minute, percentile

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Point:
    """Hold the figures of one step of a chart; nothing is known of the durations of none."""

    at: datetime
    count: int
    errors: int
    p50_s: float | None
    p95_s: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Say which minutes a chart shows: `points` steps of `step_minutes` from the minute `first` on, counted since 1970."""

    first: int
    step_minutes: int
    points: int

    @property
    def since(self) -> datetime:
        """Give the moment it begins."""
        return datetime.fromtimestamp(self.first * MINUTE_S, UTC)


def make_grid(now: datetime, minutes: int) -> Grid:
    """Give the grid of the last `minutes`, the present one included; steps begin at multiples of their length."""
    step = -(-minutes // METRICS_POINTS)
    points = -(-minutes // step)
    last = int(now.timestamp()) // MINUTE_S // step * step
    return Grid(last - (points - 1) * step, step, points)


def fold(grid: Grid, minutes: Sequence[Minute], memory: Mapping[int, int]) -> list[Point]:
    """Give the points of one Micro; `memory` has bytes by minute."""
    steps: list[list[Minute]] = [[] for _ in range(grid.points)]
    for each in minutes:
        at = (each.minute - grid.first) // grid.step_minutes
        if 0 <= at < grid.points:
            steps[at].append(each)
    return [_point(grid, at, found, memory) for at, found in enumerate(steps)]


def _point(grid: Grid, at: int, found: Sequence[Minute], memory: Mapping[int, int]) -> Point:
    first = grid.first + at * grid.step_minutes
    durations = [sum(column) for column in zip(*(each.durations for each in found), strict=True)]
    return Point(
        at=datetime.fromtimestamp(first * MINUTE_S, UTC),
        count=sum(each.count for each in found),
        errors=sum(each.errors for each in found),
        p50_s=percentile(durations, 0.5) if found else None,
        p95_s=percentile(durations, 0.95) if found else None,
        memory_bytes=max(
            (memory[each] for each in range(first, first + grid.step_minutes) if each in memory), default=None
        ),
    )


class Memories:
    """Remember each Micro's memory by the minute, as long as this process lives; of an idle host nothing is written."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._minutes: dict[str, deque[tuple[int, int]]] = {}

    def note(self, now: datetime, used: Mapping[str, int]) -> None:
        """Take what each Micro uses now, in bytes; a Micro that is cold is not in it."""
        minute = int(now.timestamp()) // MINUTE_S
        for micro_id in [
            each for each, kept in self._minutes.items() if kept[-1][0] < minute - METRICS_MINUTES_MAX
        ]:
            del self._minutes[micro_id]  # no chart shows it any more
        for micro_id, size_bytes in used.items():
            kept = self._minutes.setdefault(micro_id, deque(maxlen=METRICS_MINUTES_MAX))
            if kept and kept[-1][0] == minute:
                kept[-1] = (minute, max(size_bytes, kept[-1][1]))
            else:
                kept.append((minute, size_bytes))

    def of(self, micro_id: str) -> dict[int, int]:
        """Give bytes by minute."""
        return dict(self._minutes.get(micro_id, ()))
