"""Keep the record of every execution: written behind, read newest first, pruned by age and size.

`append` stands on the hot path and never waits: `behind.py` tells how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from microhost.limits import EVENT_RETENTION_DAYS
from microhost.records import EventFilter, Execution
from microhost.storage.behind import Behind, Store
from microhost.storage.database import Connection, Database, Row
from microhost.storage.moments import from_us, to_us
from microhost.storage.pruning import delete_while, used_bytes
from microhost.storage.schema import EVENTS

QUEUE_RECORDS = 20_000
QUEUE_BYTES = 64_000_000
STORE_BYTES = 2_000_000_000
RECORD_BYTES = 600  # about, without its texts
PRUNE_AFTER_BYTES = 64_000_000

COLUMNS = (
    "id, micro_id, revision_id, trigger, started_at, duration_s, queued_s, start, status, method, path,"
    " action, cause, message, log, peak_memory_bytes"
)

ROW_MARKS = f"({', '.join('?' * len(COLUMNS.split(',')))})"
STATEMENT_RECORDS = 100
SEARCH_ROWS = 20_000
SEARCH_WINDOW_ROWS = 500  # while these are read, other readers wait
EVERY = EventFilter()


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
    ) -> None:
        """Open or create the store and start its writer."""
        self._database = Database(file, EVENTS)
        self._clock = clock
        self._store_bytes = store_bytes
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

    def append(self, execution: Execution) -> None:
        """Take a record; it is on the disk a moment later. Never waits; drops the record when the queue is
        full.
        """
        size_bytes = RECORD_BYTES + len(execution.log) + len(execution.path) + len(execution.message)
        self._behind.append(execution, size_bytes)

    def flush(self) -> None:
        """Wait until everything appended before is on the disk (or was counted as dropped)."""
        self._behind.flush()

    def close(self) -> None:
        """Write what has gathered and close the store; may be called twice."""
        self._behind.close()
        self._database.close()

    def list_executions(
        self,
        micro_id: str,
        *,
        limit: int,
        before: str | None = None,
        after: str | None = None,
        down_to: str | None = None,
        wanted: EventFilter = EVERY,
    ) -> list[Execution]:
        """Give a Micro's executions that are wanted, newest first: those recorded before or after the one with that id,
        and none older than `down_to`.
        """
        conditions, values = _conditions(wanted)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM executions WHERE micro_id = ?1"  # noqa: S608  our own constants
            " AND (?2 IS NULL OR number < (SELECT number FROM executions WHERE id = ?2 AND micro_id = ?1))"
            " AND (?3 IS NULL OR number > (SELECT number FROM executions WHERE id = ?3 AND micro_id = ?1))"
            " AND (?5 IS NULL OR number >= (SELECT number FROM executions WHERE id = ?5 AND micro_id = ?1))"
            f"{conditions} ORDER BY number DESC LIMIT ?4",
            (micro_id, before, after, limit, down_to, *values),
        )
        return [_execution(row) for row in rows]

    def search(
        self, micro_id: str, *, limit: int, before: str | None = None, wanted: EventFilter = EVERY
    ) -> tuple[list[Execution], str | None]:
        """Give a Micro's executions that are wanted, newest first, and the id to continue before when there may be more.

        Texts are looked for in at most SEARCH_ROWS records a call: then there may be few found, or none, and yet more.
        """
        if not wanted.text:
            found = self.list_executions(micro_id, limit=limit + 1, before=before, wanted=wanted)
            return found[:limit], found[limit - 1].id if len(found) > limit else None
        found = []
        for _ in range(SEARCH_ROWS // SEARCH_WINDOW_ROWS):
            window = self._database.rows(
                "SELECT id FROM executions WHERE micro_id = ?1 AND (?2 IS NULL OR number <"
                " (SELECT number FROM executions WHERE id = ?2 AND micro_id = ?1)) ORDER BY number DESC LIMIT ?3",
                (micro_id, before, SEARCH_WINDOW_ROWS),
            )
            if not window:
                return found, None
            last = str(window[-1][0])
            found += self.list_executions(
                micro_id, limit=limit + 1 - len(found), before=before, down_to=last, wanted=wanted
            )
            if len(found) > limit:
                return found[:limit], found[limit - 1].id
            before = last
        return found, before

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
        return delete_while(self._database, "executions", condition, values, wanted)

    def _is_too_large(self) -> bool:
        return used_bytes(self._database) > self._store_bytes

    def _commit(self, records: list[Execution]) -> None:
        with self._database.write() as sql:
            _insert(sql, records)


def _conditions(wanted: EventFilter) -> tuple[str, tuple[int | str, ...]]:
    """Give the SQL of a filter, whose first value is ?6. A moment bounds the numbers to walk, found in the index
    alone: otherwise a quiet Micro's whole past would be read for its last minute.
    """
    if wanted == EVERY:
        return "", ()
    bound = (
        " AND number >= (SELECT min(number) FROM executions WHERE micro_id = ?1 AND started_at >= ?6)"
        if wanted.since is not None
        else ""
    )
    text = (
        f"{bound} AND started_at >= ?6 AND status BETWEEN ?7 AND ?8 AND substr(path, 1, length(?9)) = ?9"
        " AND ?10 IN ('', method) AND ?11 IN ('', trigger)"
        " AND (?12 = '' OR cause = ?12 OR (?12 = 'any' AND cause IS NOT NULL))"
        " AND (?13 = '' OR instr(lower(path), ?13) OR instr(lower(action), ?13)"
        " OR instr(lower(message), ?13) OR instr(lower(log), ?13))"
    )
    since = 0 if wanted.since is None else to_us(wanted.since)
    values = (since, wanted.status_from, wanted.status_to, wanted.path)
    return text, (*values, wanted.method, wanted.trigger, wanted.cause, wanted.text)


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
