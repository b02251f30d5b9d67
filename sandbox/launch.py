"""Start the processes of the warden: sandboxes, the host, builds. Each child gives its rights up in one visible order.

Theory of operation
    Only the permanent main thread forks: a parent-death signal follows the thread that forked, not the
    process. The child, still root, joins its control group (nothing it ever starts is outside), enters the
    mount namespace in which closed directories are passable (visible.py), takes its descriptors, lowers its
    limits, changes to its own user id and executes. Whatever goes wrong on the way is one sentence on the
    descriptor `complaint`, which exec closes; its end of file without a word means that the program runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from sandbox import cgroups, kernel, users
from sandbox.bwrap import CORE_LIMIT

COMPLAINT_BYTES = 1000
FILES_SOFT, FILES_HARD = 1024, 8192
# The kernel takes a sandbox before the warden or the host when the whole machine runs out of memory.
OOM_SCORE_SANDBOX = 800


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what to execute and as whom. `descriptors` are given to the program as 0, 1, 2, ... in this order."""

    program: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int]
    uid: int
    join_files: Sequence[str] = ()
    prepare: Callable[[], None] | None = None  # run while still root, after joining: the mount namespace
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    oom_score: int = 0
    groups: Sequence[int] = ()
    makes_namespaces: bool = False  # it is bubblewrap


@dataclass(frozen=True, slots=True)
class Child:
    """Hold a started process. `complaint` becomes readable when it runs or has failed; both are the caller's."""

    pid: int
    pidfd: int
    complaint: int


def start(plan: Plan) -> Child:
    """Fork and execute; call it from the main thread only."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    gc.disable()
    try:
        pid = os.fork()
        if pid == 0:
            _become(plan, parent, writer)
    finally:
        gc.enable()
        os.close(writer)
    os.set_blocking(reader, False)
    return Child(pid, os.pidfd_open(pid), reader)


def start_worker(work: Callable[[], None], *, join_files: Sequence[str] = (), name: str) -> tuple[int, int]:
    """Fork a child of ours that runs `work`, still with our rights, and ends; gives its pid and pidfd."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _forget_parent()
            kernel.die_with_parent(parent)
            kernel.name_process(name)
            if join_files:
                cgroups.join(join_files, 0)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid, os.pidfd_open(pid)


def sandbox_limits() -> dict[int, tuple[int, int]]:
    """Give the resource limits of a sandbox's processes; memory and tasks are the control group's."""
    return {
        resource.RLIMIT_CORE: CORE_LIMIT,
        resource.RLIMIT_NOFILE: (FILES_SOFT, FILES_HARD),
        resource.RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_RTPRIO: (0, 0),
        resource.RLIMIT_NICE: (0, 0),
    }


def _become(plan: Plan, parent: int, complaint: int) -> NoReturn:
    """Turn this fork into the planned program; never returns."""
    try:
        _forget_parent()
        if plan.join_files:
            cgroups.join(plan.join_files, 0)
        if plan.prepare is not None:
            plan.prepare()
        if plan.oom_score:
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(plan.oom_score))
        complaint = _place_descriptors(plan.descriptors, complaint)
        for limit, values in plan.limits.items():
            _lower(limit, values)
        users.change_user(plan.uid, plan.groups, makes_namespaces=plan.makes_namespaces)
        kernel.forbid_new_privileges()
        # after the change of user, which clears it
        kernel.die_with_parent(parent)
        os.umask(0o022)
        os.chdir("/")
        os.setsid()
        os.execve(plan.program, [plan.program, *plan.arguments], dict(plan.environment))
    except BaseException as error:  # whatever it is, this copy of the warden must end here and say why
        with contextlib.suppress(OSError):
            os.write(complaint, f"{type(error).__name__}: {error}".encode()[:COMPLAINT_BYTES])
    finally:
        os._exit(127)


def _forget_parent() -> None:
    """Undo what a child should not have of the warden: its signal handlers, its priority."""
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    signal.set_wakeup_fd(-1)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _lower(limit: int, values: tuple[int, int]) -> None:
    """Set a limit, or what is nearest to it where ours is lower already and may not be raised."""
    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY:
        values = (min(values[0], hard), min(values[1], hard))
    resource.setrlimit(limit, values)


def _place_descriptors(wanted: Sequence[int], complaint: int) -> int:
    """Make `wanted` the descriptors 0, 1, 2, ... and close all others but `complaint`; gives its new number."""
    above = len(wanted) + 1
    moved = [_dup_above(each, above) for each in (*wanted, complaint)]
    for number, descriptor in enumerate(moved[:-1]):
        os.dup2(descriptor, number, inheritable=True)
    os.dup2(moved[-1], len(wanted), inheritable=False)
    os.closerange(above, 1 << 20)
    return len(wanted)


def _dup_above(descriptor: int, lowest: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def children_of(pid: int) -> list[int]:
    """Give the children of a process, none when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(each) for each in file.read().split()]
    except OSError:
        return []


def parent_of(pid: int) -> int:
    """Give the parent of a process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
