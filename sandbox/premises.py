"""Prepare what the warden works on: the data directory, its lock, the control groups, the view of sandboxes.

Theory of operation
    The data directory belongs to the host's user id; what the warden alone writes (`envs`, `cache`, `run`,
    `lock`) belongs to root and is opened once, so that a host which renames it later reaches nothing. The lock
    also keeps where the control groups of this run are: the next start finds and removes what a killed one
    left; what is left of other data directories it removes when nobody holds it (leftovers.py). Mounts need
    no clearing: they live in namespaces that die with their processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import cgroups, install, interpreters, kernel, leftovers, nodes, policy, visible
from sandbox.bwrap import find_bwrap
from sandbox.certificates import Certificates
from sandbox.etc import write_etc
from sandbox.interpreters import Interpreter
from sandbox.runtime import keep_copy
from sandbox.users import BASE, Users, find_users

OWN_DIRECTORIES = ("envs", "cache", "run")
CLEAR_S = 10.0


class PremisesError(Exception):
    """Report why this machine or this directory cannot be worked with, ending with the next step."""


@dataclass(frozen=True, slots=True)
class Premises:
    """Hold what was prepared; open for the warden's whole life."""

    data: Path
    users: Users
    directory: int
    envs: int
    lock: int
    tree: cgroups.Tree
    tree_lock: int
    namespace: int
    etc: str
    certificates: Certificates
    runtime: Path
    bwrap: str
    interpreters: list[Interpreter]
    nodes: list[Interpreter]
    proc_entries: frozenset[str]

    def enter_namespace(self) -> None:
        """Move a child of the warden to where every source of a sandbox can be reached."""
        visible.enter(self.namespace)


def prepare(data: Path, *, uid_base: int = BASE, runtime: Path, door_names: Sequence[str] = ()) -> Premises:
    """Take the data directory, clear what an earlier run left, make the control groups.

    `door_names` are the host names by which sandboxes reach us.

    Raises: PremisesError.
    """
    users = find_users(uid_base)
    bwrap = find_bwrap()
    if bwrap is None:
        raise PremisesError("bubblewrap is not installed (Debian: apt-get install bubblewrap).")
    data = data.absolute()
    directory = _open_data(data, users.host)
    lock = _take_lock(directory, data)
    tree, tree_lock = _open_tree(lock, data)
    envs = _open_own(directory, "envs")
    etc = data / "run" / "etc"
    write_etc(etc, door_names=door_names)
    copy = keep_copy(runtime, data / "run")
    found = interpreters.find()
    if not found:
        raise PremisesError(
            "No Python 3.9 or newer was found; install one (Debian: apt-get install python3)."
        )
    found_nodes = nodes.find()
    shown: list[str | Path] = [
        copy,
        etc,
        *install.sources(data, os.environ),
        bwrap,
        *(each for one in (*found, *found_nodes) for each in (one.executable, *one.prefixes)),
    ]
    return Premises(
        data=data,
        users=users,
        directory=directory,
        envs=envs,
        lock=lock,
        tree=tree,
        tree_lock=tree_lock,
        namespace=visible.open_namespace(shown),
        etc=str(etc),
        certificates=Certificates(directory, _open_ssl(directory), uid=users.host),
        runtime=copy,
        bwrap=bwrap,
        interpreters=found,
        nodes=found_nodes,
        proc_entries=frozenset(each for each in policy.proc_paths() if os.path.lexists(each)),
    )


def tree_name(data: Path) -> str:
    """Give the name of the control group tree that belongs to a data directory."""
    return f"microhost-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]}"


def clear_tree(tree: cgroups.Tree) -> bool:
    """Kill and remove the whole tree; tell whether nothing is left after CLEAR_S."""
    return _until_gone(tree.places())


def _open_data(data: Path, uid: int) -> int:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(data, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _check_maker(directory)
        return _take_data(directory, uid)
    except PermissionError as error:
        raise PremisesError(
            f"'{data}' belongs to another user; start microhost as that one, or choose another directory with --data."
        ) from error


def _check_maker(directory: int) -> None:
    """Refuse a directory in which a warden of another user has worked. Raises: PermissionError."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat("lock", dir_fd=directory, follow_symlinks=False).st_uid != os.geteuid():
            raise PermissionError


def _take_data(directory: int, uid: int) -> int:
    if os.fstat(directory).st_uid != uid:
        _give(directory, uid)
    os.fchmod(directory, 0o700)
    for name in OWN_DIRECTORIES:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)
        os.close(_open_own(directory, name))
    return directory


def _give(directory: int, uid: int) -> None:
    """Give a data directory that another user made to the host, but for what is the warden's."""
    for name in os.listdir(directory):
        if name in OWN_DIRECTORIES or name == "lock":
            continue
        os.chown(name, uid, uid, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            for _, directories, files, place in os.fwalk(name, dir_fd=directory, follow_symlinks=False):
                for each in (*directories, *files):
                    os.chown(each, uid, uid, dir_fd=place, follow_symlinks=False)
    os.fchown(directory, uid, uid)


def _open_own(directory: int, name: str) -> int:
    """Open a directory that only root may write.

    Raises: PremisesError when somebody else put it there.
    """
    opened = os.open(name, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    found = os.fstat(opened)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(opened)
        raise PremisesError(
            f"Directory '{name}' of the data directory does not belong to root alone; move it away and start again."
        )
    return opened


def _open_ssl(directory: int) -> int:
    """Open what sandboxes see as /etc/ssl."""
    return kernel.open_beneath(directory, "run/etc/ssl", os.O_RDONLY | os.O_DIRECTORY)


def _take_lock(directory: int, data: Path) -> int:
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    if os.fstat(lock).st_uid != os.geteuid():
        raise PremisesError(f"'{data}/lock' does not belong to root; remove it and start again.")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PremisesError(
            f"Another microhost is using '{data}'; stop it first, or choose another directory with --data."
        ) from None
    return lock


def _open_tree(lock: int, data: Path) -> tuple[cgroups.Tree, int]:
    """Remove the tree of an earlier run and those of wardens that were killed, and make and lock ours."""
    name = tree_name(data)
    earlier = [
        each
        for each in os.pread(lock, 65536, 0).decode(errors="replace").splitlines()
        if each.endswith(f"/{name}") and each.startswith("/") and ".." not in each
    ]
    try:
        layout = cgroups.find_layout(
            Path("/proc/self/mounts").read_text(encoding="utf-8"),
            Path("/proc/self/cgroup").read_text(encoding="utf-8"),
        )
        tree = cgroups.Tree(layout, name)
        if not _until_gone([*earlier, *tree.places()]):
            raise PremisesError(
                f"Processes of an earlier run below '{name}' cannot be killed; reboot the machine."
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, "".join(f"{each}\n" for each in tree.places()).encode(), 0)
        tree_lock = _hold(layout, name)
        tree.open()
        leftovers.sweep(layout)
    except cgroups.CgroupError as error:
        raise PremisesError(str(error)) from error
    return tree, tree_lock


def _hold(layout: cgroups.Layout, name: str) -> int:
    try:
        return leftovers.hold(layout, name)
    except OSError as error:
        raise PremisesError(
            f"Cannot make control groups below {layout.directories()[0]}: {error.strerror}; "
            f"{cgroups.DELEGATE}."
        ) from error


def _until_gone(places: list[str]) -> bool:
    deadline = time.monotonic() + CLEAR_S
    while not cgroups.remove_places(places):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
