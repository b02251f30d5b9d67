"""Find what an export holds: `bases/{name of the Base}.json` and `drives/{name of the Drive}/{name of the file}`.

Nothing is guessed and nothing left out in silence: whatever is neither of the two is refused, and so are symbolic
links, which would lead out of the export. Only what file managers leave behind beside Bases and Drives is passed over.
Inside a Drive every file counts, and the directories below it are the part of a file's name before its slashes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from microhost.base.items import check_base
from microhost.drive.names import check_drive, check_name
from microhost.errors import ClientError
from microhost.limits import DRIVE_FILE_BYTES, DRIVE_FILE_NAME_BYTES, DRIVE_PART_BYTES, DRIVE_PARTS

BASES, DRIVES = "bases", "drives"
LINES = (".ndjson", ".jsonl")
SUFFIXES = (".json", *LINES)
LEFT_BEHIND = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """Hold a regular file as it was when it was looked at; `shown` is its path below the export."""

    path: Path
    shown: str
    size_bytes: int
    mark: tuple[int, ...]

    def open(self) -> BinaryIO:
        """Open it for reading. Raises: ClientError when it cannot be read or has changed."""
        stream, found = _open(self.path, self.shown)
        if _mark(found) == self.mark:
            return stream
        stream.close()
        raise self._changed()

    def check_same(self, stream: BinaryIO) -> None:
        """Check, after it was read, that it was not written to meanwhile. Raises: ClientError."""
        if _mark(os.fstat(stream.fileno())) != self.mark:
            raise self._changed()

    def _changed(self) -> ClientError:
        return ClientError(f"'{self.shown}' was changed during the import. Leave it alone, and import again.")


@dataclass(frozen=True, slots=True)
class BaseSource:
    """Hold the file of a Base."""

    base: str
    file: Source

    @property
    def is_lines(self) -> bool:
        """Tell whether its name says that it holds one item a line, and so may hold nothing."""
        return self.file.path.suffix.lower() in LINES


@dataclass(frozen=True, slots=True)
class DriveSource:
    """Hold a file of a Drive and the name that it has there."""

    drive: str
    name: str
    file: Source


@dataclass(frozen=True, slots=True)
class Export:
    """Hold all that an export holds, in the order of the names."""

    bases: tuple[BaseSource, ...]
    drives: tuple[DriveSource, ...]

    @property
    def base_bytes(self) -> int:
        """Give the size of the files of all Bases."""
        return sum(each.file.size_bytes for each in self.bases)

    @property
    def drive_bytes(self) -> int:
        """Give the size of the files of all Drives."""
        return sum(each.file.size_bytes for each in self.drives)


def find_export(directory: Path) -> Export:
    """Find what the export in `directory` holds; every file is opened once, none is read.

    Raises: ClientError, naming the file, when it is no export, or holds what cannot be imported.
    """
    if not directory.is_dir():
        raise ClientError(
            f"There is no directory '{directory}'. Name the one that holds '{BASES}' and '{DRIVES}'."
        )
    bases, drives = directory / BASES, directory / DRIVES
    if not os.path.lexists(bases) and not os.path.lexists(drives):
        raise ClientError(f"'{directory}' is no export: it holds neither '{BASES}' nor '{DRIVES}'.")
    return Export(
        tuple(_find_bases(bases)) if os.path.lexists(bases) else (),
        tuple(_find_drives(drives)) if os.path.lexists(drives) else (),
    )


def _find_bases(directory: Path) -> Iterator[BaseSource]:
    seen: dict[str, str] = {}
    for path in _list(directory, BASES):
        shown = f"{BASES}/{path.name}"
        if LEFT_BEHIND.fullmatch(path.name):
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise ClientError(f"'{shown}' is not the file of a Base: its name must end with {_or(SUFFIXES)}.")
        base = _check(check_base, path.stem, shown)
        if base in seen:
            raise ClientError(f"'{seen[base]}' and '{shown}' are both the Base '{base}'. Keep one of them.")
        seen[base] = shown
        yield BaseSource(base, _look(path, shown))


def _find_drives(directory: Path) -> Iterator[DriveSource]:
    for path in _list(directory, DRIVES):
        shown = f"{DRIVES}/{path.name}"
        if LEFT_BEHIND.fullmatch(path.name) and path.is_file():
            continue
        drive = _check(check_drive, path.name, shown)
        for file in _walk(path, shown):
            name = file.relative_to(path).as_posix()
            below = f"{shown}/{name}"
            yield DriveSource(drive, _check(check_name, name, below), _check_size(_look(file, below)))


def _walk(top: Path, shown: str) -> Iterator[Path]:
    """Give the files below `top`; what is no directory is looked at by whoever opens it."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        name = directory.relative_to(top).as_posix()
        below = shown if directory == top else f"{shown}/{name}"
        if len(os.fsencode(name)) > DRIVE_FILE_NAME_BYTES:
            raise ClientError(f"'{below}': A file's name has at most {DRIVE_FILE_NAME_BYTES} bytes.")
        inner = []
        for path in _list(directory, below):
            if path.is_dir() and not path.is_symlink():
                inner.append(path)
            else:
                yield path
        waiting += reversed(inner)


def _list(directory: Path, shown: str) -> list[Path]:
    """Give what lies in a directory, sorted. Raises: ClientError."""
    if directory.is_symlink():
        raise _is_link(shown)
    try:
        return sorted(directory.iterdir())
    except NotADirectoryError:
        raise ClientError(f"'{shown}' must be a directory.") from None
    except OSError as error:
        raise _unreadable(shown, error) from error


def _look(path: Path, shown: str) -> Source:
    """Open a file to see that it can be read. Raises: ClientError."""
    stream, found = _open(path, shown)
    stream.close()
    return Source(path, shown, found.st_size, _mark(found))


def _open(path: Path, shown: str) -> tuple[BinaryIO, os.stat_result]:
    if path.is_symlink():
        raise _is_link(shown)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(shown, error) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise ClientError(f"'{shown}' is not a regular file. Only files can be imported.")
    return os.fdopen(descriptor, "rb"), found


def _check_size(source: Source) -> Source:
    most_bytes = max(DRIVE_FILE_BYTES, DRIVE_PARTS * DRIVE_PART_BYTES)
    if source.size_bytes > most_bytes:
        raise ClientError(
            f"'{source.shown}' has {source.size_bytes:,} bytes; a file may have {most_bytes:,} at most."
        )
    return source


def _check(check: Callable[[str], str], name: str, shown: str) -> str:
    """Check a name as its product does. Raises: ClientError that says whose."""
    try:
        name.encode()
    except UnicodeEncodeError:
        printable = os.fsencode(shown).decode(errors="backslashreplace")
        raise ClientError(f"'{printable}': The name is not valid UTF-8. Rename it.") from None
    try:
        return check(name)
    except ClientError as error:
        raise ClientError(f"{shown!r}: {error.message}") from error


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _is_link(shown: str) -> ClientError:
    return ClientError(f"'{shown}' is a symbolic link. Put what it leads to in its place, or remove it.")


def _unreadable(shown: str, error: OSError) -> ClientError:
    return ClientError(f"'{shown}' cannot be read: {error.strerror}.")
