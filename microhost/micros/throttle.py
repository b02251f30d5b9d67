"""Count wrong credentials by whoever presents them, so that guessing is slowed down and nobody else is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from microhost.limits import WRONG_TOKENS_PER_MINUTE

MINUTE_S = 60.0
CLIENTS_REMEMBERED = 10_000


class Throttle:
    """Count what happened in the running minute, by key; the keys longest untouched are forgotten first."""

    def __init__(self, clock: Callable[[], float], *, most: int = WRONG_TOKENS_PER_MINUTE) -> None:
        """Begin at zero; `clock` counts seconds, a key is full at `most`."""
        self._clock = clock
        self._most = most
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def is_full(self, key: str) -> bool:
        """Tell whether as many as may be were added for `key`."""
        return self._current(key)[1] >= self._most

    def add(self, key: str) -> None:
        """Count one more."""
        since, count = self._current(key)
        self._counts[key] = (since, count + 1)
        self._counts.move_to_end(key)
        while len(self._counts) > CLIENTS_REMEMBERED:
            self._counts.popitem(last=False)

    def forget(self, key: str) -> None:
        """Begin at zero again for `key`."""
        self._counts.pop(key, None)

    def _current(self, key: str) -> tuple[float, int]:
        now = self._clock()
        since, count = self._counts.get(key, (now, 0))
        return (since, count) if now - since < MINUTE_S else (now, 0)
