"""Keep the record of every execution: written behind, read newest first, pruned by age and size.

Theory of operation
    `append` puts a record into a bounded queue and returns at once: it stands on the gateway's hot path. One
    writer thread takes what has gathered and commits it in one transaction (group commit), so a commit's wait
    for the disk is shared by all records of that moment. After the first record it sleeps for GATHER_S: a thread
    that wakes for every record takes the interpreter's lock from the loop thousands of times a second. When the
    disk cannot follow and the queue is full, records are dropped and counted, and the log says how many;
    serving goes on. `flush` waits until everything appended before is on the disk.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from microhost.limits import EVENT_RETENTION_DAYS
from microhost.records import EventFilter, Execution
from microhost.storage.database import Connection, Database, Row
from microhost.storage.moments import from_us, to_us
from microhost.storage.schema import EVENTS

QUEUE_RECORDS = 20_000
BATCH_RECORDS = 1_000
GATHER_S = 0.05
PRUNE_EVERY_S = 600.0
PRUNE_BATCH_RECORDS = 2_000
STORE_BYTES = 2_000_000_000
CLOSE_S = 10.0

COLUMNS = (
    "id, micro_id, revision_id, trigger, started_at, duration_s, queued_s, start, status, method, path,"
    " action, cause, message, log, peak_memory_bytes"
)

ROW_MARKS = f"({', '.join('?' * len(COLUMNS.split(',')))})"
STATEMENT_RECORDS = 100
EVERY = EventFilter()

log = structlog.get_logger("events")


def utc_now() -> datetime:
    """Give this moment, aware, in UTC."""
    return datetime.now(UTC)


class EventStore:
    """Hold the executions' store and its writer thread. Close it to bring the last records to the disk."""

    def __init__(
        self,
        file: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        queue_records: int = QUEUE_RECORDS,
        store_bytes: int = STORE_BYTES,
    ) -> None:
        """Open or create the store and start its writer."""
        self._database = Database(file, EVENTS)
        self._clock = clock
        self._queue_records = queue_records
        self._store_bytes = store_bytes
        self._queue: queue.SimpleQueue[Execution | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._dropped = 0
        self._dropped_said = 0
        self._writer = threading.Thread(target=self._write, name="events", daemon=True)
        self._writer.start()

    @property
    def dropped_count(self) -> int:
        """Count the records that were dropped since the start because the disk could not follow."""
        return self._dropped

    def append(self, execution: Execution) -> None:
        """Take a record; it is on the disk a moment later. Never waits; drops the record when the queue is
        full.
        """
        if self._queue.qsize() >= self._queue_records:
            self._dropped += 1
            return
        self._queue.put(execution)

    def flush(self) -> None:
        """Wait until everything appended before is on the disk (or was counted as dropped)."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        if not self._writer.is_alive():
            return
        done.wait(CLOSE_S)

    def close(self) -> None:
        """Write what has gathered and close the store; may be called twice."""
        self._queue.put(None)
        self._hurry.set()
        self._writer.join(CLOSE_S)
        self._database.close()

    def list_executions(
        self,
        micro_id: str,
        *,
        limit: int,
        before: str | None = None,
        after: str | None = None,
        wanted: EventFilter = EVERY,
    ) -> list[Execution]:
        """Give a Micro's executions that are wanted, newest first: those recorded before or after the one with that id."""
        conditions, values = _conditions(wanted)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM executions WHERE micro_id = ?1"  # noqa: S608  our own constants
            " AND (?2 IS NULL OR number < (SELECT number FROM executions WHERE id = ?2 AND micro_id = ?1))"
            " AND (?3 IS NULL OR number > (SELECT number FROM executions WHERE id = ?3 AND micro_id = ?1))"
            f"{conditions} ORDER BY number DESC LIMIT ?4",
            (micro_id, before, after, limit, *values),
        )
        return [_execution(row) for row in rows]

    def find_execution(self, micro_id: str, execution_id: str) -> Execution | None:
        """Find an execution of a Micro by its id."""
        row = self._database.row(
            f"SELECT {COLUMNS} FROM executions WHERE id = ? AND micro_id = ?",  # noqa: S608
            (execution_id, micro_id),
        )
        return _execution(row) if row else None

    def delete_executions(self, micro_id: str) -> None:
        """Forget all executions of a Micro."""
        self.flush()
        self._delete_while("micro_id = ?", (micro_id,), lambda: True)

    def prune(self) -> int:
        """Delete what is older than EVENT_RETENTION_DAYS, then the oldest until the store is small enough;
        count it.
        """
        horizon = to_us(self._clock() - timedelta(days=EVENT_RETENTION_DAYS))
        gone = self._delete_while("started_at < ?", (horizon,), lambda: True)
        return gone + self._delete_while("?", (True,), self._is_too_large)

    def _delete_while(self, condition: str, values: tuple[object, ...], wanted: Callable[[], bool]) -> int:
        gone = 0
        while wanted():
            with self._database.write() as sql:
                sql.execute(
                    "DELETE FROM executions WHERE number IN"  # noqa: S608  our own constants
                    f" (SELECT number FROM executions WHERE {condition} ORDER BY number LIMIT ?)",
                    (*values, PRUNE_BATCH_RECORDS),
                )
                count = sql.changes()
            gone += count
            if count == 0:
                break
        return gone

    def _is_too_large(self) -> bool:
        pages, free, size = (
            row[0]
            for name in ("page_count", "freelist_count", "page_size")
            for row in self._database.rows(f"PRAGMA {name}")
        )
        return bool((pages - free) * size > self._store_bytes)

    def _write(self) -> None:
        last_prune = -PRUNE_EVERY_S
        while True:
            records, waiting, closing = self._gather()
            self._commit(records)
            for done in waiting:
                done.set()
            self._say_drops()
            if closing:
                return
            if self._clock().timestamp() - last_prune >= PRUNE_EVERY_S:
                last_prune = self._clock().timestamp()
                self._prune_quietly()

    def _gather(self) -> tuple[list[Execution], list[threading.Event], bool]:
        records: list[Execution] = []
        waiting: list[threading.Event] = []
        try:
            item = self._queue.get(timeout=PRUNE_EVERY_S)
            if isinstance(item, Execution) and self._queue.qsize() < BATCH_RECORDS:
                self._hurry.wait(GATHER_S)
                self._hurry.clear()
            while item is not None:
                if isinstance(item, Execution):
                    records.append(item)
                else:
                    waiting.append(item)
                if len(records) >= BATCH_RECORDS:
                    break
                item = self._queue.get_nowait()
            else:
                return records, waiting, True
        except queue.Empty:
            pass
        return records, waiting, False

    def _commit(self, records: list[Execution]) -> None:
        if not records:
            return
        try:
            with self._database.write() as sql:
                _insert(sql, records)
        except Exception:  # a full or failing disk must not end the writer: serving goes on, the loss is said
            self._dropped += len(records)
            log.exception("executions_not_recorded", count=len(records))

    def _prune_quietly(self) -> None:
        try:
            gone = self.prune()
        except Exception:  # the same: pruning comes round again
            log.exception("executions_not_pruned")
            return
        if gone:
            log.info("executions_pruned", count=gone)

    def _say_drops(self) -> None:
        dropped = self._dropped
        if dropped != self._dropped_said:
            log.warning("executions_dropped", count=dropped - self._dropped_said, since_start=dropped)
            self._dropped_said = dropped


def _conditions(wanted: EventFilter) -> tuple[str, tuple[int | str, ...]]:
    """Give the SQL of a filter, whose first value is ?5. A moment bounds the numbers to walk, found in the index
    alone: otherwise a quiet Micro's whole past would be read for its last minute.
    """
    since = 0 if wanted.since is None else to_us(wanted.since)
    bound = (
        " AND number >= (SELECT min(number) FROM executions WHERE micro_id = ?1 AND started_at >= ?5)"
        if wanted.since is not None
        else ""
    )
    text = (
        f"{bound} AND started_at >= ?5 AND status BETWEEN ?6 AND ?7 AND substr(path, 1, length(?8)) = ?8"
        if wanted != EVERY
        else ""
    )
    return text, (since, wanted.status_from, wanted.status_to, wanted.path) if text else ()


def _batched(records: list[Execution], count: int) -> Iterator[list[Execution]]:
    return (records[start : start + count] for start in range(0, len(records), count))


def _insert(sql: Connection, records: list[Execution]) -> None:
    """Insert many rows a statement: each statement gives the interpreter's lock up once and has to win it back
    from a busy loop once.
    """
    for piece in _batched(records, STATEMENT_RECORDS):
        marks = ", ".join([ROW_MARKS] * len(piece))
        values = tuple(value for each in piece for value in _values(each))
        sql.execute(f"INSERT OR IGNORE INTO executions ({COLUMNS}) VALUES {marks}", values)  # noqa: S608  our own constants


def _values(each: Execution) -> tuple[str | int | float | None, ...]:
    return (
        *(each.id, each.micro_id, each.revision_id, each.trigger, to_us(each.started_at)),
        *(float(each.duration_s), float(each.queued_s), each.start, each.status, _text(each.method)),
        *(_text(each.path), _text(each.action), each.cause, _text(each.message), _text(each.log)),
        each.peak_memory_bytes,
    )


def _text(value: str) -> str:
    """Replace lone surrogates, which no text file holds: what a Micro prints need not be valid text."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _execution(row: Row) -> Execution:
    return Execution(
        id=row[0],
        micro_id=row[1],
        revision_id=row[2],
        trigger=row[3],
        started_at=from_us(row[4]),
        duration_s=row[5],
        queued_s=row[6],
        start=row[7],
        status=row[8],
        method=row[9],
        path=row[10],
        action=row[11],
        cause=row[12],
        message=row[13],
        log=row[14],
        peak_memory_bytes=row[15],
    )
