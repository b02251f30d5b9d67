"""Keep the installed sets: count their bytes, give them to root, flush them, name them by their content."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

# Deta docs, Micros > About, Technical Specifications: 250 MB of dependencies
BYTES_MAX = 250_000_000
FILES_MAX = 60_000
ID_LENGTH = 26

_libc = ctypes.CDLL(None, use_errno=True)


class InstallError(Exception):
    """Report in one sentence, ending with the next step, why nothing was installed; nothing is left."""


class TooLargeError(InstallError):
    """Report that more was written than may be."""


class TooSlowError(InstallError):
    """Report that the time is over."""


def count_tree(directory: Path, *, bytes_max: int = BYTES_MAX, files_max: int = FILES_MAX) -> int:
    """Count the bytes of the files below `directory`, bytecode aside, opening nothing and following no link.

    Raises: TooLargeError.
    """
    total = files = 0
    for _, _, names, place in os.fwalk(directory, follow_symlinks=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size = os.stat(name, dir_fd=place, follow_symlinks=False).st_size
                total += 0 if name.endswith(".pyc") else size
                files += 1
        if total > bytes_max:
            raise TooLargeError(too_large(bytes_max))
        if files > files_max:
            raise TooLargeError(f"The dependencies have more than {files_max} files; name fewer packages.")
    return total


def too_large(bytes_max: int) -> str:
    """Give the sentence for dependencies over the limit."""
    return f"The dependencies are larger than {bytes_max / 1e6:g} MB; name fewer or smaller packages."


def keep_tree(tree: Path, final: Path, *, owner: int | None) -> None:
    """Take over a finished tree that nobody else can reach any more: root's, flushed, renamed into place.

    Does nothing when the same set has come into place meanwhile.

    Raises: InstallError for what is neither file nor directory nor link in it.
    """
    _own_tree(tree, owner=owner)
    final.parent.mkdir(exist_ok=True)
    _flush_file_system(tree)
    try:
        tree.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    _flush_directory(final.parent)


def _own_tree(directory: Path, *, owner: int | None) -> None:
    """Make every entry the owner's, readable by all, writable by none else.

    Raises: InstallError for a device, a pipe or a socket.
    """
    for _, directories, files, place in os.fwalk(directory, follow_symlinks=False):
        for name in (*directories, *files):
            mode = os.stat(name, dir_fd=place, follow_symlinks=False).st_mode
            if owner is not None:
                os.chown(name, owner, owner, dir_fd=place, follow_symlinks=False)
            if stat.S_ISLNK(mode):
                continue
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InstallError(f"A package installs {name!r}, which is neither a file nor a directory.")
            os.chmod(name, 0o755 if mode & 0o100 or stat.S_ISDIR(mode) else 0o644, dir_fd=place)
        if owner is not None:
            os.fchown(place, owner, owner)
        os.fchmod(place, 0o755)


def _flush_file_system(directory: Path) -> None:
    """Flush the file system that holds `directory`: one call instead of one a file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), f"syncfs {directory}")
    finally:
        os.close(descriptor)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(parts: Iterable[str]) -> str:
    """Give an id of 26 lower-case letters and digits for a list of texts."""
    number = int.from_bytes(hashlib.sha256(json.dumps(list(parts)).encode()).digest())
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    made = ""
    while len(made) < ID_LENGTH:
        number, digit = divmod(number, len(letters))
        made += letters[digit]
    return made
