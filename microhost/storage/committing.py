"""Commit many callers' writes together: each on its own, all with one wait for the disk.

Theory of operation
    A `Committer` has one thread and the one writing connection of a file. Callers on an event loop hand it small
    pieces of work; the thread takes all that has gathered, runs each in a savepoint of one transaction, commits,
    and only then settles the callers' futures, all of a batch by one call into their loop. While the disk is
    waited for, the next batch gathers: no timer is needed. What a piece of work refuses (any exception of its
    own) undoes that piece alone. What the engine or the disk refuses undoes the whole batch: everybody in it is
    told so, and the connection is opened anew, because after a failed fsync its state is not to be trusted.
    The file's readers stay open meanwhile: so the log's index stays in memory, the frames of the failed commit
    are not taken up by a recovery, and the next commit overwrites them.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw
import structlog

from microhost.errors import HostError, OverloadedError, StorageFullError
from microhost.limits import BASE_WRITES_WAITING, BASE_WRITES_WAITING_BYTES
from microhost.storage.database import Connection

BATCH_WORKS = 512
BATCH_BYTES = 32 * 1024 * 1024
CLOSE_S = 60.0

Result = TypeVar("Result")
Work = Callable[[Connection], Any]
log = structlog.get_logger("committing")


@dataclass(slots=True)
class _Waiting:
    work: Work
    size_bytes: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Committer:
    """Hold a file's writing thread. Close it to bring everything accepted to the disk."""

    def __init__(self, open_writer: Callable[[], Connection], *, name: str) -> None:
        """Open the writing connection and start the thread. Raises: what `open_writer` raises."""
        self._open_writer = open_writer
        self._connection: Connection | None = open_writer()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._accepting = threading.Lock()
        self._closed = False
        self._count = 0
        self._bytes = 0
        self._thread = threading.Thread(target=self._run, name=f"commit {name}", daemon=True)
        self._thread.start()

    @property
    def waiting_count(self) -> int:
        """Count the pieces of work that were accepted and are not settled yet."""
        return self._count

    def submit(self, work: Callable[[Connection], Result], *, size_bytes: int = 0) -> asyncio.Future[Result]:
        """Take a piece of work; the future is settled after it is on the disk, with what it gave or raised.

        Called on a running event loop. A future that nobody waits for any more does not stop the work.
        Raises: OverloadedError when the disk does not follow; HostError when closed.
        """
        if self._count >= BASE_WRITES_WAITING or (
            self._count and self._bytes + size_bytes > BASE_WRITES_WAITING_BYTES
        ):
            raise OverloadedError("Too many writes wait for the disk. Try again in a second.")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(work, size_bytes, loop, loop.create_future())
        with self._accepting:
            if self._closed:
                raise HostError("a write came after its file was closed")
            self._count += 1
            self._bytes += size_bytes
            self._queue.put(waiting)
        return waiting.future

    def close(self) -> None:
        """Commit what was accepted, refuse more and end the thread; may be called twice, from any thread."""
        with self._accepting:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._gather()
            try:
                self._commit(batch)
            except BaseException as error:  # the loop must survive one bad batch; its callers are told
                for each in batch:
                    each.error = _failure(error)
                log.exception("writes_failed", count=len(batch))
                self._give_up_connection()
            self._deliver(batch)
        if self._connection is not None:
            self._connection.close()

    def _gather(self) -> tuple[list[_Waiting], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        batch, size_bytes = [first], first.size_bytes
        while len(batch) < BATCH_WORKS and size_bytes < BATCH_BYTES:
            try:
                each = self._queue.get_nowait()
            except queue.Empty:
                break
            if each is None:
                return batch, True
            batch.append(each)
            size_bytes += each.size_bytes
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        if self._connection is None:
            self._connection = self._open_writer()
        sql = self._connection
        sql.execute("BEGIN IMMEDIATE")
        for each in batch:
            self._try(sql, each)
        sql.execute("COMMIT")

    def _try(self, sql: Connection, waiting: _Waiting) -> None:
        sql.execute("SAVEPOINT piece")
        try:
            waiting.result = waiting.work(sql)
        except apsw.Error:
            raise
        except Exception as error:  # the piece's own refusal: it goes to its caller
            sql.execute("ROLLBACK TO piece")
            waiting.error = error
        sql.execute("RELEASE piece")

    def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            log.exception("rollback_failed")
        try:
            connection.close(True)
        except apsw.Error:
            log.exception("close_failed")

    def _deliver(self, batch: list[_Waiting]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
        for each in batch:
            by_loop.setdefault(each.loop, []).append(each)
        with self._accepting:
            self._count -= len(batch)
            self._bytes -= sum(each.size_bytes for each in batch)
        for loop, settled in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, settled)
            except RuntimeError:  # the loop has ended: nobody waits any more, the writes stand
                log.info("nobody_waits", count=len(settled))


def _settle(batch: list[_Waiting]) -> None:
    for each in batch:
        if each.future.done():
            continue
        if each.error is None:
            each.future.set_result(each.result)
        else:
            each.future.set_exception(each.error)


def _failure(error: BaseException) -> HostError:
    if isinstance(error, apsw.FullError):
        failure: HostError = disk_is_full()
    else:
        failure = HostError(f"a write could not be brought to the disk: {error}")
    failure.__cause__ = error
    return failure


def disk_is_full() -> StorageFullError:
    """Make the refusal of what has no room on the disk."""
    return StorageFullError("The disk is full; nothing was stored. Free some space, then try again.")
