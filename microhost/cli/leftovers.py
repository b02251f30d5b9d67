"""Hold what must not outlive us, and remove what somebody left behind who was killed.

Theory of operation
    A folder or file that is thrown away later is held by a lock of the system (flock) on itself, which no death leaves
    behind, however sudden. Whoever comes next takes the lock of each thing by that name: one that is free to be taken
    is nobody's any more, and is removed. Since a thing may be removed between its making and its locking, who holds
    one looks whether its name still leads to it. Where there are no such locks (Windows), nothing is ever removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TRIES = 10
READ, WRITE = os.O_RDONLY, os.O_RDWR | os.O_CREAT
# never through a link that lies in wait, and never waiting for who writes to a pipe
CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Held:
    """Be a folder or file of ours. Whoever inherits the open `descriptor` holds it, too; None where none can hold."""

    path: Path
    descriptor: int | None

    def remove(self) -> None:
        """Delete it and let go of it; once."""
        remove(self.path)
        if self.descriptor is not None:
            os.close(self.descriptor)


def make_folder(prefix: str, parent: Path) -> Held:
    """Make a folder for us alone and hold it. Raises: OSError."""
    for _ in range(TRIES):
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        if not _has_locks():
            return Held(path, None)
        with contextlib.suppress(FileNotFoundError):  # swept before it was held
            if (descriptor := _take(path, READ)) is not None:
                return Held(path, descriptor)
    raise FileNotFoundError(f"folders in '{parent}' vanish")


def find_file(path: Path) -> Held | None:
    """Make a file for us alone, or take the one that is there, and hold it.

    Gives None when somebody else holds it. Raises: OSError.
    """
    for _ in range(TRIES):
        if (descriptor := _take(path, WRITE)) is not None:
            return Held(path, descriptor)
        if is_held(path):
            return None
    raise PermissionError(errno.EPERM, "it is somebody else's", str(path))


def is_held(path: Path) -> bool:
    """Tell whether somebody holds a folder or file."""
    if not _has_locks():
        return False
    try:
        descriptor = os.open(path, READ | CAREFULLY)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def sweep(parent: Path, pattern: str) -> None:
    """Remove what is in a folder by names of this pattern, is ours, and is held by nobody. What cannot be, stays."""
    if not _has_locks():
        return
    for path in sorted(parent.glob(pattern)):
        with contextlib.suppress(OSError):
            if (descriptor := _take(path, READ)) is not None:
                Held(path, descriptor).remove()


def remove(path: Path) -> None:
    """Delete a folder with all in it, or a file; what is not there is deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            _remove_as_its_host(path)
    else:
        path.unlink(missing_ok=True)


def _remove_as_its_host(path: Path) -> None:
    """Delete what a host of an ordinary user left, whose files belong to ids of that user's range."""
    command = Path(sys.executable).parent / "microhost"
    with contextlib.suppress(OSError):
        subprocess.run(
            [command, "unshare", "rm", "-rf", "--", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def _take(path: Path, how: int) -> int | None:
    """Open and lock a thing; None when it is not ours, somebody has it, or it is another by now. Raises: OSError."""
    descriptor = os.open(path, how | CAREFULLY, 0o600)
    try:
        if _is_ours(descriptor) and _lock(descriptor) and _leads_to(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_ours(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode))


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Lock without waiting; tell whether it was free. Raises: OSError when there are no locks here."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _has_locks() -> bool:
    return os.name == "posix"
