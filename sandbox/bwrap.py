"""Start bubblewrap for a short job (an install, the doctor's probe) and hand its process over.

The warden starts Micros' sandboxes itself (`launch.py`); this is the same order of steps with the standard
library's `subprocess`, for callers that read the output and wait.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import kernel, policy, seccomp, users, visible

# With 0 a kernel that pipes core dumps to a program would still do so; with 1 it neither pipes nor writes
# one.
CORE_LIMIT = (1, 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """Say who a job is: user id (None: ours), mount namespace (of `visible`), network (None: ours), control group."""

    uid: int | None = None
    namespace: int | None = None
    network: int | None = None
    cgroup_files: tuple[Path, ...] = ()
    file_bytes: int | None = None
    core_limit: tuple[int, int] = CORE_LIMIT


def find_bwrap() -> str | None:
    """Give the path of bubblewrap, or None."""
    return shutil.which("bwrap", path=os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin:/bin")


def start(
    describe: Callable[[int], list[str]],
    command: Sequence[str],
    entry: Entry,
    *,
    input_fd: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `command` in the sandbox whose options `describe(seccomp descriptor)` gives; outputs are pipes.

    Raises: FileNotFoundError without bubblewrap, OSError or subprocess.SubprocessError when a step before
    it fails.
    """
    program = find_bwrap()
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    filter_fd = seccomp.open_program()
    arguments_fd = os.memfd_create("arguments", 0)
    try:
        os.write(arguments_fd, policy.argument_block(describe(filter_fd)))
        os.lseek(arguments_fd, 0, os.SEEK_SET)
        return subprocess.Popen(
            [program, "--args", str(arguments_fd), "--", *command],
            stdin=input_fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
            pass_fds=(filter_fd, arguments_fd),
            preexec_fn=lambda: _become(entry),
        )
    finally:
        os.close(filter_fd)
        os.close(arguments_fd)


def _become(entry: Entry) -> None:
    """Run between fork and exec: join the group, enter the namespace, then give the rights up."""
    for path in entry.cgroup_files:
        path.write_text("0")
    if entry.namespace is not None:
        visible.enter(entry.namespace)
    if entry.network is not None:
        kernel.enter_network(entry.network)
    resource.setrlimit(resource.RLIMIT_CORE, entry.core_limit)
    if entry.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (entry.file_bytes, entry.file_bytes))
    os.umask(0o022)
    if entry.uid is not None:
        users.change_user(entry.uid, makes_namespaces=True)
