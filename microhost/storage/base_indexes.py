"""Keep declared indexes of Bases, and build them in slices between other writes.

An index on a path has an entry for every item in which a number, string, boolean or null stands at that path. While
it is being built every write keeps it already, so the builder, which goes through the keys once, may meet an item
before or after such a write. When it has come to the end the index is `ready`, and only then is it read. A dropped
one is not read from the same commit on; its entries are cleared away in slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from microhost.errors import ClientError, ConflictError, NotFoundError
from microhost.limits import BASE_INDEXES
from microhost.storage.comparing import find, to_indexed
from microhost.storage.database import Connection, Row
from microhost.storage.moments import from_us, to_us

SLICE_ITEMS = 500
SLICE_BYTES = 1_000_000
SLICE_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class BaseIndex:
    """Show an index of a Base."""

    path: str
    state: Literal["building", "ready"]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Maintained:
    """Name an index that writes must keep."""

    number: int
    path: tuple[str, ...]


def read_indexes(sql: Connection, base: int) -> list[BaseIndex]:
    """Give a Base's indexes, sorted by path."""
    rows: list[Row] = sql.execute(
        "SELECT path, state, created_at FROM indexes WHERE base = ? AND state <> 'dropped' ORDER BY path",
        (base,),
    ).fetchall()
    return [BaseIndex(path, state, from_us(created_at)) for path, state, created_at in rows]


def read_maintained(sql: Connection, base: int) -> list[Maintained]:
    """Give the indexes that a write into a Base must keep."""
    rows: list[Row] = sql.execute(
        "SELECT id, path FROM indexes WHERE base = ? AND state <> 'dropped'", (base,)
    ).fetchall()
    return [Maintained(number, tuple(path.split("."))) for number, path in rows]


def add_index(sql: Connection, base: int, path: str, *, created_at: datetime) -> BaseIndex:
    """Declare an index, to be built. Raises: ConflictError when it is there; ClientError for too many."""
    present = read_indexes(sql, base)
    if any(index.path == path for index in present):
        raise ConflictError(f"There is an index on '{path}' already.")
    if len(present) >= BASE_INDEXES:
        raise ClientError(f"A Base may have at most {BASE_INDEXES} indexes. Delete one first.")
    sql.execute(
        "INSERT INTO indexes (base, path, state, built_to, created_at) VALUES (?, ?, 'building', x'', ?)",
        (base, path, to_us(created_at)),
    )
    return BaseIndex(path, "building", created_at)


def drop_index(sql: Connection, base: int, path: str) -> None:
    """Read an index no more. Raises: NotFoundError."""
    sql.execute(
        "UPDATE indexes SET state = 'dropped' WHERE base = ? AND path = ? AND state <> 'dropped'",
        (base, path),
    )
    if sql.changes() == 0:
        raise NotFoundError(f"There is no index on '{path}'.")


def forget_item(sql: Connection, base: int, key: bytes) -> None:
    """Take an item, as it is stored now, out of the indexes."""
    indexes = read_maintained(sql, base)
    if not indexes:
        return
    found = sql.execute("SELECT body FROM items WHERE base = ? AND key = ?", (base, key)).fetchone()
    if found is None:
        return
    item = msgspec.json.decode(found[0])
    for index in indexes:
        value = to_indexed(find(item, index.path))
        if value is not None:
            sql.execute(
                "DELETE FROM entries WHERE number = ? AND value = ? AND key = ?", (index.number, value, key)
            )


def note_item(sql: Connection, indexes: Sequence[Maintained], key: bytes, body: str) -> None:
    """Put an item into the indexes; nothing happens where it is in them already."""
    item = msgspec.json.decode(body)
    for index in indexes:
        value = to_indexed(find(item, index.path))
        if value is not None:
            sql.execute(
                "INSERT OR IGNORE INTO entries (number, value, key) VALUES (?, ?, ?)",
                (index.number, value, key),
            )


def find_unfinished(sql: Connection) -> int | None:
    """Give the number of an index that is to be built or cleared away."""
    found = sql.execute("SELECT id FROM indexes WHERE state <> 'ready' LIMIT 1").fetchone()
    return None if found is None else int(found[0])


def work_one_slice(sql: Connection) -> bool:
    """Build or clear away one slice of one index; tell whether there is more to do."""
    number = find_unfinished(sql)
    if number is None:
        return False
    found = sql.execute("SELECT base, path, state, built_to FROM indexes WHERE id = ?", (number,)).fetchone()
    assert found is not None
    base, path, state, built_to = found
    if state == "dropped":
        _clear_slice(sql, number)
    else:
        _build_slice(sql, base, Maintained(number, tuple(path.split("."))), built_to)
    return find_unfinished(sql) is not None


def _build_slice(sql: Connection, base: int, index: Maintained, built_to: bytes) -> None:
    size_bytes = 0
    last = None
    rows = sql.execute(
        "SELECT key, body FROM items WHERE base = ? AND key > ? ORDER BY key LIMIT ?",
        (base, built_to, SLICE_ITEMS),
    )
    for key, body in rows:
        note_item(sql, [index], key, body)
        last, size_bytes = key, size_bytes + len(body)
        if size_bytes >= SLICE_BYTES:
            break
    rows.close(True)
    if last is None:
        sql.execute("UPDATE indexes SET state = 'ready' WHERE id = ?", (index.number,))
    else:
        sql.execute("UPDATE indexes SET built_to = ? WHERE id = ?", (last, index.number))


def _clear_slice(sql: Connection, number: int) -> None:
    sql.execute(
        "DELETE FROM entries WHERE (number, value, key) IN"
        " (SELECT number, value, key FROM entries WHERE number = ? LIMIT ?)",
        (number, SLICE_ENTRIES),
    )
    if sql.changes() == 0:
        sql.execute("DELETE FROM indexes WHERE id = ?", (number,))
