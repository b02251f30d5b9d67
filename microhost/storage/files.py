"""Publish files and trees so that a reader, or a start after a power cut, sees all of one or none of it."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from microhost.limits import MIB

DIRECTORY_MODE = 0o755
PRIVATE_DIRECTORY_MODE = 0o700


def write_file(file: Path, content: bytes, *, mode: int) -> None:
    """Put `content` into `file`, replacing it at once; it is on the disk when this returns."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(file.parent)


def publish_tree(source: Path, target: Path) -> None:
    """Rename the finished directory `source` to `target`, its files being on the disk before the name is."""
    sync_file_system(source)
    source.rename(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Bring a directory's own entries to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(below: Path) -> None:
    """Bring everything written on the file system that holds `below` to the disk: one call for a tree of any
    size.
    """
    descriptor = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(below))
    finally:
        os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Delete a directory with all below it; nothing happens when it is not there. Two may do so at once."""
    if directory.is_symlink() or directory.is_file():
        directory.unlink(missing_ok=True)
    elif directory.exists():
        shutil.rmtree(directory, onerror=_pass_missing)


def _pass_missing(_function: object, _path: str, failure: tuple[Any, BaseException, Any]) -> None:
    """Pass over what another process, such as a predecessor that drains, has deleted first."""
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]


def make_directory(directory: Path, *, mode: int = PRIVATE_DIRECTORY_MODE) -> Path:
    """Make a directory if it is missing and give it exactly `mode`, whatever the umask; give it back."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(mode)
    return directory


def sweep(directory: Path, *, keep: Collection[str]) -> list[str]:
    """Delete every entry of `directory` that `keep` does not name; give the names that went."""
    gone = [entry for entry in directory.iterdir() if entry.name not in keep]
    for entry in gone:
        remove_tree(entry)
    return sorted(entry.name for entry in gone)


def free_bytes(below: Path, reserve_bytes: int) -> int:
    """Tell what the disk can take while `reserve_bytes` stay free; on a small disk a twentieth of it for each 64 MiB."""
    disk = os.statvfs(below)
    small_bytes = disk.f_blocks * disk.f_frsize // 20 * reserve_bytes // (64 * MIB)
    return disk.f_bavail * disk.f_frsize - min(reserve_bytes, small_bytes)
