"""Find executions and read them, both within bounds: of time while others wait for the reader, and of characters in memory.

Theory of operation
    A search walks a Micro's records from the newest back, in windows of so many records that one takes about WINDOW_S: the
    reader is free between them. After SEARCH_S it stops, tells how far it came, and is continued by another call. What was found are
    numbers; the records, whose logs may be long, are read afterwards, as many as a page may hold.
    Records are numbered in the order in which they ended. So one that ended before a moment tells that all before it
    began before that moment; ENDS_LATE_S is for two hosts that write beside each other while one replaces the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from microhost.records import EventFilter, Execution
from microhost.storage.database import Database, Row
from microhost.storage.moments import from_us, to_us

COLUMNS = (
    "id, micro_id, revision_id, trigger, started_at, duration_s, queued_s, start, status, method, path,"
    " action, cause, message, log, peak_memory_bytes"
)
EVERY = EventFilter()
SEARCH_S = 0.5
WINDOW_S = 0.02
WINDOW_ROWS_FIRST = 64
WINDOW_ROWS_MIN = 16
WINDOW_ROWS_MAX = 4096
ENDS_LATE_S = 60.0
NEWEST = (1 << 63) - 1
US = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """Tell which executions were found, by their numbers, newest first. `last` is the id to continue before when there may be more."""

    numbers: list[int]
    last: str | None


def find_executions(
    database: Database,
    micro_id: str,
    *,
    limit: int,
    before: str | None,
    after: str | None,
    wanted: EventFilter,
    search_s: float,
) -> Found:
    """Find a Micro's executions that are wanted, at most `limit`, recorded between the ones with the ids `before` and `after`.

    Nothing is found before or after an id that is unknown.
    """
    high = NEWEST if before is None else find_number(database, micro_id, before)
    floor = 0 if after is None else find_number(database, micro_id, after)
    if high is None or floor is None or limit < 1:
        return Found([], None)
    deadline = time.monotonic() + search_s
    size = limit if wanted == EVERY else WINDOW_ROWS_FIRST
    numbers: list[int] = []
    while True:
        begun = time.monotonic()
        low = _find_low(database, micro_id, floor, high, size)
        if low is None:
            return Found(numbers, None)
        numbers += _list_wanted(database, micro_id, low, high, limit - len(numbers), wanted)
        high = numbers[-1] if len(numbers) >= limit else low
        lowest = _find_end(database, high)
        if lowest is None or (wanted.since is not None and lowest[1] < to_us(wanted.since)):
            return Found(numbers, None)
        if len(numbers) >= limit or time.monotonic() > deadline:
            goes_on = _find_low(database, micro_id, floor, high, 1) is not None
            return Found(numbers, lowest[0] if goes_on else None)
        size = _next_size(size, time.monotonic() - begun)


def read_executions(
    database: Database, micro_id: str, numbers: list[int], *, characters: int, oldest_first: bool = False
) -> list[tuple[int, Execution]]:
    """Read the first executions of `numbers` that are there yet: as many as hold so many characters, at least one."""
    held = 0

    def is_enough(row: Row) -> bool:
        nonlocal held
        held += len(row[10]) + len(row[13]) + len(row[14])
        return held > characters

    marks = ",".join("?" * len(numbers))
    # the plus keeps the engine from the index of Micros: it would read all of them to sort them
    rows = database.rows_within(
        f"SELECT {COLUMNS}, number FROM executions WHERE number IN ({marks}) AND +micro_id = ?"  # noqa: S608
        f" ORDER BY number {'ASC' if oldest_first else 'DESC'}",
        (*numbers, micro_id),
        is_enough,
    )
    return [(row[-1], _execution(row)) for row in rows]


def find_execution(database: Database, micro_id: str, execution_id: str) -> Execution | None:
    """Find an execution of a Micro by its id."""
    row = database.row(
        f"SELECT {COLUMNS} FROM executions WHERE id = ? AND micro_id = ?",  # noqa: S608  our own constants
        (execution_id, micro_id),
    )
    return _execution(row) if row else None


def find_number(database: Database, micro_id: str, execution_id: str) -> int | None:
    """Find the number of a Micro's execution."""
    row = database.row(
        "SELECT number FROM executions WHERE id = ? AND micro_id = ?", (execution_id, micro_id)
    )
    return int(row[0]) if row else None


def _find_low(database: Database, micro_id: str, floor: int, high: int, size: int) -> int | None:
    """Find the lowest number of a window of `size` records below `high`."""
    row = database.row(
        "SELECT min(number) FROM (SELECT number FROM executions"
        " WHERE micro_id = ? AND number > ? AND number < ? ORDER BY number DESC LIMIT ?)",
        (micro_id, floor, high, size),
    )
    return None if row is None or row[0] is None else int(row[0])


def _find_end(database: Database, number: int) -> tuple[str, int] | None:
    """Find a record's id, and the moment that it ended before."""
    row = database.row(
        "SELECT id, started_at, queued_s + duration_s FROM executions WHERE number = ?", (number,)
    )
    return (str(row[0]), row[1] + int((row[2] + ENDS_LATE_S) * US)) if row else None


def _list_wanted(
    database: Database, micro_id: str, low: int, high: int, limit: int, wanted: EventFilter
) -> list[int]:
    conditions, values = _conditions(wanted)
    rows = database.rows(
        "SELECT number FROM executions WHERE micro_id = ?1 AND number >= ?2 AND number < ?3"  # noqa: S608
        f"{conditions} ORDER BY number DESC LIMIT ?4",
        (micro_id, low, high, limit, *values),
    )
    return [row[0] for row in rows]


def _next_size(size: int, took_s: float) -> int:
    if took_s > 2 * WINDOW_S:
        return max(WINDOW_ROWS_MIN, size // 2)
    return min(WINDOW_ROWS_MAX, size * 2) if took_s < WINDOW_S / 2 else size


def _conditions(wanted: EventFilter) -> tuple[str, tuple[int | str, ...]]:
    """Give the SQL of a filter, whose first value is ?5."""
    if wanted == EVERY:
        return "", ()
    text = (
        " AND started_at >= ?5 AND status BETWEEN ?6 AND ?7 AND substr(path, 1, length(?8)) = ?8"
        " AND ?9 IN ('', method) AND ?10 IN ('', trigger)"
        " AND (?11 = '' OR cause = ?11 OR (?11 = 'any' AND cause IS NOT NULL))"
        " AND (?12 = '' OR instr(lower(path), ?12) OR instr(lower(action), ?12)"
        " OR instr(lower(message), ?12) OR instr(lower(log), ?12))"
    )
    since = 0 if wanted.since is None else to_us(wanted.since)
    return text, (
        *(since, wanted.status_from, wanted.status_to, wanted.path),
        *(wanted.method, wanted.trigger, wanted.cause, wanted.text),
    )


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
