"""Make an ordinary user root of a user namespace, in which the warden works as it does as root.

Theory of operation
    The process leaves its user namespace for a new one, in which its own user is id 0. A helper that stayed outside
    calls newuidmap and newgidmap (package uidmap), which add the ranges of /etc/subuid and /etc/subgid from id 1
    on; without them the process maps itself alone. A mount namespace of its own follows. Nothing is executed
    anew: who sent a signal to the command still reaches the same process.
    Where systemd runs the user's session and the command is in a control group that is not the user's to divide, it
    first executes itself once more in a scope with Delegate=yes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from sandbox import cgroups, kernel, users, visible

SCOPED = "_MICROHOST_SCOPED"  # no setting: those begin with MICROHOST_
MAP_S = 10.0


class RootlessError(Exception):
    """Report in one sentence, ending with the next step, why this user cannot have a namespace."""


@dataclass(frozen=True, slots=True)
class Range:
    """Hold ids that a user may map: the first, and how many."""

    first: int
    count: int


def enter() -> None:
    """Become root of a new user namespace. Call it while the process has one thread; does nothing as root.

    Raises: RootlessError.
    """
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    name = _name(uid)
    commands = [
        _command("newuidmap", uid, find_range("/etc/subuid", name, uid)),
        _command("newgidmap", gid, find_range("/etc/subgid", name, uid)),
    ]
    try:
        if None in commands or not _enter_mapped([each for each in commands if each]):
            _map_one(uid, gid)
        users.drop_groups()
        visible.make_private()
    except OSError as error:
        raise RootlessError(
            f"This user cannot have a user namespace: {error.strerror or error}; microhost doctor says what to do."
        ) from error


def enter_for(data: Path) -> None:
    """Enter when `data` belongs to an id of this user's range: only there its files can be read.

    Raises: RootlessError.
    """
    if os.geteuid() == 0:
        return
    with contextlib.suppress(OSError):
        owner, ids = data.stat().st_uid, find_range("/etc/subuid", _name(os.geteuid()), os.geteuid())
        if ids is not None and ids.first <= owner < ids.first + ids.count:
            enter()


def find_range(file: str, name: str, uid: int) -> Range | None:
    """Give the largest range that a file such as /etc/subuid gives to a user; None when there is none."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        who, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if who in (name, str(uid)) and first.strip().isdecimal() and count.strip().isdecimal():
            found.append(Range(int(first), int(count)))
    return max(found, key=lambda each: each.count, default=None)


def move_to_scope(environment: MutableMapping[str, str] = os.environ) -> None:
    """Execute this command again in a scope of the user's own systemd, where control groups are delegated.

    Returns when there is nothing to gain: as root, in a group of ours already, without such a systemd.
    """
    if os.geteuid() == 0 or environment.pop(SCOPED, "") or _is_delegated():
        return
    program = shutil.which("systemd-run")
    runtime = environment.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    if program is None or not os.path.exists(f"{runtime}/systemd/private"):
        return
    asked = ["--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes"]
    tried = {**environment, "XDG_RUNTIME_DIR": runtime}
    if subprocess.run(
        [program, *asked, "--", "true"], env=tried, check=False, capture_output=True
    ).returncode:
        return
    os.execve(program, [program, *asked, "--", *sys.orig_argv], {**tried, SCOPED: "1"})


def _is_delegated() -> bool:
    """Tell whether groups where this process is are its own to divide."""
    try:
        layout = cgroups.find_layout(
            Path("/proc/self/mounts").read_text(encoding="utf-8"),
            Path("/proc/self/cgroup").read_text(encoding="utf-8"),
        )
        if layout.version == 2 and layout.unified is not None:
            # what is the user's to write may still be shared with programs of the session; systemd marks what is not
            marked = os.getxattr(layout.unified, "user.delegate") == b"1"
            return marked and os.access(layout.unified, os.W_OK)
    except (OSError, cgroups.CgroupError):
        return False
    return all(os.access(each, os.W_OK) for each in layout.directories())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(program: str, own: int, ids: Range | None) -> list[str] | None:
    """Give what maps `own` to 0 and the range from 1 on, but for the pid; None without range or program."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/bin:/bin")
    if path is None or ids is None:
        return None
    return [path, "0", str(own), "1", "1", str(ids.first), str(ids.count)]


def _enter_mapped(commands: list[list[str]]) -> bool:
    """Leave for a new namespace and have it mapped from outside; tell whether that worked."""
    parent = os.getpid()
    go_read, go_write = os.pipe()
    done_read, done_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go_write)
        _map_from_outside(parent, commands, go_read, done_write)
    os.close(done_write)
    os.close(go_read)
    try:
        kernel.leave_users()
        os.write(go_write, b"g")
        return os.read(done_read, 1) == b"y"
    finally:
        os.close(go_write)
        os.close(done_read)
        os.waitpid(helper, 0)


def _map_from_outside(pid: int, commands: list[list[str]], go: int, done: int) -> None:
    """Run in the helper: wait until the namespace is there, map it, say how that went."""
    try:
        if os.read(go, 1) != b"g":
            return
        for program, *numbers in commands:
            subprocess.run([program, str(pid), *numbers], check=True, timeout=MAP_S)
        os.write(done, b"y")
    except (OSError, subprocess.SubprocessError) as error:
        with contextlib.suppress(OSError):
            os.write(2, f"microhost: {error}\n".encode())
    finally:
        os._exit(0)


def _map_one(uid: int, gid: int) -> None:
    """Map this user alone; one who maps himself must give up changing groups first."""
    if Path("/proc/self/uid_map").read_text(encoding="ascii"):  # else newuidmap failed in the new one
        kernel.leave_users()
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
