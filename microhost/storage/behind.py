"""Write records behind the caller's back: one thread a store, many records a commit, what waits is bounded.

Theory of operation
    `append` puts a record into a bounded queue and returns at once: it stands on the gateway's hot path. One
    writer thread takes what has gathered and writes it in one transaction (group commit), so a commit's wait
    for the disk is shared by all records of that moment. After the first record it sleeps for a while: a thread
    that wakes for every record takes the interpreter's lock from the loop thousands of times a second. When the
    disk cannot follow and the queue is full, in records or in bytes, records are dropped and counted, and the log
    says how many; serving goes on. `flush` waits until everything appended before is on the disk. What is too old or too
    much is deleted in turns of PRUNE_S, between which the thread writes: a long deletion drops no record.
    Bytes are counted without a lock: only the loop adds to what came, only the thread to what went.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import apsw
import structlog

from microhost.errors import HostError
from microhost.storage.pruning import Pruned

BATCH_RECORDS = 1_000
BATCH_BYTES = 8_000_000
GATHER_S = 0.05
PRUNE_EVERY_S = 600.0
PRUNE_S = 0.25
PRUNE_PAUSE_S = 0.05
SAY_EVERY_S = 60.0
CLOSE_S = 10.0

T = TypeVar("T")

log = structlog.get_logger("events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store(Generic[T]):
    """Say what a writer does: `write` a batch, `prune` what is too old or too much until about a moment (monotonic), again
    after every `prune_after_bytes` written. `name` stands in the log.
    """

    name: str
    write: Callable[[list[T]], None]
    prune: Callable[[float], Pruned]
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
        self._said_at = -SAY_EVERY_S
        self._why = ""
        self._written_bytes = 0
        self._pruned_at = -PRUNE_EVERY_S
        self._pruned_count = 0
        self._prunes_on = False
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
            self._say_drops(at_last=closing)
            if not closing:
                self._prune()

    def _gather(self) -> tuple[list[T], list[threading.Event], int, bool]:
        records: list[T] = []
        waiting: list[threading.Event] = []
        total_bytes = 0
        try:
            item = self._queue.get(timeout=self._wait_s())
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

    def _wait_s(self) -> float:
        if self._prunes_on:
            return PRUNE_PAUSE_S
        return SAY_EVERY_S if self.dropped_count != self._said else PRUNE_EVERY_S

    def _write(self, records: list[T], size_bytes: int) -> None:
        if not records:
            return
        try:
            self._store.write(records)
            self._written_bytes += size_bytes
        except (
            Exception
        ) as error:  # a full or failing disk must not end the writer: serving goes on, the loss is said
            self._failed += len(records)
            self._why = _one_sentence(error)

    def _prune(self) -> None:
        now = time.monotonic()
        is_due = now - self._pruned_at >= PRUNE_EVERY_S
        if not (is_due or self._prunes_on or self._written_bytes >= self._store.prune_after_bytes):
            return
        self._pruned_at, self._written_bytes, self._prunes_on = now, 0, False
        try:
            pruned = self._store.prune(now + PRUNE_S)
        except Exception as error:  # the same: pruning comes round again
            log.warning(f"{self._store.name}_not_pruned", why=_one_sentence(error))
            return
        self._pruned_count += pruned.count
        self._prunes_on = not pruned.is_done
        if self._pruned_count and pruned.is_done:
            log.info(f"{self._store.name}_pruned", count=self._pruned_count)
            self._pruned_count = 0

    def _say_drops(self, *, at_last: bool = False) -> None:
        """Say at once what is dropped first, and what follows once in SAY_EVERY_S: a full disk would fill its own log."""
        dropped, now = self.dropped_count, time.monotonic()
        if dropped == self._said or (now - self._said_at < SAY_EVERY_S and not at_last):
            return
        why = self._why or "more came than the disk could take"
        log.warning(f"{self._store.name}_dropped", count=dropped - self._said, since_start=dropped, why=why)
        self._said, self._said_at, self._why = dropped, now, ""


def _one_sentence(error: Exception) -> str:
    """Tell what a failing disk said; a fault of our own is told with its place."""
    if isinstance(error, (OSError, HostError, apsw.Error)):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
