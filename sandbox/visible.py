"""Make a few paths below a closed directory reachable, at their own place, for users who may not enter it.

Theory of operation
    A sandbox's user id must read an interpreter, and the unprivileged host a checkout, that may lie below a
    directory such as /root (0700). An interpreter that is moved elsewhere loads the wrong libraries, so it
    must stay at its own path. In a private mount namespace the topmost closed ancestor is covered with an
    empty memory file system that all may enter, and the wanted trees, opened before, are attached in it
    again; nothing else of the closed directory exists there. The trees are the same files with the same
    modes: what only the owner may read remains so.

    All is done by a process with CAP_SYS_ADMIN, before it drops its rights. `show` works in the namespace
    of the caller; `open_namespace` makes one in a child of its own and gives its descriptor, to be entered
    by others (`enter`) as often as wanted.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
CLONE_NEWNS = 0x0002_0000
AT_FDCWD = -100
AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW = 0x1000, 0x8000, 0x100
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
# The same numbers on every architecture.
SYS_OPEN_TREE, SYS_MOVE_MOUNT = 428, 429
LINKS_MAX = 40

_libc = ctypes.CDLL(None, use_errno=True)


def make_private() -> None:
    """Move this process into a mount namespace of its own, from which no mount reaches the machine's.

    Raises: OSError without CAP_SYS_ADMIN. Call it while the process has one thread.
    """
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "mount /")


def show(paths: Iterable[str | Path]) -> None:
    """Make each path reachable for everybody at its own place, in this process's (private) mount namespace.

    A path may be a directory (with all below it), a file or a symbolic link; of a link both it and what it
    names appear. Paths that everybody reaches already are left alone. The caller's own view of closed
    directories shrinks to what is shown.

    Raises: FileNotFoundError for a path that is not there, OSError when the kernel refuses.
    """
    plan = _plan(paths)
    trees = {path: _open_tree(path) for path in plan.trees}
    try:
        covered: list[Path] = []
        for path in sorted(plan.trees, key=lambda each: len(each.parts)):
            if _uncover(path, covered):
                _make_mount_point(path, is_directory=path in plan.directories)
                _attach(trees[path], path)
        for link, target in plan.links.items():
            if not os.path.lexists(link) and _uncover(link, covered):
                link.symlink_to(target)
        for path in covered:
            path.chmod(0o755)
    finally:
        for descriptor in trees.values():
            os.close(descriptor)


def open_namespace(paths: Iterable[str | Path]) -> int:
    """Make a mount namespace in which `paths` are shown; give its descriptor (close-on-exec) for `enter`.

    Mounts that appear later on the machine do not appear in it; files below the shown trees are live.
    """
    wanted = list(paths)
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        _serve_namespace(wanted, ready_write, done_read, others=(ready_read, done_write))
    os.close(ready_write)
    os.close(done_read)
    try:
        said = b"".join(iter(lambda: os.read(ready_read, 4096), b""))
        if said != b"ready":
            raise OSError(
                f"cannot make a mount namespace: {said.decode(errors='replace') or 'the process died'}"
            )
        return os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(done_write)
        os.close(ready_read)
        os.waitpid(child, 0)


def enter(namespace: int) -> None:
    """Move this process (one thread) into a namespace of `open_namespace`; its directory becomes /."""
    _check(_libc.setns(namespace, CLONE_NEWNS), "setns")


def python_paths(executable: str = sys.executable) -> list[str]:
    """Name what this interpreter needs to go on importing: prefixes, links, entries of its import path."""
    wanted = [sys.prefix, sys.base_prefix, sys.exec_prefix, executable, *sys.path]
    return [path for path in dict.fromkeys(wanted) if path and path.startswith("/") and os.path.lexists(path)]


def closed_ancestor(path: Path) -> Path | None:
    """Give the topmost directory above `path` that others may not enter."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            return ancestor
    return None


@dataclass
class _Plan:
    trees: set[Path] = field(default_factory=set)
    directories: set[Path] = field(default_factory=set)
    links: dict[Path, str] = field(default_factory=dict)


def _plan(paths: Iterable[str | Path]) -> _Plan:
    plan = _Plan()
    for each in paths:
        path = Path(each).absolute()
        for link in _links_on_the_way(path):
            plan.links[link] = str(link.readlink())
        real = Path(os.path.realpath(path, strict=True))
        if real.is_dir():
            plan.directories.add(real)
        plan.trees.add(real)
    # A tree inside another one is there with it, unless something closed lies between.
    for path in list(plan.trees):
        if any(_holds(other, path) for other in plan.trees if other != path):
            plan.trees.discard(path)
    return plan


def _holds(outer: Path, inner: Path) -> bool:
    if outer not in inner.parents:
        return False
    between = [each for each in inner.parents if each == outer or outer in each.parents]
    return all(each.stat().st_mode & stat.S_IXOTH for each in between)


def _links_on_the_way(path: Path) -> Iterator[Path]:
    """Give every symbolic link that is met while `path` is resolved, each by its own real place."""
    rest, place, met = list(path.parts[1:]), Path("/"), 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            place = place.parent
            continue
        step = place / part
        if not step.is_symlink():
            place = step
            continue
        met += 1
        if met > LINKS_MAX:
            raise OSError(f"too many symbolic links in {str(path)!r}")
        yield step
        target = step.readlink()
        if target.is_absolute():
            place = Path("/")
        rest = [*(each for each in target.parts if each not in ("/", ".")), *rest]


def _uncover(path: Path, covered: list[Path]) -> bool:
    """Cover what closes the way to `path`; tell whether `path` must be put there anew."""
    if any(each in path.parents and not os.path.lexists(path) for each in covered):
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_open(path)
        return True
    closed = closed_ancestor(path)
    if closed is None:
        return False
    _check(
        _libc.mount(
            b"tmpfs",
            os.fsencode(closed),
            b"tmpfs",
            ctypes.c_ulong(MS_NOSUID | MS_NODEV),
            b"mode=0755,size=1m",
        ),
        f"cover {closed}",
    )
    covered.append(closed)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_open(path)
    return True


def _check_open(path: Path) -> None:
    # mkdir follows the process's umask; these directories are ours.
    for ancestor in path.parents:
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            ancestor.chmod(0o755)


def _make_mount_point(path: Path, *, is_directory: bool) -> None:
    if is_directory:
        path.mkdir(exist_ok=True)
    else:
        path.touch(exist_ok=True)


def _open_tree(path: Path) -> int:
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW
    descriptor = _libc.syscall(
        ctypes.c_long(SYS_OPEN_TREE), ctypes.c_int(AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags)
    )
    _check(descriptor, f"open_tree {path}")
    return int(descriptor)


def _attach(tree: int, path: Path) -> None:
    result = _libc.syscall(
        ctypes.c_long(SYS_MOVE_MOUNT),
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(AT_FDCWD),
        os.fsencode(path),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )
    _check(result, f"move_mount {path}")


def _serve_namespace(paths: list[str | Path], ready: int, done: int, *, others: tuple[int, int]) -> None:
    """Run in the child of `open_namespace`: make it, say so, stay until the parent has opened it."""
    try:
        for descriptor in others:
            os.close(descriptor)
        make_private()
        show(paths)
        os.write(ready, b"ready")
    except (
        BaseException
    ) as error:  # whatever it is, the parent must hear it and this copy of it must end here
        with contextlib.suppress(OSError):
            os.write(ready, f"{type(error).__name__}: {error}".encode()[:4000])
    finally:
        os.close(ready)
        os.read(done, 1)
        os._exit(0)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} ({what})")
