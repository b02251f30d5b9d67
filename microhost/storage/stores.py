"""Open everything that is kept below one data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microhost.storage.bundles import Bundles
from microhost.storage.events import EventStore
from microhost.storage.files import make_directory
from microhost.storage.meta import MetaStore
from microhost.storage.secrets import Vault


@dataclass(frozen=True, slots=True)
class Stores:
    """Hold the opened stores. Close them to bring the last records of executions to the disk."""

    meta: MetaStore
    events: EventStore
    bundles: Bundles
    vault: Vault

    def close(self) -> None:
        """Close every store; may be called twice."""
        self.events.close()
        self.meta.close()


def open_stores(data: Path) -> Stores:
    """Open or create the stores below `data` (0700).

    Raises: HostError when one of them cannot be trusted to keep what it acknowledges.
    """
    make_directory(data)
    vault = Vault(data / "secrets" / "master.key")
    return Stores(MetaStore(data / "meta.db"), EventStore(data / "events.db"), Bundles(data), vault)
