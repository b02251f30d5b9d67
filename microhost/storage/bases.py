"""Keep the Bases of all projects: one file a project, opened when it is used and closed when it is not.

Theory of operation
    `Bases` lives on one event loop. A project's file is made by the first write and opened by the first use; files
    that were not used for BASE_FILE_IDLE_S are closed, and the least recently used ones when more than
    BASE_FILES_OPEN are open. A file in use is never closed. `start` lets a keeper run: it closes idle files, sweeps
    expired items from open ones, builds indexes, and looks into one file that is closed from time to time, so that
    expired items leave the disk although nobody asks. Whatever the keeper does is done in small slices that stand
    between the callers' writes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import apsw
import structlog

from microhost.errors import HostError, NotFoundError
from microhost.limits import BASE_FILE_IDLE_S, BASE_FILES_OPEN
from microhost.storage.base_file import BaseFile, Change, SeenItem, StoredItem
from microhost.storage.base_indexes import BaseIndex, check_path
from microhost.storage.base_pages import Page, Wanted
from microhost.storage.database import remove_database
from microhost.storage.files import make_directory, sync_directory
from microhost.storage.scans import ScanNotes, Suggestion

QUERY_THREADS = 4
KEEPER_S = 5.0
LOOK_INTO_CLOSED_S = 60.0
SWEEPS_AT_ONCE = 20

log = structlog.get_logger("bases")


@dataclass(slots=True)
class _Open:
    """Hold an open file, or one that is being opened or closed."""

    file: asyncio.Future[BaseFile]
    users: int = 0
    used_at: float = 0.0


class Bases:
    """Answer for all Bases. Close it to bring everything accepted to the disk."""

    def __init__(
        self,
        directory: Path,
        *,
        now: Callable[[], float] = time.time,
        files_open: int = BASE_FILES_OPEN,
        idle_s: float = BASE_FILE_IDLE_S,
        is_known: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Keep the files in `directory`; `now` counts seconds since 1970; `is_known` tells whether there is a project.

        Nothing is opened yet.
        """
        self._is_known = is_known
        self._directory = make_directory(directory)
        self._now = now
        self._files_open = files_open
        self._idle_s = idle_s
        self._open: dict[str, _Open] = {}
        self._closed = False
        self._present: set[str] = {file.stem for file in directory.glob("*.db")}
        self._gone: set[str] = set()
        self._threads = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="base query")
        self._notes = ScanNotes()
        self._building: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._to_look_into: list[str] = []

    @property
    def open_count(self) -> int:
        """Count the files that are open."""
        return len(self._open)

    def waiting_count(self, project_id: str) -> int:
        """Count the writes of a project that wait for the disk."""
        entry = self._open.get(project_id)
        return entry.file.result().waiting_count if entry and entry.file.done() else 0

    @property
    def all_waiting_count(self) -> int:
        """Count the writes of all projects that wait for the disk."""
        return sum(self.waiting_count(each) for each in self._open)

    # Items. A base that was never written to is like an empty one.

    async def find(self, project_id: str, base: str, key: bytes) -> str | None:
        """Give an item's JSON text, None when there is none or it has expired."""
        if not self._is_present(project_id):
            return None
        ready = self._open.get(project_id)
        if ready is not None and ready.file.done() and not ready.file.cancelled():
            ready.used_at = time.monotonic()
            return ready.file.result().find(base, key)
        async with self._use(project_id) as file:
            return file.find(base, key)

    async def put(self, project_id: str, base: str, items: Sequence[StoredItem]) -> None:
        """Store items, replacing those with equal keys, all or none. They are on the disk when this returns.

        Raises: StorageFullError, HostError, OverloadedError; then nothing was stored.
        """
        async with self._use(project_id) as file:
            await file.put(base, items)

    async def insert(self, project_id: str, base: str, item: StoredItem) -> None:
        """Store an item. Raises: ConflictError when its key is taken; what `put` raises."""
        async with self._use(project_id) as file:
            await file.insert(base, item)

    async def update(self, project_id: str, base: str, key: bytes, change: Change) -> None:
        """Replace an item by what `change` makes of its text, alone with it.

        Raises: NotFoundError when there is no such item; what `change` and `put` raise.
        """
        if not self._is_present(project_id):
            raise NotFoundError("Key not found")
        async with self._use(project_id) as file:
            await file.update(base, key, change)

    async def put_unchanged(self, project_id: str, base: str, changes: Sequence[SeenItem]) -> list[bytes]:
        """Store and delete items, all or none, if each is still as it was seen; give the keys of those that are not.

        Raises: what `put` raises.
        """
        async with self._use(project_id) as file:
            return await file.put_unchanged(base, changes)

    async def delete(self, project_id: str, base: str, key: bytes) -> None:
        """Delete an item, if there is one. Raises: what `put` raises."""
        if not self._is_present(project_id):
            return
        async with self._use(project_id) as file:
            await file.delete(base, key)

    async def query(self, project_id: str, base: str, wanted: Wanted) -> Page:
        """Read one page."""
        if not self._is_present(project_id):
            return Page("", 0, None, 0, 0, indexed=False)
        async with self._use(project_id) as file:
            page = await file.query(base, wanted, self._threads)
        self._notes.note(project_id, base, wanted.condition, page)
        return page

    # Bases and indexes

    async def list_bases(self, project_id: str) -> list[str]:
        """Give the names of a project's Bases, sorted."""
        if not self._is_present(project_id):
            return []
        async with self._use(project_id) as file:
            return file.list_bases()

    async def list_indexes(self, project_id: str, base: str) -> list[BaseIndex]:
        """Give a Base's indexes, sorted by path."""
        if not self._is_present(project_id):
            return []
        async with self._use(project_id) as file:
            return file.list_indexes(base)

    async def add_index(self, project_id: str, base: str, path: str) -> BaseIndex:
        """Declare an index on a dotted path; it is built in the background.

        Raises: ConflictError when it is there; ClientError for a wrong path or too many indexes.
        """
        check_path(path)
        async with self._use(project_id) as file:
            index = await file.add_index(base, path, datetime.fromtimestamp(self._now(), UTC))
        self._build_soon(project_id)
        return index

    async def drop_index(self, project_id: str, base: str, path: str) -> None:
        """Use an index no more. Raises: NotFoundError."""
        if not self._is_present(project_id):
            raise NotFoundError(f"There is no index on '{path}'.")
        async with self._use(project_id) as file:
            await file.drop_index(base, path)
        self._build_soon(project_id)

    async def build_indexes(self, project_id: str) -> None:
        """Build and clear away what is to be, to the end."""
        async with self._use(project_id) as file:
            while await file.work_on_indexes():
                pass

    def suggest_indexes(self, project_id: str, base: str) -> list[Suggestion]:
        """Tell the paths that would have spared scans, by what queries scanned since the start."""
        return self._notes.suggest(project_id, base)

    async def delete_project(self, project_id: str) -> None:
        """Delete a project's file; whatever still comes for it is refused. May be called twice."""
        self._gone.add(project_id)
        self._present.discard(project_id)
        entry = self._open.pop(project_id, None)
        if entry is not None:
            with suppress(HostError, apsw.Error):  # a file that cannot be opened is deleted all the same
                await asyncio.to_thread((await asyncio.shield(entry.file)).close)
            self._present.discard(project_id)
        self._notes.forget(project_id)
        await asyncio.to_thread(self._unlink, project_id)

    async def keep_only(self, list_kept: Callable[[], Collection[str]]) -> None:
        """Delete what a killed deletion of a project left; at start."""
        found = set(self._present)
        kept = list_kept()  # asked after looking: a project that is made now is not among those found
        for project_id in sorted(found.difference(kept)):
            await self.delete_project(project_id)

    # Files

    async def start(self) -> None:
        """Let the keeper run; may be called once."""
        self._keeper = asyncio.create_task(self._keep(), name="bases")

    async def stop(self) -> None:
        """End the keeper, commit what was accepted, close all files."""
        tasks = [*self._building.values(), *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Commit what was accepted and close all files; may be called twice, from any thread."""
        self._closed = True
        self._threads.shutdown(wait=True)
        for entry in list(self._open.values()):
            if entry.file.done() and not entry.file.cancelled() and entry.file.exception() is None:
                entry.file.result().close()

    async def keep_once(self) -> None:
        """Close what is idle; sweep and build in what is open."""
        for project_id in list(self._open):
            try:
                await self._sweep(project_id)
            except Exception:  # one bad file must not keep the others from being swept
                log.exception("not_swept", project=project_id)
        await self._close_idle(time.monotonic() - self._idle_s)

    async def look_into_next(self) -> None:
        """Sweep the next file in turn, open or closed."""
        if not self._to_look_into:
            self._to_look_into = sorted(self._present)
        if self._to_look_into:
            await self._sweep(self._to_look_into.pop())

    async def _keep(self) -> None:
        looked_at = 0.0
        while True:
            await asyncio.sleep(KEEPER_S)
            try:
                await self.keep_once()
                if time.monotonic() - looked_at >= LOOK_INTO_CLOSED_S:
                    looked_at = time.monotonic()
                    await self.look_into_next()
            except Exception:  # the keeper must survive one bad file; it comes round again
                log.exception("keeper_failed")

    async def _sweep(self, project_id: str) -> None:
        if not self._is_present(project_id):
            return
        async with self._use(project_id, quietly=True) as file:
            for _ in range(SWEEPS_AT_ONCE):
                if await file.sweep() == 0:
                    break

    @asynccontextmanager
    async def _use(self, project_id: str, *, quietly: bool = False) -> AsyncIterator[BaseFile]:
        """Give the open file and keep it open meanwhile. `quietly` does not count as a use.

        Raises: NotFoundError when the project is deleted, be it meanwhile: its file then fails in ways of its own.
        """
        entry = self._open.get(project_id) or self._begin_open(project_id)
        entry.users += 1
        try:
            yield await asyncio.shield(entry.file)
        except (HostError, apsw.Error) as error:
            if project_id in self._gone:
                raise _no_project() from error
            raise
        finally:
            entry.users -= 1
            if not quietly:
                entry.used_at = time.monotonic()
        if len(self._open) > self._files_open:
            await self._close_surplus()

    def _begin_open(self, project_id: str) -> _Open:
        if project_id in self._gone:
            raise _no_project()
        if self._closed or not project_id.isalnum():
            raise HostError(f"the Bases of project '{project_id}' were used after they were closed")
        entry = _Open(asyncio.ensure_future(self._open_file(project_id)), used_at=time.monotonic())
        self._open[project_id] = entry
        return entry

    async def _open_file(self, project_id: str) -> BaseFile:
        try:
            file = await asyncio.to_thread(self._make_file, project_id)
        except BaseException:
            self._open.pop(project_id, None)
            raise
        if self._closed or project_id in self._gone:
            await asyncio.to_thread(file.close)
            raise HostError(f"the Bases of project '{project_id}' were closed while they opened")
        self._present.add(project_id)
        if file.has_work_on_indexes():
            self._build_soon(project_id)
        return file

    def _make_file(self, project_id: str) -> BaseFile:
        """Open or create a project's file. Raises: NotFoundError when another host has deleted the project.

        Asked after opening: a project that is known now is deleted later, with all that was made.
        """
        file = BaseFile(self._path(project_id), now=self._now)
        if not self._is_known(project_id):
            file.close()
            self._unlink(project_id)
            self._present.discard(project_id)
            raise _no_project()
        return file

    def _is_present(self, project_id: str) -> bool:
        """Tell whether a project has a file; a predecessor that drains may have made it meanwhile."""
        if (
            project_id not in self._present
            and project_id not in self._gone
            and project_id.isalnum()
            and self._path(project_id).exists()
        ):
            self._present.add(project_id)
        return project_id in self._present

    def _path(self, project_id: str) -> Path:
        return self._directory / f"{project_id}.db"

    async def _close_idle(self, used_before: float) -> None:
        for project_id, entry in list(self._open.items()):
            if entry.used_at < used_before:
                await self._close_file(project_id, entry)

    async def _close_surplus(self) -> None:
        for project_id, entry in sorted(self._open.items(), key=lambda pair: pair[1].used_at):
            if len(self._open) <= self._files_open:
                return
            await self._close_file(project_id, entry)

    async def _close_file(self, project_id: str, entry: _Open) -> None:
        """Close a file that nobody uses. Should somebody come meanwhile, it is opened beside: that does no harm."""
        if entry.users == 0 and entry.file.done() and self._open.get(project_id) is entry:
            del self._open[project_id]
            await asyncio.to_thread(entry.file.result().close)

    def _unlink(self, project_id: str) -> None:
        remove_database(self._path(project_id))
        sync_directory(self._directory)

    def _build_soon(self, project_id: str) -> None:
        if project_id not in self._building:
            task = asyncio.create_task(self._build(project_id), name=f"base indexes {project_id}")
            self._building[project_id] = task
            task.add_done_callback(lambda _: self._building.pop(project_id, None))

    async def _build(self, project_id: str) -> None:
        try:
            await self.build_indexes(project_id)
        except (HostError, apsw.Error):  # the disk, or the project went: the next opening comes back to it
            log.exception("indexes_not_built", project=project_id)


def _no_project() -> NotFoundError:
    return NotFoundError("There is no such project.")
