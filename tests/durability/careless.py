"""Serve as `microhost` does, with a host that acknowledges before it keeps, whose disk fails, or that waits for no disk.

    python careless.py items|files|disk|syncs serve ...        the warden, whose hosts are
    python careless.py items|files|disk|syncs microhost.serve  the host of that manner

Nothing in the product can be told to do this; it is patched here.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COMMITS_LATER_S = 0.05  # a commit on a fast disk is over so soon that few kills would fall into it
FAILS = 0.05


def acknowledge_items_early() -> None:
    """Settle the callers of a batch before its commit."""
    from microhost.storage.committing import Committer

    commit, deliver = Committer._commit, Committer._deliver

    def commit_after_delivery(self: Any, batch: Any) -> None:
        sql = self._connection
        if batch and sql is not None:
            sql.execute("BEGIN IMMEDIATE")
            for each in batch:
                self._try(sql, each)
            deliver(self, batch)
            time.sleep(COMMITS_LATER_S)
            sql.execute("COMMIT")
        else:
            commit(self, batch)
            deliver(self, batch)

    Committer._commit = commit_after_delivery  # type: ignore[method-assign]
    Committer._deliver = lambda self, batch: None  # type: ignore[method-assign]


def acknowledge_files_early() -> None:
    """Bring a file's bytes to the disk after the answer."""
    from microhost.storage.project_drives import ProjectDrives

    put, later = ProjectDrives.put, ThreadPoolExecutor(1)
    ProjectDrives.put = lambda *given: later.submit(put, *given)  # type: ignore[assignment,method-assign]


def fail_syncs() -> None:
    """Let one wait for the disk in twenty fail, of databases and of files, while `<data>/failing` is there."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "base"))
    from faulty import FaultyDisk

    chance, marker = random.Random(), Path(os.environ["MICROHOST_DATA"]) / "failing"

    class FailingDisk(FaultyDisk):
        fail_sync = property(lambda _: ("-wal",) if fails() else (), lambda *_: None)  # type: ignore[assignment]

    def fails() -> bool:
        return chance.random() < FAILS and marker.exists()

    def fsync(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        if fails():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    os.fsync = fsync
    sys.modules["failing_disk"] = FailingDisk()  # type: ignore[assignment]  # must live as long as the process


def wait_for_no_disk() -> None:
    """Leave all that is written to the kernel, which brings it to the disk when it likes: only a power cut tells."""
    import apsw

    class Hasty(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("hasty", "unix", makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
            return HastyFile("unix", name, flags)

    class HastyFile(apsw.VFSFile):
        def xSync(self, flags: int) -> None:
            """Wait for nothing."""

    os.fsync = lambda _: None
    sys.modules["hasty_disk"] = Hasty()  # type: ignore[assignment]  # must live as long as the process


MANNERS: dict[str, Callable[[], None]] = {
    "items": acknowledge_items_early,
    "files": acknowledge_files_early,
    "disk": fail_syncs,
    "syncs": wait_for_no_disk,
}


def main() -> None:
    """Be the warden or its host."""
    manner, role = sys.argv[1:3]
    if role == "microhost.serve":
        MANNERS[manner]()
        from microhost.serve import main as serve

        serve()
        return
    import sandbox.warden
    from microhost.command import main as command

    run = sandbox.warden.run
    host = [sys.executable, "-B", __file__, manner, "microhost.serve"]
    sandbox.warden.run = lambda settings, _argv: run(settings, host)
    sys.argv = ["microhost", *sys.argv[2:]]
    command()


if __name__ == "__main__":
    main()
