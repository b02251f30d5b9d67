"""Import an export into a project of a running host.

Theory of operation
    Everything is looked at before anything is written: the layout, the host, its owner's token, the project, the quota,
    then every item as Base itself looks at it. Only then items go out, 25 a request, and files, in one request up to
    10 MiB and in parts beyond. All of it overwrites, so a request may be repeated, and so may an import that broke off:
    it then ends with what one that did not would have left. The files are read twice rather than kept, so memory does
    not grow with the export; the keys of the Base that is being checked lie in a temporary database (TMPDIR).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import apsw

from microhost.base.items import check_key, prepare
from microhost.errors import ClientError, HostError
from microhost.keeping.export import BaseSource, DriveSource, Export, Source, find_export
from microhost.keeping.item_files import BrokenFileError, read_items
from microhost.keeping.remote import RefusedError, Remote, repeat
from microhost.limits import BASE_PUT_ITEMS, DRIVE_FILE_BYTES, DRIVE_PART_BYTES
from microhost.storage.base_file import StoredItem

Tell = Callable[[int], None]
# Called with what is being done and its bytes; what it enters hears of the bytes that are done.
Progress = Callable[[str, int], AbstractContextManager[Tell]]
KEYS_TABLE = "CREATE TABLE keys (key BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold an export that was checked, and where it goes; `counts` are the items of each Base."""

    export: Export
    project_id: str
    counts: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Give {"project", "bases": {name: items}, "drives": {name: {"files", "bytes"}}, "items", "files", "bytes"}."""
        drives: dict[str, dict[str, int]] = {}
        for each in self.export.drives:
            drive = drives.setdefault(each.drive, {"files": 0, "bytes": 0})
            drive["files"] += 1
            drive["bytes"] += each.file.size_bytes
        return {
            "project": self.project_id,
            "bases": self.counts,
            "drives": drives,
            "items": sum(self.counts.values()),
            "files": len(self.export.drives),
            "bytes": self.export.drive_bytes,
        }


def plan_import(directory: Path, remote: Remote, project: str, *, progress: Progress) -> Plan:
    """Check the export in `directory` and that `project` (a name or an id) can take it; nothing is written.

    Raises: ClientError, HostError.
    """
    export = find_export(directory)
    project_id = _find_project(remote, project)
    _check_quota(remote, project_id, export)
    with progress("Checking", export.base_bytes) as tell:
        counts = {each.base: _count_items(each, tell) for each in export.bases}
    return Plan(export, project_id, counts)


class Importer:
    """Carry out a plan, and know how far it came."""

    def __init__(self, remote: Remote, plan: Plan) -> None:
        """Begin with nothing done."""
        self._remote = remote
        self._plan = plan
        self._shown = ""
        self.item_count = 0
        self.file_count = 0

    def run(self, *, progress: Progress) -> None:
        """Store all items, then all files.

        Raises: HostError, which tells the file, the cause and how much was stored; all of it may be run again.
        """
        export = self._plan.export
        try:
            with progress("Importing", export.base_bytes + export.drive_bytes) as tell:
                for base in export.bases:
                    self._store_base(base, tell)
                for file in export.drives:
                    self._store_file(file, tell)
        except (ClientError, HostError, OSError) as error:
            raise HostError(
                f"'{self._shown}' could not be imported: {error} Before it {self.item_count:,} items and"
                f" {self.file_count:,} files were stored. Import again: it overwrites, and stores nothing twice."
            ) from error

    def _store_base(self, source: BaseSource, tell: Tell) -> None:
        self._shown = source.file.shown
        path = f"/base/v1/{self._plan.project_id}/{quote(source.base, safe='')}/items"
        with source.file.open() as stream:
            for batch in _batches(_check_items(source, stream, tell)):
                self._put(path, batch)
            source.file.check_same(stream)

    def _put(self, path: str, batch: list[StoredItem]) -> None:
        # 25 items of the largest size are well within the largest body
        body = f'{{"items":[{",".join(each.body for each in batch)}]}}'.encode()
        answer = repeat(lambda: self._remote.ask("PUT", path, body, wanted=207))
        if "failed" in answer or "processed" not in answer:
            raise HostError("The host refused some of its items.")
        self.item_count += len(batch)

    def _store_file(self, source: DriveSource, tell: Tell) -> None:
        self._shown = source.file.shown
        path = f"/drive/v1/{self._plan.project_id}/{quote(source.drive, safe='')}"
        with source.file.open() as stream:
            if source.file.size_bytes > DRIVE_FILE_BYTES:
                self._upload(path, source, stream, tell)
            else:
                content = stream.read(DRIVE_FILE_BYTES)
                source.file.check_same(stream)
                repeat(
                    lambda: self._remote.ask("POST", f"{path}/files", content, wanted=201, name=source.name)
                )
                tell(len(content))
        self.file_count += 1

    def _upload(self, path: str, source: DriveSource, stream: BinaryIO, tell: Tell) -> None:
        ask, name = self._remote.ask, source.name
        begun = repeat(lambda: ask("POST", f"{path}/uploads", wanted=202, name=name))
        upload = f"{path}/uploads/{self._remote.get_field(begun, 'upload_id', str)}"
        try:
            for part, content in enumerate(_parts(stream), 1):
                _send_part(self._remote, f"{upload}/parts", content, name=name, part=part)
                tell(len(content))
            source.file.check_same(stream)
            repeat(lambda: ask("PATCH", upload, wanted=200, name=name))
        except BaseException:
            with contextlib.suppress(HostError):
                ask("DELETE", upload, wanted=200, name=name)
            raise


def _send_part(remote: Remote, path: str, content: bytes, *, name: str, part: int) -> None:
    repeat(lambda: remote.ask("POST", path, content, wanted=200, name=name, part=part))


def _parts(stream: BinaryIO) -> Iterator[bytes]:
    while content := stream.read(DRIVE_PART_BYTES):
        yield content


def _batches(items: Iterator[StoredItem]) -> Iterator[list[StoredItem]]:
    batch: list[StoredItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == BASE_PUT_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


def _find_project(remote: Remote, project: str) -> str:
    """Give the project's id. Raises: ClientError, HostError."""
    shown = remote.server
    try:
        found = remote.ask("GET", f"/api/v1/projects/{quote(project, safe='')}", wanted=200)
    except RefusedError as error:
        if error.is_ours and error.status == 401:
            raise ClientError(
                f"{shown} does not take this token. On its machine 'microhost token' prints the owner's."
            ) from error
        if error.is_ours and error.status == 404:
            raise ClientError(f"There is no project '{project}' at {shown}. Make it first.") from error
        raise
    return remote.get_field(found, "id", str)


def _check_quota(remote: Remote, project_id: str, export: Export) -> None:
    held = remote.ask("GET", f"/api/v1/projects/{project_id}/drives", wanted=200)
    quota_bytes = remote.get_field(held, "quota_bytes", int)
    if export.drive_bytes > quota_bytes:
        raise ClientError(
            f"The files of the Drives have {export.drive_bytes:,} bytes; a project may hold {quota_bytes:,} at most."
            " Start the host with a larger MICROHOST_DRIVE_QUOTA_MB."
        )


def _count_items(source: BaseSource, tell: Tell) -> int:
    """Check a whole file, and that no key stands in it twice. Raises: ClientError, HostError."""
    count = 0
    with source.file.open() as stream, _open_keys() as seen:
        for count, item in enumerate(_check_items(source, stream, tell), 1):
            seen.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (item.key, count))
            if not seen.changes():
                first = seen.execute("SELECT number FROM keys WHERE key = ?", (item.key,)).get
                raise _refuse(source.file, count, item.key.decode(), f"Item {first:,} has the same key.")
        source.file.check_same(stream)
    return count


@contextlib.contextmanager
def _open_keys() -> Iterator[apsw.Connection]:
    """Open a database that is in memory while it is small, then in a file without a name."""
    try:
        with contextlib.closing(apsw.Connection("")) as database:
            database.pragma("journal_mode", "off")
            database.execute(KEYS_TABLE)
            database.execute("BEGIN")
            yield database
    except apsw.Error as error:
        raise HostError(
            f"The keys that were seen cannot be kept: {error}. Name a directory with room in TMPDIR."
        ) from error


def _check_items(source: BaseSource, stream: BinaryIO, tell: Tell) -> Iterator[StoredItem]:
    """Give a file's items, checked as Base does. Raises: ClientError, naming the file and the item."""
    number = 0
    try:
        for number, item in enumerate(read_items(stream, may_be_empty=source.is_lines, tell=tell), 1):
            yield _check_item(source.file, number, item)
    except BrokenFileError as error:
        after = f"after {number:,} items, " if number else ""
        raise ClientError(f"'{source.file.shown}', {after}{error.message}") from error
    except OSError as error:
        raise ClientError(f"'{source.file.shown}' cannot be read: {error.strerror}.") from error


def _check_item(file: Source, number: int, item: Any) -> StoredItem:
    if not isinstance(item, dict):
        raise _refuse(file, number, None, "An item must be an object.")
    if "key" not in item:
        raise _refuse(file, number, None, "It has no 'key', so every import would make it anew. Give it one.")
    key = item["key"]
    try:
        return prepare(item, check_key(key))
    except ClientError as error:
        raise _refuse(file, number, key, error.message) from error
    except UnicodeEncodeError as error:
        raise _refuse(
            file, number, key, "The key holds a lone surrogate, which is not valid Unicode."
        ) from error


def _refuse(file: Source, number: int, key: object, why: str) -> ClientError:
    named = f" (key {ascii(key[:64])})" if isinstance(key, str) and not key.isprintable() else ""
    if isinstance(key, str) and not named:
        named = f" (key '{key[:64]}')"
    return ClientError(f"'{file.shown}', item {number:,}{named}: {why}")
