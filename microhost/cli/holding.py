"""Run one command for as long as whoever started us lives, then end it and clear up after it.

    python -m microhost.cli.holding REMOVE COMMAND...     REMOVE: paths to delete at the end, a JSON list

Theory of operation
    Our standard input is a pipe whose other end the starter holds and nobody else. Its end of file, however it comes
    about (the starter ended it, died or was killed), ends the command: SIGTERM, and SIGKILL when it has not ended
    after STOP_S. A second SIGTERM to us is passed on, for a command that then hurries. The command in turn is told by
    the kernel when we are killed. So neither the command nor its files outlive the starter. What we inherit open holds
    those files (leftovers.py) until we have ended; the command does not inherit it. This process imports nothing
    beyond the standard library but what removes.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from microhost.cli import leftovers

STOP_S = 25.0
PR_SET_PDEATHSIG = 1
READ_BYTES = 4096
ORPHANED = 1


def main(arguments: Sequence[str]) -> int:
    """Hold a command; gives its exit code."""
    remove, command = json.loads(arguments[0]), arguments[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the starter decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        return hold(command)
    finally:
        for each in remove:
            leftovers.remove(Path(each))


def hold(command: Sequence[str]) -> int:
    """Run the command until it ends by itself or our standard input does."""
    ended, writer = os.pipe()
    signal.set_wakeup_fd(_unblocked(writer), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            preexec_fn=partial(_end_with_parent, os.getpid()),
            start_new_session=True,
        )
    except OSError as error:
        print(f"'{command[0]}' cannot be started: {error.strerror}.", file=sys.stderr, flush=True)
        return 127
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    try:
        while child.poll() is None and not _is_over(sys.stdin.fileno(), ended):
            pass
    finally:
        _end(child)
    return child.returncode


def _is_over(starter: int, woken: int) -> bool:
    """Wait for a word; tell whether the starter has gone."""
    ready = select.select([starter, woken], [], [])[0]
    said = [each for each in ready if os.read(each, READ_BYTES)]
    return starter in ready and starter not in said


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    deadline = time.monotonic() + STOP_S
    while child.poll() is None:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            deadline = time.monotonic() + STOP_S


def _end_with_parent(parent: int) -> None:
    """Have the kernel tell us of our parent's end, and end now when that has been already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(ORPHANED)


def _unblocked(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    return descriptor


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
