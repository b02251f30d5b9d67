"""Count wrong credentials by whoever presents them, so that guessing is slowed down and nobody else is."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

from microhost.limits import WRONG_TOKENS_PER_MINUTE

MINUTE_S = 60.0
CLIENTS_REMEMBERED = 10_000
NETWORK_SHIFT = 64


def client_of(address: str) -> str:
    """Give what stands for a client: its address, of IPv6 the first 64 bits, the least that anybody has for himself.

    Source: RFC 6177, section 2; RFC 4291, section 2.5.5.2 (IPv4 addresses within IPv6).
    """
    if ":" not in address:
        return address
    try:
        full = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if full.ipv4_mapped is not None:
        return str(full.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(full) >> NETWORK_SHIFT << NETWORK_SHIFT)}/64"


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
