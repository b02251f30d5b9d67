"""Bring a Micro's live code into a directory: what is decided is pure, what arrives is checked before it is moved.

Theory of operation
    The server's list {path: sha256} says what the live code is. Its zip is unpacked into a folder of its own below
    `.deta`, every file compared with its checksum, and only when all of it is right is each file renamed into its
    place: no file is ever there by half, and a download that fails changes nothing. What a killed one has left, the
    next one removes. When a deployment came between the list and the zip, both are asked for once more.
"""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from microhost.cli import deploying, leftovers
from microhost.cli.api import API, Api
from microhost.cli.failures import CliError
from microhost.cli.ignoring import STATE_FOLDER
from microhost.cli.incoming_names import NOT_TAKEN, check_names, is_history
from microhost.cli.local_files import CODE_BYTES, MB, READ_BYTES, ZIP_IN_MEMORY_BYTES, checksum
from microhost.cli.micro_directory import MicroDirectory
from microhost.cli.output import progress
from microhost.cli.writing import check_way

ZIP_BYTES = CODE_BYTES + 64 * MB  # code that does not shrink, and the zip's own lists
TRIES = 2
STAGING = ".pull-"
PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # what a host packs with
# all that zipfile raises for one that was damaged or made to deceive; it does not say so itself
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, IndexError),
)


class ChangedError(Exception):
    """Report that the zip is not the code that the list describes."""


@dataclass(frozen=True, slots=True)
class Code:
    """Be the live code: its deployment, None when there is none yet, its files {path: sha256}, and what is not taken."""

    deployment: str | None
    files: Mapping[str, str]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Say what taking the live code would do to a directory."""

    new: tuple[str, ...]
    overwritten: tuple[str, ...]
    only_here: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether everything is up to date."""
        return not self.new and not self.overwritten


def compare(live: Mapping[str, str], here: Mapping[str, str], names_here: Collection[str]) -> Difference:
    """Find what is new, what differs and what is only here. Pure.

    `here`: checksums of those of the live names that are here; `names_here`: all that belongs to the Micro.
    """
    return Difference(
        new=tuple(sorted(path for path in live if path not in here)),
        overwritten=tuple(sorted(path for path, each in here.items() if live[path] != each)),
        only_here=tuple(sorted(set(names_here) - set(live))),
    )


def find_code(api: Api, micro: MicroDirectory) -> Code:
    """Give the live code, git's own files left out. Raises: CliError for names that may not be."""
    deployment, files = deploying.find_live(api, micro)
    check_names(files, on_windows=os.name == "nt")
    taken = {path: each for path, each in files.items() if not is_history(path)}
    return Code(deployment, taken, tuple(sorted(set(files) - set(taken))))


def read_here(root: Path, names: Collection[str]) -> dict[str, str]:
    """Give the checksums of the files that are here under these names.

    Raises: CliError when one cannot be put here: a directory has its name, or it would lie behind a link.
    """
    found = {}
    for name in names:
        target = root / name
        check_way(root, name)
        try:
            status = target.lstat()
            if stat.S_ISDIR(status.st_mode):
                raise CliError(
                    f"'{name}' is a directory here and a file of the Micro.", "Move it away, then pull again."
                )
            # whatever is neither a file nor leads to one differs, and its own name is what is replaced
            found[name] = checksum(target) if target.is_file() else ""
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CliError(f"'{name}' cannot be read: {error.strerror}.") from error
    return found


def take(api: Api, micro: MicroDirectory, files: Mapping[str, str], wanted: Collection[str]) -> None:
    """Put the files `wanted` of the live code, which is `files`, into the Micro's directory.

    Raises: ChangedError when the code is another one by now; CliError. Then no file has changed, unless the disk
    failed while they were moved.
    """
    with _staging(micro.root) as staging:
        with tempfile.SpooledTemporaryFile(max_size=ZIP_IN_MEMORY_BYTES) as archive:
            _download(api, micro, archive)
            _unpack(archive, staging, files, wanted)
        for name in sorted(wanted):
            _move(staging / name, micro.root, name)


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """Make a folder on the same file system, which is away at the end; those of killed ones go, too."""
    folder = root / STATE_FOLDER
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    leftovers.sweep(folder, f"{STAGING}*")
    staging = leftovers.make_folder(STAGING, folder)
    try:
        yield staging.path
    finally:
        staging.remove()
        if made and not any(folder.iterdir()):
            folder.rmdir()


def _download(api: Api, micro: MicroDirectory, archive: IO[bytes]) -> None:
    with api.open("GET", f"{API}{micro.address}/bundle") as response:
        told = response.headers.get("content-length", "")
        size = int(told) if told.isdecimal() else 0
        received = 0
        for part in progress(response.iter_bytes(READ_BYTES), size, "Downloading"):
            received += len(part)
            if received > ZIP_BYTES:
                raise CliError(f"The server sends more than {ZIP_BYTES // MB} MB of code.", NOT_TAKEN)
            archive.write(part)
    archive.seek(0)


def _unpack(archive: IO[bytes], staging: Path, files: Mapping[str, str], wanted: Collection[str]) -> None:
    """Write the wanted files. A name is taken from the list, which was checked, and never from the zip."""
    try:
        with zipfile.ZipFile(archive) as source:
            entries = {each.filename: each for each in source.infolist() if not each.is_dir()}
            if {name for name in entries if not is_history(name)} != set(files):
                raise ChangedError
            left = CODE_BYTES
            for name in sorted(wanted):
                left -= _write(source, entries[name], staging / name, files[name], left)
    except BROKEN as error:
        raise CliError("What the server sent is no zip of the code.", "Try again: deta pull") from error


def _write(source: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, sum_: str, left_bytes: int) -> int:
    """Write one file; gives its size. Raises: ChangedError, CliError."""
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise CliError(f"The server's code has {ascii(entry.filename)}, which is no regular file.", NOT_TAKEN)
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.compress_type not in PACKED:
        raise zipfile.BadZipFile
    digest, size = sha256(), 0
    with source.open(entry) as stream, target.open("xb") as sink:
        while part := stream.read(READ_BYTES):
            size += len(part)
            if size > left_bytes:
                raise CliError(f"The server's code is larger than {CODE_BYTES // MB} MB.", NOT_TAKEN)
            digest.update(part)
            sink.write(part)
    if digest.hexdigest() != sum_:
        raise ChangedError
    if mode & stat.S_IXUSR:
        readable = target.stat().st_mode
        target.chmod(readable | (readable & 0o444) >> 2)
    return size


def _move(source: Path, root: Path, name: str) -> None:
    check_way(root, name)  # once more: time has passed
    target = root / name
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
