"""Delete a table's oldest rows in small transactions, so that a writer beside it never waits long."""

from __future__ import annotations

from collections.abc import Callable

from microhost.storage.database import Database

BATCH_ROWS = 2_000


def delete_while(
    database: Database,
    table: str,
    condition: str,
    values: tuple[object, ...],
    wanted: Callable[[], bool],
    *,
    batch_rows: int = BATCH_ROWS,
) -> int:
    """Delete the oldest rows of `table`, numbered by `number`, that meet the condition, as long as `wanted` says so;
    count them.
    """
    gone = 0
    while wanted():
        with database.write() as sql:
            sql.execute(
                f"DELETE FROM {table} WHERE number IN"  # noqa: S608  our own constants
                f" (SELECT number FROM {table} WHERE {condition} ORDER BY number LIMIT ?)",
                (*values, batch_rows),
            )
            count = sql.changes()
        gone += count
        if count == 0:
            break
    return gone


def used_bytes(database: Database) -> int:
    """Count the bytes of a file that are in use: deleted rows leave room in it that is used again."""
    pages, free, size = (
        int(row[0])
        for name in ("page_count", "freelist_count", "page_size")
        for row in database.rows(f"PRAGMA {name}")
    )
    return (pages - free) * size
