"""Freeze everything that is kept, each database as of one moment, beside a host that goes on writing.

Theory of operation
    What is frozen lies below `<data>/backup/`, on the file system of the data: contents and code are hard links, for
    they never change after they got their names; databases are copies, made from one read transaction. First everything
    is linked that is there, which may take long and keeps nobody waiting. Then, of a Drive, the removal of contents is
    held, the transaction is opened, and what came meanwhile is linked: what is replaced or deleted during that stays on
    the disk, as garbage, and goes when the hold has ended. No write waits for it. Of `meta.db`, which is small, the
    write lock is held instead. So whatever the copy names is linked, and the links outlive every deletion.
    Data first, `meta.db` last: a project that is deleted meanwhile is left out whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import apsw

from microhost.errors import ClientError, HostError
from microhost.storage.contents import NEW, SHARDS, hold_removals
from microhost.storage.database import BUSY_TIMEOUT_MS
from microhost.storage.files import make_directory, remove_tree

PLACE = "backup"
COPY_PAGES = 4096
NAMED_SEGMENTS = "SELECT id FROM segments WHERE bytes > 0 AND content NOT IN (SELECT content FROM garbage)"
PROJECTS = "SELECT id FROM projects"
REVISIONS = "SELECT id FROM revisions"
DEPENDENCIES = "SELECT DISTINCT dependencies FROM revisions WHERE dependencies IS NOT NULL"
COPIED_INSTEAD = frozenset((errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP))


@contextlib.contextmanager
def freeze(data: Path, note_missing: Callable[[str], None]) -> Iterator[Path]:
    """Give a directory laid out like `data` that stays as it is; it is deleted when the block ends.

    `note_missing` is told each content that the host's own index names and the disk does not have.
    Raises: ClientError when another backup runs; HostError when a database cannot be read.
    """
    place = make_directory(data / PLACE)
    _give_like(place, data)
    with _alone(place):
        for left in place.iterdir():
            if left.is_dir():
                remove_tree(left)
        frozen = make_directory(place / secrets.token_hex(8))
        try:
            _freeze_all(data, frozen, note_missing)
            yield frozen
        finally:
            remove_tree(frozen)


def _freeze_all(data: Path, frozen: Path, note_missing: Callable[[str], None]) -> None:
    for file in sorted((data / "base").glob("*.db")):
        _freeze_database(file, make_directory(frozen / "base") / file.name)
    for file in sorted((data / "drive").glob("*.db")):
        _freeze_drives(file, make_directory(frozen / "drive"), note_missing)
    for name in ("events.db", "visor.db"):
        if (data / name).exists():
            _freeze_database(data / name, frozen / name)
    _freeze_meta(data, frozen, note_missing)
    _drop_deleted_projects(frozen)


def _drop_deleted_projects(frozen: Path) -> None:
    """Take away what belongs to no project of the copied `meta.db`: it was deleted after its data had been copied."""
    with contextlib.closing(apsw.Connection(str(frozen / "meta.db"), flags=apsw.SQLITE_OPEN_READONLY)) as sql:
        projects = {str(row[0]) for row in sql.execute(PROJECTS)}
    for product in ("base", "drive"):
        for file in list((frozen / product).glob("*.db")):
            if file.stem not in projects:
                file.unlink()
                remove_tree(file.with_suffix(""))


def _freeze_drives(index: Path, target: Path, note_missing: Callable[[str], None]) -> None:
    contents, kept = index.with_suffix(""), make_directory(target / index.stem)
    _link_contents(contents, kept)
    missing: list[str] = []

    def link_the_rest(sql: apsw.Connection) -> None:
        for shard in SHARDS:
            for name in sorted(_list_named(sql, shard).difference(_list_linked(kept / shard))):
                if not _link(contents, kept, name):
                    missing.append(name)

    is_there = _freeze_database(
        index, target / index.name, while_still=link_the_rest, hold=lambda: hold_removals(contents)
    )
    if not is_there or not index.exists():
        remove_tree(kept)
        (target / index.name).unlink(missing_ok=True)
        return
    _drop_unnamed(target / index.name, kept)
    for name in missing:
        note_missing(f"drive/{index.stem}/{name[:2]}/{name}")


def _link_contents(contents: Path, kept: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        for shard in list(contents.iterdir()):
            for name in _list_linked(shard):
                if not name.endswith(NEW):
                    _link(contents, kept, name)


def _list_linked(shard: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(shard)  # noqa: PTH208  a million of them: names, not paths
    return []


def _list_named(sql: apsw.Connection, shard: str) -> set[str]:
    query = f"{NAMED_SEGMENTS} AND id >= ? AND id < ?"
    return {str(row[0]) for row in sql.execute(query, (shard, shard + "g"))}


def _link(contents: Path, kept: Path, name: str) -> bool:
    """Link one segment; tell whether it was there."""
    target = kept / name[:2] / name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    return _link_file(contents / name[:2] / name, target)


def _drop_unnamed(index: Path, kept: Path) -> None:
    """Take links away that the copied index does not name: what was deleted or not finished by its moment."""
    with contextlib.closing(apsw.Connection(str(index), flags=apsw.SQLITE_OPEN_READONLY)) as sql:
        for shard in list(kept.iterdir()):
            named = _list_named(sql, shard.name)
            for name in _list_linked(shard):
                if name not in named:
                    (shard / name).unlink()


def _freeze_meta(data: Path, frozen: Path, note_missing: Callable[[str], None]) -> None:
    places = {
        name: (make_directory(frozen / name, mode=0o755), query)
        for name, query in (("bundles", REVISIONS), ("envs", DEPENDENCIES))
    }

    def link_the_rest(sql: apsw.Connection) -> None:
        for name, (kept, query) in places.items():
            for (tree,) in sql.execute(query):
                if not (kept / str(tree)).exists() and not _link_tree(data / name / str(tree), kept):
                    note_missing(f"{name}/{tree}")

    for name, (kept, _) in places.items():
        with contextlib.suppress(FileNotFoundError):
            for tree in list((data / name).iterdir()):
                if not tree.name.startswith("."):
                    _link_tree(tree, kept)
    if not _freeze_database(
        data / "meta.db",
        frozen / "meta.db",
        while_still=link_the_rest,
        hold=lambda: _no_commits(data / "meta.db"),
    ):
        raise ClientError(f"'{data}' holds no microhost: there is no meta.db in it.")
    with contextlib.closing(apsw.Connection(str(frozen / "meta.db"), flags=apsw.SQLITE_OPEN_READONLY)) as sql:
        for kept, query in places.values():
            named = {str(row[0]) for row in sql.execute(query)}
            for tree in list(kept.iterdir()):
                if tree.name not in named:
                    remove_tree(tree)


def _link_tree(source: Path, kept: Path) -> bool:
    """Link a revision's code whole; tell whether it was there, and leave nothing when it went meanwhile."""
    target = kept / source.name
    try:
        for directory, _, files in os.walk(source, onerror=_raise):
            place = target / Path(directory).relative_to(source)
            make_directory(place, mode=0o755)
            for name in files:
                if not _link_file(Path(directory) / name, place / name):
                    raise FileNotFoundError(name)
    except FileNotFoundError:
        remove_tree(target)
        return False
    return True


def _raise(error: OSError) -> None:
    raise error


def _link_file(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in COPIED_INSTEAD:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
    return True


def _freeze_database(
    file: Path,
    target: Path,
    *,
    while_still: Callable[[apsw.Connection], None] = lambda _: None,
    hold: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> bool:
    """Copy a database as of one moment; tell whether it was there. `while_still` runs inside what `hold` gives, and is
    given a connection that sees what the copy will hold.
    """
    try:
        with contextlib.closing(_open(file)) as source:
            with hold():
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the moment
                while_still(source)
            _copy(source, target)
    except apsw.CantOpenError:
        if file.exists():
            raise
        return False
    except apsw.Error as error:
        raise HostError(f"'{file.name}' cannot be copied: {error}") from error
    return True


@contextlib.contextmanager
def _no_commits(file: Path) -> Iterator[None]:
    with contextlib.closing(_open(file)) as locking:
        locking.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            locking.execute("ROLLBACK")


def _copy(source: apsw.Connection, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with contextlib.closing(apsw.Connection(str(target))) as copy:
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(COPY_PAGES)
        # the copy is one file: no log lies beside it
        copy.pragma("journal_mode", "delete")


def _open(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    return connection


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ClientError("Another backup is being made. Wait until it has ended.") from None
    finally:
        os.close(descriptor)


def _give_like(place: Path, data: Path) -> None:
    if os.geteuid() == 0:
        owner = data.stat()
        os.chown(place, owner.st_uid, owner.st_gid)
