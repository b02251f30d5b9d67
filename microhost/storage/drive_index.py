"""Keep the names of one project's files, its unfinished uploads, and what each content consists of.

Theory of operation
    A row of `files` is a file; there is no other truth. `segments` names everything on the disk that has an owner:
    a file's content, an upload (whose id becomes the content's when it is finished), or `garbage`, which is what was
    replaced, deleted or given up and is still to be removed. Triggers keep the totals, so no total is ever counted.
    A segment is charged with blocks of 4,096 bytes, a name and an upload with 1,024: a million empty files are not
    free. A list never reads what it does not give: it seeks, and seeks past a directory that is collapsed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from microhost.errors import ClientError, StorageFullError
from microhost.limits import MB
from microhost.storage.contents import Segment
from microhost.storage.database import Connection, Row
from microhost.storage.drive_records import DriveSummary, Page, Place, StoredFile, Upload, Usage
from microhost.storage.moments import from_us, to_us
from microhost.storage.reopening import ReopeningDatabase

SCHEMA = (
    """
    CREATE TABLE files (
        drive TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL,
        content_type TEXT NOT NULL, sha256 BLOB NOT NULL, created_at INTEGER NOT NULL,
        verified_at INTEGER NOT NULL, damaged INTEGER NOT NULL, PRIMARY KEY (drive, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX files_by_verification ON files (verified_at);
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY, drive TEXT NOT NULL, name TEXT NOT NULL, content_type TEXT, touched_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE segments (
        id TEXT PRIMARY KEY, content TEXT NOT NULL, number INTEGER NOT NULL, bytes INTEGER NOT NULL,
        UNIQUE (content, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE garbage (content TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE usage (id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL) STRICT;
    INSERT INTO usage VALUES (1, 0);
    CREATE TABLE drives (name TEXT PRIMARY KEY, files INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TRIGGER file_comes AFTER INSERT ON files BEGIN
        UPDATE usage SET bytes = bytes + 1024;
        INSERT INTO drives VALUES (NEW.drive, 1, NEW.bytes)
            ON CONFLICT (name) DO UPDATE SET files = files + 1, bytes = bytes + NEW.bytes;
    END;
    CREATE TRIGGER file_goes AFTER DELETE ON files BEGIN
        UPDATE usage SET bytes = bytes - 1024;
        UPDATE drives SET files = files - 1, bytes = bytes - OLD.bytes WHERE name = OLD.drive;
        DELETE FROM drives WHERE name = OLD.drive AND files = 0;
    END;
    CREATE TRIGGER upload_comes AFTER INSERT ON uploads BEGIN
        UPDATE usage SET bytes = bytes + 1024;
    END;
    CREATE TRIGGER upload_goes AFTER DELETE ON uploads BEGIN
        UPDATE usage SET bytes = bytes - 1024;
    END;
    CREATE TRIGGER segment_comes AFTER INSERT ON segments BEGIN
        UPDATE usage SET bytes = bytes + (NEW.bytes + 4095) / 4096 * 4096;
    END;
    CREATE TRIGGER segment_goes AFTER DELETE ON segments BEGIN
        UPDATE usage SET bytes = bytes - (OLD.bytes + 4095) / 4096 * 4096;
    END
    """,
)

FILE = "SELECT drive, name, content, bytes, content_type, sha256, created_at, damaged FROM files"


class DriveIndex:
    """Hold one project's index."""

    def __init__(self, file: Path, quota_bytes: int, *, is_known: Callable[[], bool] = lambda: True) -> None:
        """Open or create `file`. Raises: HostError; NotFoundError when the project is not known any more."""
        self._quota_bytes = quota_bytes
        self.database = ReopeningDatabase(file, SCHEMA, is_known)

    def find(self, place: Place) -> StoredFile | None:
        """Look a file up."""
        row = self.database.row(f"{FILE} WHERE drive = ? AND name = ?", (place.drive, place.name))
        return None if row is None else _file(row)

    def list_segments(self, content: str) -> tuple[Segment, ...]:
        """Give what a content consists of, in order."""
        return _segments(
            self.database.rows("SELECT id, bytes FROM segments WHERE content = ? ORDER BY number", (content,))
        )

    def list_numbered(self, content: str) -> dict[int, Segment]:
        """Give an upload's parts by their numbers, in order."""
        query = "SELECT number, id, bytes FROM segments WHERE content = ? ORDER BY number"
        return {
            number: Segment(segment_id, size)
            for number, segment_id, size in self.database.rows(query, (content,))
        }

    def put(self, file: StoredFile, segments: Sequence[Segment]) -> None:
        """Make `file` the one at its place; what was there becomes garbage.

        Raises: ClientError (507) when there is no room for it, and then nothing was changed.
        """
        with self._write() as sql:
            for number, segment in enumerate(segments, start=1):
                sql.execute(
                    "INSERT INTO segments VALUES (?, ?, ?, ?)",
                    (segment.id, file.content, number, segment.size_bytes),
                )
            _replace(sql, file)
            self._check_quota(sql)

    def start_upload(self, upload: Upload, *, now: datetime) -> None:
        """Keep a new upload. Raises: ClientError (507)."""
        with self._write() as sql:
            values = (upload.id, upload.place.drive, upload.place.name, upload.content_type, to_us(now))
            sql.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", values)
            self._check_quota(sql)

    def find_upload(self, upload_id: str, place: Place) -> Upload | None:
        """Look an unfinished upload up; None too when it belongs to another place."""
        row = self.database.row(
            "SELECT content_type FROM uploads WHERE id = ? AND drive = ? AND name = ?",
            (upload_id, place.drive, place.name),
        )
        return None if row is None else Upload(upload_id, place, row[0])

    def put_part(
        self, upload_id: str, number: int, segment: Segment, *, content_type: str | None, now: datetime
    ) -> bool:
        """Make `segment` the upload's part of that number, in place of an earlier one; tell whether there still is
        such an upload. The content type of the first part counts. Raises: ClientError (507).
        """
        with self._write() as sql:
            sql.execute(
                "UPDATE uploads SET touched_at = ?, content_type ="
                " CASE WHEN ? = 1 THEN coalesce(?, content_type) ELSE coalesce(content_type, ?) END WHERE id = ?",
                (to_us(now), number, content_type, content_type, upload_id),
            )
            if sql.changes() == 0:
                return False
            gone = secrets.token_hex(16)
            sql.execute(
                "UPDATE segments SET content = ?, number = 0 WHERE content = ? AND number = ?",
                (gone, upload_id, number),
            )
            if sql.changes():
                sql.execute("INSERT INTO garbage VALUES (?)", (gone,))
            sql.execute(
                "INSERT INTO segments VALUES (?, ?, ?, ?)",
                (segment.id, upload_id, number, segment.size_bytes),
            )
            self._check_quota(sql)
            return True

    def finish_upload(self, file: StoredFile, segments: Sequence[Segment]) -> bool:
        """Make an upload, whose id is `file.content`, a file. Nothing happens, and False is given, when its parts are
        not exactly `segments` any more or it is gone.
        """
        with self._write() as sql:
            query = "SELECT id, bytes FROM segments WHERE content = ? ORDER BY number"
            if _segments(sql.execute(query, (file.content,)).fetchall()) != tuple(segments):
                return False
            sql.execute("DELETE FROM uploads WHERE id = ?", (file.content,))
            if sql.changes() == 0:
                return False
            _replace(sql, file)
            return True

    def is_finished(self, upload_id: str, place: Place) -> bool:
        """Tell whether this upload became the file that is at its place now."""
        query = "SELECT 1 FROM files WHERE content = ? AND drive = ? AND name = ?"
        return self.database.row(query, (upload_id, place.drive, place.name)) is not None

    def abort_upload(self, upload_id: str) -> None:
        """Forget an upload; its parts become garbage."""
        with self._write() as sql:
            _abort(sql, upload_id)

    def abort_idle_uploads(self, before: datetime) -> list[str]:
        """Forget uploads that nobody has touched since `before`; give their ids."""
        with self._write() as sql:
            rows = sql.execute("SELECT id FROM uploads WHERE touched_at < ?", (to_us(before),)).fetchall()
            ids = [str(upload_id) for (upload_id,) in rows]
            for upload_id in ids:
                _abort(sql, upload_id)
        return ids

    def delete(self, drive: str, names: Sequence[str]) -> None:
        """Delete files; those that are not there are passed over."""
        with self._write() as sql:
            for name in names:
                _delete(sql, Place(drive, name))

    def list_page(self, drive: str, *, prefix: str, last: str, limit: int, recursive: bool) -> Page:
        """Give names that begin with `prefix` and come after `last`, at most `limit`.

        Not recursive: what lies below the first `/` after the prefix is given once, as `dir/`.
        """
        names: list[str] = []
        seek, strictly = (last, True) if last >= prefix else (prefix, False)
        directory = None if recursive else _directory(last, prefix)
        if directory is not None:
            seek, strictly = _after(directory), False
        while len(names) <= limit:
            batch = self._names(drive, seek, strictly, limit + 1 - len(names) if recursive else 1)
            names += [name for name in batch if name.startswith(prefix)]
            if recursive or not batch or not batch[-1].startswith(prefix):
                break
            directory = _directory(batch[-1], prefix)
            seek, strictly = (batch[-1], True) if directory is None else (_after(directory), False)
            if directory is not None:
                names[-1] = directory
        return Page(names[:limit], len(names) > limit)

    def list_drives(self) -> list[DriveSummary]:
        """Give every Drive that holds a file, by name."""
        return [
            DriveSummary(*row)
            for row in self.database.rows("SELECT name, files, bytes FROM drives ORDER BY name")
        ]

    def usage(self) -> Usage:
        """Tell what is taken of the quota."""
        row = self.database.row("SELECT bytes FROM usage")
        assert row is not None
        return Usage(row[0], self._quota_bytes)

    def list_garbage(self) -> list[str]:
        """Give the contents that are to be removed."""
        return [content for (content,) in self.database.rows("SELECT content FROM garbage")]

    def forget_garbage(self, contents: Sequence[str]) -> None:
        """Take note that the segments of these contents are gone from the disk."""
        with self._write() as sql:
            values = [(content,) for content in contents]
            sql.executemany("DELETE FROM segments WHERE content = ?", values)
            sql.executemany("DELETE FROM garbage WHERE content = ?", values)

    def list_shard(self, shard: str) -> set[str]:
        """Give the ids of all segments that begin with `shard` and hold something."""
        query = "SELECT id FROM segments WHERE id >= ? AND id < ? AND bytes > 0"
        return {segment_id for (segment_id,) in self.database.rows(query, (shard, shard + "g"))}

    def find_content_of(self, segment_id: str) -> StoredFile | None:
        """Give the file that a segment belongs to."""
        row = self.database.row(
            f"{FILE} WHERE content = (SELECT content FROM segments WHERE id = ?)",  # noqa: S608
            (segment_id,),
        )
        return None if row is None else _file(row)

    def find_unverified(self, before: datetime) -> StoredFile | None:
        """Give the file that was verified longest ago, if that was before `before`."""
        row = self.database.row(
            f"{FILE} WHERE verified_at < ? ORDER BY verified_at LIMIT 1", (to_us(before),)
        )
        return None if row is None else _file(row)

    def note_verified(self, content: str, *, damaged: bool, now: datetime) -> None:
        """Keep what a look at a content found."""
        with self._write() as sql:
            query = "UPDATE files SET verified_at = ?, damaged = ? WHERE content = ?"
            sql.execute(query, (to_us(now), int(damaged), content))

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """Give a transaction. Raises: ClientError (507), UncertainError."""
        try:
            with self.database.write() as sql:
                yield sql
        except StorageFullError as error:
            raise disk_is_full() from error

    def _check_quota(self, sql: Connection) -> None:
        row = sql.execute("SELECT bytes FROM usage").fetchone()
        assert row is not None
        if int(str(row[0])) > self._quota_bytes:
            raise quota_is_full(self._quota_bytes)

    def _names(self, drive: str, seek: str, strictly: bool, limit: int) -> list[str]:
        sign = ">" if strictly else ">="
        query = f"SELECT name FROM files WHERE drive = ? AND name {sign} ? ORDER BY name LIMIT ?"  # noqa: S608
        return [name for (name,) in self.database.rows(query, (drive, seek, limit))]


def quota_is_full(quota_bytes: int) -> ClientError:
    """Make the refusal of what does not fit into the quota."""
    return ClientError(
        f"The Drives of this project may take {quota_bytes / MB:,.0f} MB, and there is no room left for this."
        " Delete files, or ask the owner of the host for a larger quota.",
        status=507,
    )


def disk_is_full() -> ClientError:
    """Make the refusal of what does not fit on the disk."""
    return ClientError("The host's disk is full; nothing was stored. Try again later.", status=507)


def _replace(sql: Connection, file: StoredFile) -> None:
    _delete(sql, file.place)
    created_us = to_us(file.created_at)
    values = (
        file.place.drive,
        file.place.name,
        file.content,
        file.size_bytes,
        file.content_type,
        file.sha256,
    )
    sql.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", (*values, created_us, created_us))


def _delete(sql: Connection, place: Place) -> None:
    rows = sql.execute(
        "DELETE FROM files WHERE drive = ? AND name = ? RETURNING content", (place.drive, place.name)
    ).fetchall()
    sql.executemany("INSERT INTO garbage VALUES (?)", rows)


def _abort(sql: Connection, upload_id: str) -> None:
    sql.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
    if sql.changes():
        sql.execute("INSERT INTO garbage VALUES (?)", (upload_id,))


def _directory(name: str, prefix: str) -> str | None:
    """Give the directory right below `prefix` that `name` lies in, with its `/`; None when it lies in none."""
    end = name.find("/", len(prefix)) if name.startswith(prefix) else -1
    return None if end < 0 else name[: end + 1]


def _after(directory: str) -> str:
    """Give the first name that can follow all that lies in a directory: `0` comes right after `/`."""
    return directory[:-1] + "0"


def _segments(rows: Sequence[Row]) -> tuple[Segment, ...]:
    return tuple(Segment(*row) for row in rows)


def _file(row: Row) -> StoredFile:
    drive, name, content, size, content_type, sha256, created_at, damaged = row
    return StoredFile(
        Place(drive, name), content, size, content_type, sha256, from_us(created_at), bool(damaged)
    )
