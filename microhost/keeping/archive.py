"""Write and read one file that holds a tree, with the size and the sha256 of everything in it.

Theory of operation
    A tar (PAX, not compressed), written and read once from end to end; memory does not grow with it. The last member,
    `manifest.jsonl`, begins with `{"format", "made_at", "members"}` and then has one line a member, in their order:
    `{"name", "mode", "bytes", "sha256"}`, a directory without the last two. An archive without its manifest is not
    whole. The hashes find damage; they are no signature: who can write the file can write another one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from microhost.errors import ClientError

FORMAT = 1
MANIFEST = "manifest.jsonl"
PIECE_BYTES = 1024 * 1024
LINE_BYTES = 64 * 1024
TOP = re.compile(
    r"(meta\.db|events\.db|visor\.db|keys\.sealed|base(/[a-z0-9]{1,32}\.db)?|(bundles|envs)(/.+)?"
    r"|drive(/[a-z0-9]{1,32}(\.db|(/[0-9a-f]{2}(/[0-9a-f]{32})?)?))?)"
)


class ArchiveWriter:
    """Write members, then the manifest. What was not closed by `finish` is not an archive."""

    def __init__(self, stream: IO[bytes], made_at: datetime) -> None:
        """Write into `stream`."""
        self._tar = tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._lines = tempfile.TemporaryFile()  # noqa: SIM115  ended by `finish` or with the process
        self._count = 0
        self._made_at = made_at

    def add_tree(self, root: Path) -> None:
        """Add everything below `root`, in sorted order."""
        for directory, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(directories):
                self._add_directory(Path(directory) / name, root)
            for name in sorted(files):
                self.add_file(Path(directory) / name, root)

    def add_file(self, file: Path, root: Path) -> None:
        """Add a regular file under its name below `root`."""
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            self._add(file.relative_to(root).as_posix(), found.st_mode & 0o755, stream, found.st_size)

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a member that is no file."""
        self._add(name, 0o600, io.BytesIO(content), len(content))

    def finish(self) -> None:
        """Write the manifest and the end."""
        head = {"format": FORMAT, "made_at": self._made_at.isoformat(), "members": self._count}
        first = json.dumps(head).encode() + b"\n"
        entry = _entry(MANIFEST, 0o600, len(first) + self._lines.tell())
        self._lines.seek(0)
        self._tar.addfile(entry, _Chain(first, self._lines))  # type: ignore[arg-type]  # it only reads
        self._tar.close()
        self._lines.close()

    def _add_directory(self, directory: Path, root: Path) -> None:
        name, mode = directory.relative_to(root).as_posix(), directory.stat().st_mode & 0o755
        entry = _entry(name, mode, 0)
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)
        self._note({"name": name, "mode": mode})

    def _add(self, name: str, mode: int, stream: IO[bytes], size_bytes: int) -> None:
        reader = _Hashing(stream)
        self._tar.addfile(_entry(name, mode, size_bytes), reader)  # type: ignore[arg-type]  # it only reads
        self._note({"name": name, "mode": mode, "bytes": size_bytes, "sha256": reader.digest.hexdigest()})

    def _note(self, line: dict[str, object]) -> None:
        self._tar.members.clear()  # type: ignore[attr-defined]  # else every member stays in memory
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._count += 1


def unpack(stream: IO[bytes], target: Path) -> None:
    """Unpack an archive into the empty directory `target` and compare all of it with its manifest.

    Raises: ClientError when it is damaged, not whole, not ours, or names what a backup does not hold; what lies in
    `target` is then to be thrown away.
    """
    with tempfile.TemporaryFile() as lines:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                _unpack_all(tar, target, lines)
        except (tarfile.TarError, EOFError, UnicodeError, OverflowError) as error:
            raise _damaged(str(error)) from error


def _unpack_all(tar: tarfile.TarFile, target: Path, lines: IO[bytes]) -> None:
    for entry in _entries(tar):
        if entry.name == MANIFEST:
            manifest = tar.extractfile(entry)
            if manifest is None:
                raise _damaged("its manifest is no file")
            _compare(manifest, lines)
            if tar.next() is not None:
                raise _damaged("something follows its manifest")
            return
        line = _unpack_one(tar, entry, target)
        lines.write(json.dumps(line).encode() + b"\n")
    raise _damaged("it ends before its manifest")


def _entries(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (entry := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield entry


def _unpack_one(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> dict[str, object]:
    parts = entry.name.split("/")
    if not TOP.fullmatch(entry.name) or "\0" in entry.name or {"", ".", ".."} & set(parts):
        raise _damaged(f"it names {entry.name[:80]!r}, which no backup holds")
    place, mode = target / entry.name, entry.mode & 0o755
    try:
        if entry.isdir():
            place.mkdir(mode=0o700)
            place.chmod(mode | 0o700)
            return {"name": entry.name, "mode": mode}
        content = tar.extractfile(entry) if entry.type == tarfile.REGTYPE else None
        if content is None:
            raise _damaged(f"{entry.name[:80]!r} is neither a file nor a directory")
        return {"name": entry.name, "mode": mode, **_write(place, mode, content)}
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise _damaged(f"{entry.name[:80]!r} stands twice in it, or without its directory") from error


def _write(place: Path, mode: int, content: IO[bytes]) -> dict[str, object]:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    reader, size_bytes = _Hashing(content), 0
    with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode | 0o400)
        while piece := reader.read(PIECE_BYTES):
            size_bytes += file.write(piece)
    return {"bytes": size_bytes, "sha256": reader.digest.hexdigest()}


def _compare(manifest: IO[bytes], lines: IO[bytes]) -> None:
    lines.seek(0)
    try:
        head = json.loads(manifest.readline(LINE_BYTES))
        if head["format"] != FORMAT:
            raise ClientError(
                f"The backup has format {head['format']!r}, this microhost knows {FORMAT}. Restore it with the"
                " version that made it."
            )
        count = 0
        while told := manifest.readline(LINE_BYTES):
            found, count = lines.readline(), count + 1
            if not found or json.loads(told) != json.loads(found):
                raise _damaged(f"{json.loads(told)['name']!r} is not what was written")
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged("its manifest cannot be read") from error
    if lines.readline() or count != head["members"]:
        raise _damaged("it holds more or less than its manifest says")


class _Hashing:
    """Hash what is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self.digest.update(piece)
        return piece


class _Chain:
    """Read one after the other."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first = io.BytesIO(first)
        self._rest = rest

    def read(self, size: int) -> bytes:
        piece = self._first.read(size)
        return piece + self._rest.read(size - len(piece)) if len(piece) < size else piece


def _entry(name: str, mode: int, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = mode, size_bytes
    return entry


def _damaged(why: str) -> ClientError:
    return ClientError(f"The backup is damaged or no backup of microhost: {why}. Nothing was restored.")
