"""Say as whom each process runs, and give its rights up: the user ids of the host, of sandboxes, of the installer.

Theory of operation
    Root of a machine takes the range that the settings name. Root of a user namespace (rootless.py, a container)
    takes a part of what is mapped there, at most as many. Where nothing but one id is mapped everything runs
    as that one, id 0 of the namespace: a process that is to have no rights then loses its capabilities instead of
    its id. bubblewrap alone keeps CAP_SETFCAP, without which nobody may map the id 0 of a namespace into another
    one; what it starts has none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import kernel

BASE = 210_000
COUNT = 10_000
FEWEST = 3  # the host's, one Micro's, the installer's
EVERY_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Users:
    """Hold the range: the first id is the host's, the last the installer's, those between are sandboxes'."""

    base: int = BASE
    count: int = COUNT

    @property
    def host(self) -> int:
        """Give the host's user id."""
        return self.base

    @property
    def installer(self) -> int:
        """Give the user id of installs (and of the doctor's probe)."""
        return self.base + self.count - 1

    @property
    def separate(self) -> bool:
        """Tell whether a sandbox has a user id that nobody else has."""
        return self.count >= FEWEST

    def sandboxes(self) -> Sequence[int]:
        """Give a user id for every sandbox there may be at the same time."""
        return range(self.base + 1, self.installer) if self.separate else [self.base] * COUNT


def find_users(base: int = BASE, *, uid_map: str | None = None, gid_map: str | None = None) -> Users:
    """Give the range from `base` on where it is mapped, else as many of the ids that are, else the one there is.

    Different bases, COUNT apart, give different ids as long as enough are mapped.
    """
    uids = _runs(Path("/proc/self/uid_map").read_text(encoding="ascii") if uid_map is None else uid_map)
    gids = _runs(Path("/proc/self/gid_map").read_text(encoding="ascii") if gid_map is None else gid_map)
    both = [(max(a, c), min(b, d)) for a, b in uids for c, d in gids if max(a, c) < min(b, d)]
    if any(first <= base and base + COUNT <= end for first, end in both):
        return Users(base, COUNT)
    first, end = max(both, key=lambda run: run[1] - run[0], default=(0, 1))
    first = max(first, 1)  # 0 is the warden's
    if end - first < FEWEST:
        return Users(0, 1)
    parts = max(1, (end - first) // COUNT)
    return Users(first + base // COUNT % parts * COUNT, min(COUNT, end - first))


def in_namespace() -> bool:
    """Tell whether root here is root of a user namespace only."""
    return Path("/proc/self/uid_map").read_text(encoding="ascii").split() != ["0", "0", str(EVERY_ID)]


def change_user(uid: int, groups: Sequence[int] = (), *, makes_namespaces: bool = False) -> None:
    """Become an unprivileged user for good; with `makes_namespaces`, one that can start bubblewrap.

    Raises: OSError.
    """
    if uid == 0:
        kernel.drop_capabilities(keep=kernel.CAP_SETFCAP if makes_namespaces else None)
        return
    os.setgroups(list(groups))
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_groups() -> None:
    """Leave every group but the first, where the namespace allows it."""
    with contextlib.suppress(PermissionError):
        os.setgroups([])


def _runs(text: str) -> list[tuple[int, int]]:
    """Read a map; gives (first, end) of each run of ids that exist inside, neighbours joined."""
    found: list[tuple[int, int]] = []
    for inside, count in sorted((int(line.split()[0]), int(line.split()[2])) for line in text.splitlines()):
        if found and found[-1][1] == inside:
            found[-1] = (found[-1][0], inside + count)
        else:
            found.append((inside, inside + count))
    return found
