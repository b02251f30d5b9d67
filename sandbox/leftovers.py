"""Remove the control groups of wardens that were killed, whatever their data directories were.

Theory of operation
    A living warden holds a lock (flock) on its tree's directory in the first hierarchy; the kernel lets go of it when
    the warden ends, however that happens. So a tree whose lock can be had belongs to nobody. It is removed while the lock
    is held and only when no process is anywhere in it; whoever starts there meanwhile waits for the lock, finds
    that the directory is no longer the one it has opened, and makes it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path

from sandbox.cgroups import Layout, has_processes, remove_places

NAME = re.compile(r"microhost-[0-9a-f]{12}")


def hold(layout: Layout, name: str) -> int:
    """Make the tree's directory in the first hierarchy and lock it; gives the descriptor that is to be kept.

    Raises: OSError.
    """
    directory = layout.directories()[0] / name
    while True:
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
        try:
            held = _open(directory)
        except FileNotFoundError:
            continue
        fcntl.flock(held, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), directory.stat()):
                return held
        os.close(held)


def sweep(layout: Layout) -> list[str]:
    """Remove every tree that nobody holds and in which nothing lives; gives their names."""
    first = layout.directories()[0]
    found = sorted(each.name for each in first.iterdir() if NAME.fullmatch(each.name))
    return [name for name in found if _remove_unheld(layout, first / name)]


def _remove_unheld(layout: Layout, directory: Path) -> bool:
    try:
        held = _open(directory)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # the locked directory last: until then nobody else can begin there
        places = [str(each / directory.name) for each in reversed(layout.directories())]
        return not has_processes(places) and remove_places(places, kill=False)
    except BlockingIOError:
        return False
    finally:
        os.close(held)


def _open(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
