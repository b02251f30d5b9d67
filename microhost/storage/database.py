"""Open one database file so that an acknowledged write survives a power cut, and bring its schema forward.

Theory of operation
    One writing and one reading connection a file. The log is written ahead, and a commit returns only when
    it is on the disk. Reads take microseconds and may stand on the event loop; a write waits for the disk
    (0.1 to 10 ms), so callers on the loop make it from a thread. Each connection has a lock of its own:
    readers never wait for a writer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from microhost.errors import HostError, StorageFullError

BUSY_TIMEOUT_MS = 10_000
SYNCHRONOUS_FULL = 2

Row = tuple[Any, ...]
Connection = apsw.Connection
IntegrityError = apsw.ConstraintError


class Database:
    """Hold one file's connections. Close it when done; a closed one refuses everything."""

    def __init__(self, file: Path, migrations: Sequence[str]) -> None:
        """Open or create `file` (0600) and run the migrations it has not seen, each in a transaction of its
        own.

        Raises: HostError when the file cannot promise durability, or was written by a newer version.
        """
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._writer = connect(file)
        self._writing = threading.RLock()
        migrate(self._writer, migrations, file)
        self._reader = connect(file)
        self._reader.pragma("query_only", True)
        self._reading = threading.Lock()

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """Give the writing connection inside a transaction: durable when the block ends, undone when it
        raises. Raises: StorageFullError.
        """
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                # a full disk undoes the transaction by itself; a commit that failed otherwise leaves it open
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, apsw.FullError):
                    raise StorageFullError("The host's disk is full; nothing was changed.") from error
                raise

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Read all rows of a query."""
        with self._reading:
            return self._reader.execute(query, tuple(values)).fetchall()

    def rows_within(
        self, query: str, values: Sequence[object], is_beyond: Callable[[Row], bool]
    ) -> list[Row]:
        """Read rows of a query up to the first that `is_beyond` the bound; the very first one in any case."""
        found: list[Row] = []
        with self._reading:
            cursor = self._reader.execute(query, tuple(values))
            for row in cursor:
                if is_beyond(row) and found:
                    break
                found.append(row)
            cursor.close(True)
        return found

    def row(self, query: str, values: Sequence[object] = ()) -> Row | None:
        """Read the first row of a query, None when there is none."""
        rows = self.rows(query, values)
        return rows[0] if rows else None

    def close(self) -> None:
        """Close both connections; may be called twice."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()


def remove_database(file: Path) -> None:
    """Delete a database with its log; the file itself last: by it a deletion that was killed is found again."""
    for suffix in ("-wal", "-shm", ""):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def connect(file: Path, *, create: bool = True) -> apsw.Connection:
    """Open one connection that keeps what it acknowledges; without `create`, only to a file that is there.

    Raises: HostError when the file cannot promise that; apsw.CantOpenError.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(file), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    _write_ahead(connection)
    connection.pragma("synchronous", "full")
    connection.pragma("foreign_keys", True)
    _require(connection, file, "journal_mode", "wal")
    _require(connection, file, "synchronous", SYNCHRONOUS_FULL)
    _require(connection, file, "foreign_keys", 1)
    return connection


def _write_ahead(connection: apsw.Connection) -> None:
    """Write the log ahead. Two hosts that make the same file at once get in each other's way here, and the
    engine does not wait by itself.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.005)


def _require(connection: apsw.Connection, file: Path, name: str, wanted: object) -> None:
    given = connection.pragma(name)
    if given != wanted:
        connection.close()
        raise HostError(
            f"'{file.name}': {name} is {given!r}, {wanted!r} is needed to keep what was acknowledged"
        )


def migrate(connection: apsw.Connection, migrations: Sequence[str], file: Path) -> None:
    """Run the migrations that the file has not seen. Raises: HostError for a file of a newer version."""
    version = connection.pragma("user_version")
    if version > len(migrations):
        connection.close()
        raise HostError(
            f"'{file.name}' has schema {version}, this microhost knows {len(migrations)}."
            " Start the newer version."
        )
    for number in range(version + 1, len(migrations) + 1):
        _run_migration(connection, migrations[number - 1], number)


def _run_migration(connection: apsw.Connection, migration: str, number: int) -> None:
    """Run one, unless another host, which opened the same file a moment earlier, has done it meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    done = connection.pragma("user_version") >= number
    _run_script(connection, "COMMIT" if done else f"{migration}; PRAGMA user_version = {number}; COMMIT")


def _run_script(connection: apsw.Connection, script: str) -> None:
    """Run every statement to its end; the engine stops at the first that has a row to give."""
    try:
        connection.execute(script).fetchall()
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()
        raise
