"""Keep the Drives of every project below `<data>/drive/`: `<project>.db` for names, `<project>/` for contents."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from microhost.errors import NotFoundError
from microhost.limits import DRIVE_THREADS
from microhost.storage.drive_records import DriveSummary, Place, Usage, Verification
from microhost.storage.files import make_directory, remove_tree, sync_directory
from microhost.storage.project_drives import ProjectDrives

PROJECT_ID = re.compile(r"[a-z0-9]{1,32}")
GONE = ".gone"


class Drives:
    """Hold the projects' Drives, each opened when it is first used, and the threads that may wait for the disk."""

    def __init__(self, data: Path, *, quota_bytes: int, clock: Callable[[], datetime]) -> None:
        """Work below `data`. Each project may take `quota_bytes`."""
        self._root = make_directory(data / "drive")
        self._quota_bytes = quota_bytes
        self._clock = clock
        self._open: dict[str, ProjectDrives] = {}
        self._gone: set[str] = set()
        self._opening = threading.Lock()
        self.threads = ThreadPoolExecutor(DRIVE_THREADS, thread_name_prefix="drive")

    def of(self, project_id: str) -> ProjectDrives:
        """Give a project's Drives. May wait for the disk.

        Raises: NotFoundError for what is no project's id, and for a project that was deleted: a request, or the
        upkeep, that still has its id must not bring its files back.
        """
        if not PROJECT_ID.fullmatch(project_id):
            raise NotFoundError("There is no such project.")
        with self._opening:
            if project_id in self._gone:
                raise NotFoundError("There is no such project.")
            if project_id not in self._open:
                self._open[project_id] = ProjectDrives(
                    self._root, project_id, quota_bytes=self._quota_bytes, clock=self._clock
                )
                sync_directory(self._root)
            return self._open[project_id]

    def list_projects(self) -> list[str]:
        """Give the ids of projects that have ever used a Drive."""
        return sorted(file.stem for file in self._root.glob("*.db"))

    def list_drives(self, project_id: str) -> list[DriveSummary]:
        """Give a project's Drives that hold a file, by name. Makes nothing for a project that has none."""
        return self.of(project_id).list_drives() if self._is_known(project_id) else []

    def usage(self, project_id: str) -> Usage:
        """Tell what a project's Drives take of their quota."""
        return self.of(project_id).usage() if self._is_known(project_id) else Usage(0, self._quota_bytes)

    def verify(self, project_id: str, drive: str, name: str) -> Verification:
        """Compare one file with the hash that was acknowledged. Raises: NotFoundError."""
        if not self._is_known(project_id):
            raise NotFoundError(f"There is no file '{name}' in Drive '{drive}'.")
        return self.of(project_id).verify(Place(drive, name))

    def delete_project(self, project_id: str) -> None:
        """Delete everything of a project; nothing happens when it has nothing. What is going on is refused."""
        if not PROJECT_ID.fullmatch(project_id):
            return
        with self._opening:
            self._gone.add(project_id)
            project = self._open.pop(project_id, None)
            if project is not None:
                project.close()
            contents = self._root / project_id
            gone = self._root / (project_id + GONE)
            if contents.exists():
                contents.rename(gone)
            # the database last: by it a deletion that was killed is found again
            for ending in (".db-wal", ".db-shm", ".db"):
                (self._root / (project_id + ending)).unlink(missing_ok=True)
            sync_directory(self._root)
        remove_tree(gone)

    def keep_only(self, list_kept: Callable[[], Collection[str]]) -> None:
        """Delete what a killed deletion of a project left; at start."""
        found = self.list_projects()
        kept = list_kept()  # asked after looking: what a predecessor makes now is not among those found
        for gone in self._root.glob("*" + GONE):
            remove_tree(gone)
        for project_id in found:
            if project_id not in kept:
                self.delete_project(project_id)

    def close(self) -> None:
        """Let what runs end, and close every index; may be called twice."""
        self.threads.shutdown(wait=True)
        with self._opening:
            for project in self._open.values():
                project.close()

    def _is_known(self, project_id: str) -> bool:
        return bool(PROJECT_ID.fullmatch(project_id)) and (self._root / f"{project_id}.db").exists()
