"""Keep the record of every execution: written behind, read newest first, pruned by age and size.

`append` stands on the hot path and never waits: `behind.py` tells how. On a disk with little left the store grows no more: the oldest
records make room for the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from microhost.errors import HostError
from microhost.limits import EVENT_RETENTION_DAYS, EVENTS_DISK_RESERVE_BYTES, EVENTS_PAGE_CHARACTERS
from microhost.records import EventFilter, Execution
from microhost.storage.behind import Behind, Store
from microhost.storage.database import Connection, Database
from microhost.storage.event_search import (
    COLUMNS,
    EVERY,
    SEARCH_S,
    Found,
    find_execution,
    find_executions,
    find_number,
    read_executions,
)
from microhost.storage.minutes import MINUTE_US, Minute, add_minutes, list_minutes
from microhost.storage.moments import to_us
from microhost.storage.pruning import (
    OF_MICRO,
    Pruned,
    delete_while,
    find_unknown,
    free_bytes,
    make_room,
    prune,
    used_bytes,
)
from microhost.storage.schema import EVENTS

QUEUE_RECORDS = 20_000
QUEUE_BYTES = 64_000_000
STORE_BYTES = 2_000_000_000
LEAST_BYTES = 8_000_000  # however little the disk has
ROOM_SHARE = 2  # pages and indexes take more than texts
RECORD_BYTES = 600  # about, without its texts
PRUNE_AFTER_BYTES = 64_000_000

ROW_MARKS = f"({', '.join('?' * len(COLUMNS.split(',')))})"
STATEMENT_RECORDS = 100


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
        queue_bytes: int = QUEUE_BYTES,
        store_bytes: int = STORE_BYTES,
        reserve_bytes: int = EVENTS_DISK_RESERVE_BYTES,
        search_s: float = SEARCH_S,
        is_known: Callable[[str], bool] = lambda micro_id: True,
    ) -> None:
        """Open or create the store and start its writer; `is_known` tells whether a Micro is there yet."""
        self._database = Database(file, EVENTS)
        self._clock = clock
        self._store_bytes = store_bytes
        self._directory = file.parent
        self._reserve_bytes = reserve_bytes
        self._search_s = search_s
        self._is_known = is_known
        self._behind = Behind(
            Store(
                name="executions",
                write=self._commit,
                prune=self.prune,
                queue_records=queue_records,
                queue_bytes=queue_bytes,
                prune_after_bytes=PRUNE_AFTER_BYTES,
            )
        )

    @property
    def dropped_count(self) -> int:
        """Count the records that were dropped since the start because the disk could not follow."""
        return self._behind.dropped_count

    @property
    def waiting_bytes(self) -> int:
        """Count the bytes that wait for the disk."""
        return self._behind.waiting_bytes

    def append(self, execution: Execution) -> None:
        """Take a record; it is on the disk a moment later. Never waits; drops the record when the queue is
        full.
        """
        self._behind.append(execution, _size_of(execution))

    def flush(self) -> None:
        """Wait until everything appended before is on the disk (or was counted as dropped)."""
        self._behind.flush()

    def close(self) -> None:
        """Write what has gathered and close the store; may be called twice."""
        self._behind.close()
        self._database.close()

    def find(
        self,
        micro_id: str,
        *,
        limit: int,
        before: str | None = None,
        after: str | None = None,
        wanted: EventFilter = EVERY,
    ) -> Found:
        """Find a Micro's executions that are wanted, newest first, recorded between the ones with these ids.

        It takes about SEARCH_S at most: then there may be few found, or none, and yet more.
        """
        return find_executions(
            self._database,
            micro_id,
            limit=limit,
            before=before,
            after=after,
            wanted=wanted,
            search_s=self._search_s,
        )

    def read(
        self,
        micro_id: str,
        numbers: list[int],
        *,
        characters: int = EVENTS_PAGE_CHARACTERS,
        oldest_first: bool = False,
    ) -> list[tuple[int, Execution]]:
        """Read the first executions of `numbers`: as many as hold so many characters, at least one."""
        return read_executions(
            self._database, micro_id, numbers, characters=characters, oldest_first=oldest_first
        )

    def search(
        self, micro_id: str, *, limit: int, before: str | None = None, wanted: EventFilter = EVERY
    ) -> tuple[list[Execution], str | None]:
        """Give a Micro's executions that are wanted, newest first, and the id to continue before when there may be more.

        A page ends early when it holds EVENTS_PAGE_CHARACTERS, or has taken SEARCH_S: it may hold few, or none.
        """
        found = self.find(micro_id, limit=limit, before=before, wanted=wanted)
        page = self.read(micro_id, found.numbers)
        executions = [each for _, each in page]
        is_cut = bool(page) and page[-1][0] != found.numbers[-1]
        return executions, executions[-1].id if is_cut else found.last

    def find_execution(self, micro_id: str, execution_id: str) -> Execution | None:
        """Find an execution of a Micro by its id."""
        return find_execution(self._database, micro_id, execution_id)

    def is_kept(self, micro_id: str, execution_id: str) -> bool:
        """Tell whether a Micro's execution is on record."""
        return find_number(self._database, micro_id, execution_id) is not None

    def delete_executions(self, micro_id: str) -> None:
        """Forget all executions of a Micro."""
        self.flush()
        delete_while(self._database, "executions", OF_MICRO, (micro_id,))
        self._delete_minutes(micro_id)

    def list_minutes(self, micro_id: str, *, since: datetime) -> list[Minute]:
        """Give the figures of a Micro's minutes, oldest first; minutes without an execution are not among them."""
        return list_minutes(self._database, micro_id, since=since)

    def prune(self, deadline: float = math.inf) -> Pruned:
        """Delete what is older than EVENT_RETENTION_DAYS, then what is of Micros that are gone, then the oldest until the store
        is small enough, until about `deadline` (monotonic).
        """
        horizon = to_us(self._clock() - timedelta(days=EVENT_RETENTION_DAYS))
        with self._database.write() as sql:
            sql.execute("DELETE FROM minutes WHERE minute < ?", (horizon // MINUTE_US,))
        for micro_id in find_unknown(self._database, "minutes", self._is_known):
            self._delete_minutes(micro_id)
        return prune(
            self._database,
            "executions",
            horizon=horizon,
            is_known=self._is_known,
            store_bytes=self._store_bytes,
            deadline=deadline,
        )

    def _delete_minutes(self, micro_id: str) -> None:
        with self._database.write() as sql:
            sql.execute("DELETE FROM minutes WHERE micro_id = ?", (micro_id,))

    def _commit(self, records: list[Execution]) -> None:
        is_scarce = free_bytes(self._directory) < self._reserve_bytes
        with self._database.write() as sql:
            if is_scarce and used_bytes(sql) > LEAST_BYTES:
                _make_room(sql, records)
            _insert(sql, records)
            add_minutes(sql, records)


def _make_room(sql: Connection, records: list[Execution]) -> None:
    if not make_room(sql, "executions", ROOM_SHARE * sum(map(_size_of, records))):
        raise HostError("the disk is nearly full; what is left is for what must be kept")


def _size_of(each: Execution) -> int:
    return RECORD_BYTES + len(each.log) + len(each.path) + len(each.message)


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
