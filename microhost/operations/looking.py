"""Look at a host as it is now: what Prometheus shows of it, and why nothing should be sent to it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from microhost.limits import MIB
from microhost.micros.directory import Directory
from microhost.micros.pool import Pools
from microhost.operations.metrics import HostLook
from microhost.storage.stores import Stores
from sandbox.client import SandboxInfo, WardenError

FREE_BYTES_MIN = 64 * MIB
FILES = ("meta.db", "events.db", "visor.db")


class Warden(Protocol):
    """See of the warden what is needed here."""

    async def list(self) -> list[SandboxInfo]:
        """Tell every living sandbox. Raises: WardenError."""


class Looking:
    """Look at the parts of one host process."""

    def __init__(
        self,
        stores: Stores,
        pools: Pools,
        directory: Directory,
        warden: Warden,
        *,
        data: Path,
        count_connections: Callable[[], int],
        is_draining: Callable[[], bool],
    ) -> None:
        """Look at these parts and the disk of `data`."""
        self._stores = stores
        self._pools = pools
        self._directory = directory
        self._warden = warden
        self._data = data
        self._count_connections = count_connections
        self._is_draining = is_draining

    def look(self) -> HostLook:
        """Give what it looks like now; reads a few sizes from the file system."""
        stores = self._stores
        states: Counter[str] = Counter(each.state for each in stores.meta.domains.list_domains())
        return HostLook(
            pool=self._pools.look(self._directory.micro_ids),
            is_draining=self._is_draining(),
            connections=self._count_connections(),
            domains={"pending": 0, "active": 0, "failed": 0, **states},
            files={name: _size_of(self._data / name) for name in FILES},
            free_bytes=self._free_bytes(),
            waiting={
                "events": stores.events.waiting_bytes,
                "visor": stores.exchanges.waiting_bytes,
                "base": stores.bases.all_waiting_count,
            },
            dropped={"events": stores.events.dropped_count, "visor": stores.exchanges.dropped_count},
        )

    async def find_troubles(self) -> Sequence[str]:
        """Give a sentence for each reason why nothing should be sent to this host now."""
        troubles = (
            ["The host takes no more connections: it is being replaced or stopped."]
            if self._is_draining()
            else []
        )
        try:
            await self._warden.list()
        except WardenError as error:
            troubles.append(f"The warden does not answer: {error}")
        if (free := self._free_bytes()) < FREE_BYTES_MIN:
            troubles.append(
                f"The disk of the data directory has {free // MIB} MiB left, less than {FREE_BYTES_MIN // MIB}."
            )
        return troubles

    def _free_bytes(self) -> int:
        status = os.statvfs(self._data)
        return status.f_bavail * status.f_frsize


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
