"""Hold a database file that is opened when it is used, closed when it is not, and gone when its project is.

Theory of operation
    Every use is counted, so what is in use is never closed for being idle. `close` is for good, also under those who
    are using it: they are told that the project is gone. After a failure of the disk the file is opened anew: what the
    old connection believes to have written cannot be trusted.
    Two hosts overlap for a while, and one of them may delete a project that the other still serves. The project leaves
    `meta.db` before its files leave the disk; so who has opened, and perhaps made, a file asks afterwards whether the
    project is known: if it is, a deletion that comes will find the file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from microhost.errors import HostError, NotFoundError
from microhost.storage.database import Connection, Database, Row, remove_database


class UncertainError(HostError):
    """Report that the disk failed in the middle of a change: whether it was kept is known after a new start only."""


class ReopeningDatabase:
    """Hold one project's file. From any thread."""

    def __init__(self, file: Path, migrations: Sequence[str], is_known: Callable[[], bool]) -> None:
        """Open or create `file`. Raises: HostError; NotFoundError when the project is not known, and nothing is left."""
        self._file = file
        self._migrations = migrations
        self._is_known = is_known
        self._changing = threading.Lock()
        self._database: Database | None = self._open()
        self._is_closed = False
        self._users = 0
        self.used_at = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Tell whether connections are held."""
        return self._database is not None and not self._is_closed

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Row]:
        """Read all rows of a query."""
        with self._use() as database:
            return database.rows(query, values)

    def row(self, query: str, values: Sequence[object] = ()) -> Row | None:
        """Read the first row of a query, None when there is none."""
        with self._use() as database:
            return database.row(query, values)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction. Raises: StorageFullError; UncertainError."""
        with self._use() as database:
            try:
                with database.write() as sql:
                    yield sql
            except apsw.IOError as error:
                with self._changing:
                    if self._database is database:
                        self._database = None
                        database.close()
                raise UncertainError(f"'{self._file.name}': {error}") from error

    def close_idle(self, used_before: float) -> None:
        """Let the connections go when nobody uses them, nor has since `used_before` (monotonic)."""
        with self._changing:
            if self._database is not None and self._users == 0 and self.used_at < used_before:
                self._database.close()
                self._database = None

    def close(self) -> None:
        """Close it for good; may be called twice."""
        with self._changing:
            self._is_closed = True
            if self._database is not None:
                self._database.close()

    @contextmanager
    def _use(self) -> Iterator[Database]:
        """Give the database, open, and keep it so. Raises: NotFoundError when it was closed, be it meanwhile."""
        with self._changing:
            if self._is_closed:
                raise _is_gone()
            if self._database is None:
                self._database = self._open()
            database = self._database
            self._users += 1
        try:
            yield database
        except apsw.ConnectionClosedError as error:
            if self._is_closed:
                raise _is_gone() from error
            raise
        finally:
            with self._changing:
                self._users -= 1
                self.used_at = time.monotonic()

    def _open(self) -> Database:
        database = Database(self._file, self._migrations)
        if not self._is_known():
            database.close()
            remove_database(self._file)
            raise _is_gone()
        return database


def _is_gone() -> NotFoundError:
    return NotFoundError("There is no such project.")
