"""Keep one project's Bases in one file: a writing thread, a reader for single items, readers for pages.

Reads of single items take microseconds and stand on the event loop. Pages are read in threads, each with a
connection of its own. What is written goes through a `Committer`, so it is on the disk when its future is settled.
Every method is for the event loop, but those that say otherwise.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from microhost.errors import ConflictError, HostError, NotFoundError
from microhost.limits import BASE_DISK_RESERVE_BYTES, BASE_PAGES_AT_ONCE
from microhost.storage import base_indexes
from microhost.storage.base_indexes import BaseIndex
from microhost.storage.base_pages import Page, Reader, Wanted, read_page
from microhost.storage.committing import Committer, disk_is_full
from microhost.storage.comparing import is_inside, is_same_text
from microhost.storage.database import Connection, Row, connect, migrate
from microhost.storage.files import free_bytes
from microhost.storage.schema import BASES

LOG_BYTES_KEPT = 16 * 1024 * 1024
READERS_KEPT = 4
SWEEP_ITEMS = 500
ROOM_BYTES = 64 * 1024
TO_END_S = 10.0

PUT = (
    "INSERT INTO items (base, key, body, expires) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET body = excluded.body, expires = excluded.expires"
)
GET = "SELECT body FROM items WHERE base = ? AND key = ? AND (expires IS NULL OR expires > ?)"


@dataclass(frozen=True, slots=True)
class StoredItem:
    """Carry an item to the disk: `body` is its JSON text, key and all; `expires` is in seconds since 1970."""

    key: bytes
    body: str
    expires: float | None = None

    @property
    def size_bytes(self) -> int:
        """Count what it takes, roughly."""
        return len(self.key) + len(self.body)


@dataclass(frozen=True, slots=True)
class SeenItem:
    """Carry what an item is to become if it is still as it was seen. `was` is a JSON text; None: there is none."""

    key: bytes
    was: str | None
    item: StoredItem | None


Result = TypeVar("Result")
Change = Callable[[str], StoredItem]


class BaseFile:
    """Hold one project's file. Close it when done."""

    def __init__(self, file: Path, *, now: Callable[[], float] = time.time) -> None:
        """Open or create the file; `now` counts seconds since 1970. From any thread.

        Raises: HostError when it cannot be trusted to keep what it acknowledges.
        """
        self._file = file
        self._now = now
        create_file(file)
        self._reader = open_reader(file)
        self._numbers: dict[str, int] = {}
        self._committer = Committer(lambda: open_writer(file), name=file.stem)
        self._readers: list[Reader] = []
        self._pages = asyncio.Semaphore(BASE_PAGES_AT_ONCE)
        self._readers_lock = threading.Lock()
        self._closed = False

    @property
    def waiting_count(self) -> int:
        """Count the writes that wait for the disk."""
        return self._committer.waiting_count

    def list_bases(self) -> list[str]:
        """Give the names of all Bases, sorted."""
        return [
            str(row[0]) for row in self._reader.execute("SELECT name FROM bases ORDER BY name").fetchall()
        ]

    def find(self, base: str, key: bytes) -> str | None:
        """Give an item's JSON text, None when there is none or it has expired."""
        return self._find_body(self._reader, self._find_number(self._reader, base), key)

    async def put(self, base: str, items: Sequence[StoredItem]) -> None:
        """Store items, replacing those with equal keys: all of them or none."""

        def work(sql: Connection) -> None:
            self._check_room(sql, items)
            write_items(sql, self._make_number(sql, base), items)

        await self._commit(work, sum(item.size_bytes for item in items))

    async def insert(self, base: str, item: StoredItem) -> None:
        """Store an item. Raises: ConflictError when its key is taken by one that has not expired."""

        def work(sql: Connection) -> None:
            number = self._make_number(sql, base)
            if sql.execute(GET, (number, item.key, self._now())).fetchone() is not None:
                raise ConflictError("Key already exists")
            self._check_room(sql, [item])
            write_items(sql, number, [item])

        await self._commit(work, item.size_bytes)

    async def update(self, base: str, key: bytes, change: Change) -> None:
        """Replace an item by what `change` makes of its JSON text.

        Raises: NotFoundError when there is none; what `change` raises, and then the item stays as it is.
        """

        def work(sql: Connection) -> None:
            number = self._find_number(sql, base)
            found = sql.execute(GET, (number, key, self._now())).fetchone()
            if number is None or found is None:
                raise NotFoundError("Key not found")
            item = change(found[0])
            self._check_room(sql, [item])
            write_items(sql, number, [item])

        await self._commit(work, len(key))

    async def put_unchanged(self, base: str, changes: Sequence[SeenItem]) -> list[bytes]:
        """Store and delete items, all or none, if each is still as it was seen; give the keys of those that are not.

        An item that is to go and has gone is no hindrance. A key may stand in one change only.
        """

        def work(sql: Connection) -> list[bytes]:
            number = self._find_number(sql, base)
            found = {each.key: self._find_body(sql, number, each.key) for each in changes}
            others = [each.key for each in changes if not _is_as_seen(each, found[each.key])]
            if others:
                return others
            stored = [each.item for each in changes if each.item is not None]
            self._check_room(sql, stored)
            if number is not None:
                delete_items(sql, [(number, each.key) for each in changes if each.item is None])
            if stored:
                write_items(sql, self._make_number(sql, base), stored)
            return []

        return await self._commit(work, sum(each.item.size_bytes for each in changes if each.item))

    async def delete(self, base: str, key: bytes) -> None:
        """Delete an item, if there is one."""

        def work(sql: Connection) -> None:
            number = self._find_number(sql, base)
            if number is not None:
                delete_items(sql, [(number, key)])

        await self._commit(work, len(key))

    def _check_room(self, sql: Connection, items: Sequence[StoredItem]) -> None:
        """Leave some of the disk to deletions and to the host's own records: they make room again, and must be written
        themselves. What deleted items left in the file may always be used. Raises: StorageFullError.
        """
        wanted = 2 * sum(item.size_bytes for item in items) + ROOM_BYTES
        if free_bytes(self._file.parent, BASE_DISK_RESERVE_BYTES) < wanted and (
            sql.pragma("freelist_count") * sql.pragma("page_size") < wanted
        ):
            raise disk_is_full()

    async def query(self, base: str, wanted: Wanted, threads: Executor) -> Page:
        """Read a page in one of the threads, of which a project has only some. Raises: what `read_page` raises."""
        number = self._find_number(self._reader, base)
        if number is None:
            return Page("", 0, None, 0, 0, indexed=False)
        loop = asyncio.get_running_loop()
        async with self._pages:
            return await loop.run_in_executor(threads, self._read_page, number, wanted)

    async def sweep(self) -> int:
        """Delete at most SWEEP_ITEMS expired items; count them."""

        def work(sql: Connection) -> int:
            rows: list[Row] = sql.execute(
                "SELECT base, key FROM items WHERE expires IS NOT NULL AND expires <= ? LIMIT ?",
                (self._now(), SWEEP_ITEMS),
            ).fetchall()
            delete_items(sql, rows)
            return len(rows)

        query = "SELECT 1 FROM items WHERE expires IS NOT NULL AND expires <= ? LIMIT 1"
        if self._reader.execute(query, (self._now(),)).fetchone() is None:
            return 0
        return await self._commit(work)

    # Indexes

    def list_indexes(self, base: str) -> list[BaseIndex]:
        """Give a Base's indexes, sorted by path."""
        number = self._find_number(self._reader, base)
        return [] if number is None else base_indexes.read_indexes(self._reader, number)

    def has_work_on_indexes(self) -> bool:
        """Tell whether an index is being built or cleared away."""
        return base_indexes.find_unfinished(self._reader) is not None

    async def add_index(self, base: str, path: str, created_at: datetime) -> BaseIndex:
        """Declare an index, which `work_on_indexes` then builds. Raises: ConflictError, ClientError."""

        def work(sql: Connection) -> BaseIndex:
            number = self._make_number(sql, base)
            return base_indexes.add_index(sql, number, path, created_at=created_at)

        return await self._commit(work)

    async def drop_index(self, base: str, path: str) -> None:
        """Use an index no more. Raises: NotFoundError."""

        def work(sql: Connection) -> None:
            base_indexes.drop_index(sql, self._find_number(sql, base) or 0, path)

        await self._commit(work)

    async def work_on_indexes(self) -> bool:
        """Build or clear away one slice; tell whether there is more to do."""
        return await self._commit(base_indexes.work_one_slice)

    def close(self) -> None:
        """Bring everything accepted to the disk and close; may be called twice, from any thread."""
        self._committer.close()
        with self._readers_lock:
            self._closed = True
            connections = [self._reader, *(reader.sql for reader in self._readers)]
            self._readers = []
        for connection in connections:
            connection.close()

    async def _commit(self, work: Callable[[Connection], Result], size_bytes: int = 0) -> Result:
        return await self._committer.submit(work, size_bytes=size_bytes)

    def _find_body(self, sql: Connection, number: int | None, key: bytes) -> str | None:
        if number is None:
            return None
        found = sql.execute(GET, (number, key, self._now())).fetchone()
        return None if found is None else str(found[0])

    def _find_number(self, sql: Connection, base: str) -> int | None:
        number = self._numbers.get(base)
        if number is not None:
            return number
        found = sql.execute("SELECT id FROM bases WHERE name = ?", (base,)).fetchone()
        if found is None:
            return None
        if sql is self._reader:  # what the reader sees is committed
            self._numbers[base] = found[0]
        return int(found[0])

    def _make_number(self, sql: Connection, base: str) -> int:
        number = self._find_number(sql, base)
        if number is not None:
            return number
        sql.execute("INSERT INTO bases (name, created_at) VALUES (?, ?)", (base, int(self._now() * 1e6)))
        return sql.last_insert_rowid()

    def _read_page(self, number: int, wanted: Wanted) -> Page:
        reader = self._take_reader()
        try:
            reader.sql.execute("BEGIN")
            page = read_page(reader, number, wanted, now=self._now())
            reader.renew(TO_END_S)
            reader.sql.execute("COMMIT")
        except BaseException:
            reader.sql.close(True)
            raise
        self._give_reader(reader)
        return page

    def _take_reader(self) -> Reader:
        with self._readers_lock:
            if self._closed:
                raise HostError("a query came after its file was closed")
            if self._readers:
                return self._readers.pop()
        return Reader(open_reader(self._file))

    def _give_reader(self, reader: Reader) -> None:
        with self._readers_lock:
            if not self._closed and len(self._readers) < READERS_KEPT:
                self._readers.append(reader)
                return
        reader.sql.close()


def _is_as_seen(change: SeenItem, found: str | None) -> bool:
    if change.was is None or found is None:
        return found is None and (change.was is None or change.item is None)
    return is_same_text(found, change.was)


def create_file(file: Path) -> None:
    """Make the file, or bring its schema forward. Raises: HostError when it cannot be trusted."""
    sql = connect(file)
    migrate(sql, BASES, file)
    sql.close()


def open_writer(file: Path) -> Connection:
    """Open the one connection that writes."""
    sql = connect(file, create=False)
    sql.pragma("journal_size_limit", LOG_BYTES_KEPT)
    return sql


def open_reader(file: Path) -> Connection:
    """Open a connection that reads, with the functions that conditions call."""
    sql = connect(file, create=False)
    sql.pragma("query_only", True)
    sql.create_scalar_function("is_same", lambda *texts: is_same_text(*texts), 2, deterministic=True)
    sql.create_scalar_function("is_inside", lambda *texts: is_inside(*texts), 2, deterministic=True)
    return sql


def write_items(sql: Connection, number: int, items: Sequence[StoredItem]) -> None:
    """Store items and keep the indexes of their Base. The caller holds a transaction open."""
    indexes = base_indexes.read_maintained(sql, number)
    if indexes:
        for item in items:
            base_indexes.forget_item(sql, number, item.key)
    if len(items) == 1:
        item = items[0]
        sql.execute(PUT, (number, item.key, item.body, item.expires))
    else:
        sql.executemany(PUT, [(number, item.key, item.body, item.expires) for item in items])
    if indexes:
        for item in items:
            base_indexes.note_item(sql, indexes, item.key, item.body)


def delete_items(sql: Connection, items: Iterable[tuple[int, bytes]]) -> None:
    """Delete items, named by Base and key, and their entries in indexes."""
    for number, key in items:
        base_indexes.forget_item(sql, number, key)
        sql.execute("DELETE FROM items WHERE base = ? AND key = ?", (number, key))
