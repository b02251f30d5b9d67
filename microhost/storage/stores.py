"""Open everything that is kept below one data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microhost.limits import DRIVE_QUOTA_MB, MB
from microhost.storage.bases import Bases
from microhost.storage.bundles import Bundles
from microhost.storage.drives import Drives
from microhost.storage.events import EventStore, utc_now
from microhost.storage.exchanges import ExchangeStore
from microhost.storage.files import make_directory
from microhost.storage.meta import MetaStore
from microhost.storage.secrets import Vault


@dataclass(frozen=True, slots=True)
class Stores:
    """Hold the opened stores. Close them to bring the last records of executions to the disk."""

    meta: MetaStore
    events: EventStore
    exchanges: ExchangeStore
    bundles: Bundles
    vault: Vault
    bases: Bases
    drives: Drives

    def close(self) -> None:
        """Close every store; may be called twice."""
        self.bases.close()
        self.drives.close()
        self.exchanges.close()
        self.events.close()
        self.meta.close()


def open_stores(data: Path, *, drive_quota_mb: int = DRIVE_QUOTA_MB) -> Stores:
    """Open or create the stores below `data` (0700). A project's Drives may hold `drive_quota_mb` megabytes.

    Raises: HostError when one of them cannot be trusted to keep what it acknowledges.
    """
    make_directory(data)
    vault = Vault(data / "secrets" / "master.key")
    meta = MetaStore(data / "meta.db")

    def is_known(project_id: str) -> bool:
        found = meta.find_project(project_id)
        return found is not None and found.id == project_id

    def knows_micro(micro_id: str) -> bool:
        return meta.find_micro(micro_id) is not None

    return Stores(
        meta=meta,
        events=EventStore(data / "events.db", is_known=knows_micro),
        exchanges=ExchangeStore(data / "visor.db", is_known=knows_micro),
        bundles=Bundles(data),
        vault=vault,
        bases=Bases(data / "base", is_known=is_known),
        drives=Drives(data, quota_bytes=drive_quota_mb * MB, clock=utc_now, is_known=is_known),
    )
