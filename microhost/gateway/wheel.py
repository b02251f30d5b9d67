"""Look at every connection twice a second: one wheel, no timer per connection or request.

A connection gets one spoke when it is made and keeps it; the pool's 50 ms turn visits the spokes in a circle. Nothing is
done per request: a connection compares what it sees with what it saw the last time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

SPOKES = 10
PERIOD_S = 0.5


class Rider(Protocol):
    """Be visited."""

    def check(self, now: float) -> None:
        """Compare, and act when something has taken too long."""


class Wheel:
    """Visit each rider every PERIOD_S."""

    def __init__(self) -> None:
        self._spokes: list[set[Rider]] = [set() for _ in range(SPOKES)]
        self._at = 0
        self._next = 0

    def add(self, rider: Rider) -> set[Rider]:
        """Put a rider on a spoke; `discard` it from there when it leaves."""
        self._next = (self._next + 1) % SPOKES
        spoke = self._spokes[self._next]
        spoke.add(rider)
        return spoke

    def turn(self, now: float) -> None:
        """Visit the next spoke."""
        self._at = (self._at + 1) % SPOKES
        for rider in list(self._spokes[self._at]):
            rider.check(now)

    def __iter__(self) -> Iterator[Rider]:
        for spoke in self._spokes:
            yield from spoke
