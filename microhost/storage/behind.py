"""Write records behind the caller's back: one thread a store, many records a commit, what waits is bounded.

Theory of operation
    `append` puts a record into a bounded queue and returns at once: it stands on the gateway's hot path. One
    writer thread takes what has gathered and writes it in one transaction (group commit), so a commit's wait
    for the disk is shared by all records of that moment. After the first record it sleeps for a while: a thread
    that wakes for every record takes the interpreter's lock from the loop thousands of times a second. When the
    disk cannot follow and the queue is full, in records or in bytes, records are dropped and counted, and the log
    says how many; serving goes on. `flush` waits until everything appended before is on the disk.
    Bytes are counted without a lock: only the loop adds to what came, only the thread to what went.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

BATCH_RECORDS = 1_000
BATCH_BYTES = 8_000_000
GATHER_S = 0.05
PRUNE_EVERY_S = 600.0
CLOSE_S = 10.0

T = TypeVar("T")

log = structlog.get_logger("events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(Generic[T]):
    """Say what a writer does: `write` a batch, `prune` what is too old or too much and count it, again after every
    `prune_after_bytes` written. `name` stands in the log.
    """

    name: str
    write: Callable[[list[T]], None]
    prune: Callable[[], int]
    queue_records: int
    queue_bytes: int
    prune_after_bytes: int
    gather_s: float = GATHER_S


class Behind(Generic[T]):
    """Hold the queue and the thread of one store. Close it to bring the last records to the disk."""

    def __init__(self, store: Store[T]) -> None:
        """Start the thread."""
        self._store = store
        self._queue: queue.SimpleQueue[tuple[T, int] | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._came_bytes = 0
        self._went_bytes = 0
        self._refused = 0
        self._failed = 0
        self._said = 0
        self._written_bytes = 0
        self._pruned_at = -PRUNE_EVERY_S
        self._thread = threading.Thread(target=self._run, name=store.name, daemon=True)
        self._thread.start()

    @property
    def dropped_count(self) -> int:
        """Count the records that were dropped since the start because the disk could not follow."""
        return self._refused + self._failed

    @property
    def waiting_bytes(self) -> int:
        """Count the bytes that wait for the disk."""
        return self._came_bytes - self._went_bytes

    def append(self, record: T, size_bytes: int) -> bool:
        """Take a record of about that size, on the event loop only. Never waits; False when it was dropped."""
        if (
            self._queue.qsize() >= self._store.queue_records
            or self.waiting_bytes + size_bytes > self._store.queue_bytes
        ):
            self._refused += 1
            return False
        self._came_bytes += size_bytes
        self._queue.put((record, size_bytes))
        return True

    def flush(self) -> None:
        """Wait until everything appended before is on the disk (or was counted as dropped)."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        if self._thread.is_alive():
            done.wait(CLOSE_S)

    def close(self) -> None:
        """Write what has gathered and end the thread; may be called twice."""
        self._queue.put(None)
        self._hurry.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        closing = False
        while not closing:
            records, waiting, size_bytes, closing = self._gather()
            self._write(records, size_bytes)
            del records  # they would live until the next ones come
            self._went_bytes += size_bytes
            for done in waiting:
                done.set()
            self._say_drops()
            if not closing:
                self._prune()

    def _gather(self) -> tuple[list[T], list[threading.Event], int, bool]:
        records: list[T] = []
        waiting: list[threading.Event] = []
        total_bytes = 0
        try:
            item = self._queue.get(timeout=PRUNE_EVERY_S)
            if isinstance(item, tuple) and self._queue.qsize() < BATCH_RECORDS:
                self._hurry.wait(self._store.gather_s)
                self._hurry.clear()
            while item is not None:
                if isinstance(item, tuple):
                    records.append(item[0])
                    total_bytes += item[1]
                else:
                    waiting.append(item)
                if len(records) >= BATCH_RECORDS or total_bytes >= BATCH_BYTES:
                    break
                item = self._queue.get_nowait()
            else:
                return records, waiting, total_bytes, True
        except queue.Empty:
            pass
        return records, waiting, total_bytes, False

    def _write(self, records: list[T], size_bytes: int) -> None:
        if not records:
            return
        try:
            self._store.write(records)
            self._written_bytes += size_bytes
        except Exception:  # a full or failing disk must not end the writer: serving goes on, the loss is said
            self._failed += len(records)
            log.exception(f"{self._store.name}_not_recorded", count=len(records))

    def _prune(self) -> None:
        now = time.monotonic()
        is_due = now - self._pruned_at >= PRUNE_EVERY_S
        if not is_due and self._written_bytes < self._store.prune_after_bytes:
            return
        self._pruned_at, self._written_bytes = now, 0
        try:
            gone = self._store.prune()
        except Exception:  # the same: pruning comes round again
            log.exception(f"{self._store.name}_not_pruned")
            return
        if gone:
            log.info(f"{self._store.name}_pruned", count=gone)

    def _say_drops(self) -> None:
        dropped = self.dropped_count
        if dropped != self._said:
            log.warning(f"{self._store.name}_dropped", count=dropped - self._said, since_start=dropped)
            self._said = dropped
