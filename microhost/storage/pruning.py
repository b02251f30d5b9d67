"""Delete a table's oldest rows in short transactions, so that a writer beside it never waits long."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microhost.storage.database import Connection, Database

BATCH_ROWS = 50
SLICE_S = 0.05
# each in the order of an index, so that nothing is sorted for a few rows
BEGUN_BEFORE = "WHERE started_at < ? ORDER BY started_at"
OF_MICRO = "WHERE micro_id = ? ORDER BY number"
OLDEST = "ORDER BY number"
PAUSE_S = 0.002  # between slices: who waits for the writer gets it

Wanted = Callable[[Connection], bool]


@dataclass(frozen=True, slots=True)
class Pruned:
    """Tell how many rows went, and whether that was all that should go."""

    count: int
    is_done: bool = True


def _always(sql: Connection) -> bool:
    return True


def prune(
    database: Database,
    table: str,
    *,
    horizon: int,
    is_known: Callable[[str], bool],
    store_bytes: int,
    deadline: float,
) -> Pruned:
    """Delete rows begun before `horizon`, then those of Micros that are gone, then the oldest until the file uses
    `store_bytes`, until about `deadline` (monotonic).
    """
    acts: list[tuple[str, tuple[object, ...], Wanted]] = [(BEGUN_BEFORE, (horizon,), _always)]
    acts += [(OF_MICRO, (each,), _always) for each in find_unknown(database, table, is_known)]
    acts.append((OLDEST, (), lambda sql: used_bytes(sql) > store_bytes))
    gone = 0
    for which, values, wanted in acts:
        pruned = delete_while(database, table, which, values, wanted, deadline=deadline)
        gone += pruned.count
        if not pruned.is_done:
            return Pruned(gone, is_done=False)
    return Pruned(gone)


def delete_while(
    database: Database,
    table: str,
    which: str,
    values: tuple[object, ...],
    wanted: Wanted = _always,
    *,
    deadline: float = math.inf,
) -> Pruned:
    """Delete the rows of `table` that `which` chooses, one of those above, as long as `wanted` says so, until about
    `deadline` (monotonic).
    """
    gone = 0
    while True:
        with database.write() as sql:
            count, is_done = _delete_slice(sql, table, which, values, wanted)
        gone += count
        if is_done or time.monotonic() >= deadline:
            return Pruned(gone, is_done)
        time.sleep(PAUSE_S)


def _delete_slice(
    sql: Connection,
    table: str,
    which: str,
    values: tuple[object, ...],
    wanted: Wanted,
) -> tuple[int, bool]:
    gone, until = 0, time.monotonic() + SLICE_S
    while wanted(sql):
        sql.execute(
            f"DELETE FROM {table} WHERE number IN"  # noqa: S608  our own constants
            f" (SELECT number FROM {table} {which} LIMIT ?)",
            (*values, BATCH_ROWS),
        )
        count = sql.changes()
        gone += count
        if count < BATCH_ROWS:
            break
        if time.monotonic() >= until:
            return gone, False
    return gone, True


def find_unknown(database: Database, table: str, is_known: Callable[[str], bool]) -> list[str]:
    """Find the Micros that have rows and are not known: those deleted while something of them was still written."""
    unknown: list[str] = []
    last = ""
    while True:
        # a seek in the index for each Micro, however many rows it has
        row = database.row(f"SELECT min(micro_id) FROM {table} WHERE micro_id > ?", (last,))  # noqa: S608
        if row is None or row[0] is None:
            return unknown
        last = str(row[0])
        if not is_known(last):
            unknown.append(last)


def make_room(sql: Connection, table: str, wanted_bytes: int) -> bool:
    """Delete the oldest rows until the file has so much room within; tell whether it has."""
    while int(sql.pragma("freelist_count")) * int(sql.pragma("page_size")) < wanted_bytes:
        sql.execute(
            f"DELETE FROM {table} WHERE number IN (SELECT number FROM {table} {OLDEST} LIMIT ?)",  # noqa: S608
            (BATCH_ROWS,),
        )
        if not sql.changes():
            return False
    return True


def free_bytes(directory: Path) -> int:
    """Count the bytes that the disk has left."""
    free = os.statvfs(directory)
    return free.f_bavail * free.f_frsize


def used_bytes(sql: Connection) -> int:
    """Count the bytes of a file that are in use: deleted rows leave room in it that is used again."""
    pages, free, size = (int(sql.pragma(name)) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size
