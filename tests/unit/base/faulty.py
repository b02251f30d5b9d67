"""Stand between SQLite and the files: count, hold back or refuse what it asks of the disk."""

from __future__ import annotations

import threading
from typing import Any

import apsw


class FaultyDisk(apsw.VFS):
    """Be the default file system until `unregister`. `fail_sync` and `fail_write` name endings of files."""

    def __init__(self) -> None:
        self.fail_sync: tuple[str, ...] = ()
        self.fail_write: tuple[str, ...] = ()
        self.sync_count = 0
        self.may_sync = threading.Event()
        self.may_sync.set()
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open a file that asks this disk first."""
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:
        """Bring the file to the disk, or refuse."""
        self._disk.may_sync.wait(20)
        if self._disk.fail_sync and self._name.endswith(self._disk.fail_sync):
            raise apsw.IOError("injected")
        self._disk.sync_count += 1
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        """Write, or say that the disk is full."""
        if self._disk.fail_write and self._name.endswith(self._disk.fail_write):
            raise apsw.FullError("injected")
        super().xWrite(data, offset)
