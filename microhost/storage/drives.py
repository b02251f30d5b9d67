"""Keep the Drives of every project below `<data>/drive/`: `<project>.db` for names, `<project>/` for contents."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from microhost.errors import NotFoundError
from microhost.limits import DRIVE_INDEX_IDLE_S, DRIVE_INDEXES_OPEN, DRIVE_THREADS
from microhost.storage.database import remove_database
from microhost.storage.drive_records import DriveSummary, Place, Usage, Verification
from microhost.storage.files import make_directory, remove_tree, sync_directory
from microhost.storage.project_drives import ProjectDrives

PROJECT_ID = re.compile(r"[a-z0-9]{1,32}")
GONE = ".gone"


class Drives:
    """Hold the projects' Drives, each opened when it is first used, and the threads that may wait for the disk."""

    def __init__(
        self,
        data: Path,
        *,
        quota_bytes: int,
        clock: Callable[[], datetime],
        is_known: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Work below `data`. Each project may take `quota_bytes`; `is_known` tells whether there is a project."""
        self._is_project = is_known
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
            project = self._open.get(project_id)
            opens = project is None or not project.is_open
            if project is None:
                project = self._open[project_id] = self._make(project_id)
        if opens:
            self._close_surplus()
        return project

    def is_gone(self, project_id: str) -> bool:
        """Tell whether the project was deleted: what is going on for it then fails in ways of its own."""
        return project_id in self._gone

    def close_idle(self, idle_s: float = DRIVE_INDEX_IDLE_S) -> None:
        """Let go of the connections to indexes that nobody has used for so long."""
        used_before = time.monotonic() - idle_s
        for project in list(self._open.values()):
            project.close_idle(used_before)

    @property
    def open_count(self) -> int:
        """Count the projects whose index holds connections."""
        return sum(project.is_open for project in list(self._open.values()))

    def _make(self, project_id: str) -> ProjectDrives:
        try:
            project = ProjectDrives(
                self._root,
                project_id,
                quota_bytes=self._quota_bytes,
                clock=self._clock,
                is_known=lambda: self._is_project(project_id),
            )
        except NotFoundError:  # another host deleted it; what was made here must not stay
            remove_tree(self._root / project_id)
            raise
        sync_directory(self._root)
        return project

    def _close_surplus(self) -> None:
        """Close those used least recently when more than DRIVE_INDEXES_OPEN are open and somebody opens one more."""
        held = sorted(
            (each for each in list(self._open.values()) if each.is_open), key=lambda each: each.used_at
        )
        for project in held[: max(0, len(held) - DRIVE_INDEXES_OPEN)]:
            project.close_idle(time.monotonic())

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
            remove_database(self._root / f"{project_id}.db")
            sync_directory(self._root)
        remove_tree(gone)

    def keep_only(self, list_kept: Callable[[], Collection[str]]) -> None:
        """Delete what a killed deletion of a project left; at start."""
        found = {*self.list_projects(), *(each.name for each in self._root.iterdir() if each.is_dir())}
        kept = list_kept()  # asked after looking: what a predecessor makes now is not among those found
        for gone in self._root.glob("*" + GONE):
            remove_tree(gone)
        for project_id in sorted(found.difference(kept)):
            self.delete_project(project_id)

    def close(self) -> None:
        """Let what runs end, and close every index; may be called twice."""
        self.threads.shutdown(wait=True)
        with self._opening:
            for project in self._open.values():
                project.close()

    def _is_known(self, project_id: str) -> bool:
        return bool(PROJECT_ID.fullmatch(project_id)) and (self._root / f"{project_id}.db").exists()
