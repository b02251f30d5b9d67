"""Decide whether the last frame of a response waits for the end of its execution, so that both travel in one
write.

An application may block after its answer (a background task that is no coroutine, a cleanup in close()).
Held, the answer would be late by that, and lost if the deadline came. So the first response of an executor is
never held, and after one that was followed by a long stretch none is held again.
"""

from __future__ import annotations

from time import perf_counter

HELD_S = 0.02


class Holding:
    """Know whether to hold, by what happened so far."""

    def __init__(self) -> None:
        self.allowed = False
        self._may_be = True

    def learn(self, completed_at: float) -> None:
        """Note that what followed an answer completed at `completed_at` (of perf_counter) is over."""
        self._may_be = self._may_be and perf_counter() - completed_at < HELD_S
        self.allowed = self._may_be
