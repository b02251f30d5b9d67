"""Write numbered lines into a service's log by the descriptor that its process has open, as the process does. Runs inside the machine.

python3 scribe.py UNIT PAUSE_S COUNT_FILE       until SIGTERM; then the number of lines stands in COUNT_FILE

When the process ends, it goes on with the one that the service has next.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PIDFD_GETFD = 438
STDERR = 2
_libc = ctypes.CDLL(None, use_errno=True)
_stopping: list[int] = []


def find_process(unit: str) -> int:
    """Wait until the service has a process; gives its pid."""
    show = ["systemctl", "show", "-p", "MainPID", "--value", unit]
    while not _stopping:
        pid = int(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
        if pid:
            return pid
        time.sleep(0.05)
    return 0


def borrow_log(pid: int) -> int:
    """Give a duplicate of the process's own descriptor: the same open file, wherever its name has gone. Raises: OSError."""
    process = os.pidfd_open(pid)
    try:
        log = _libc.syscall(PIDFD_GETFD, process, STDERR, 0)
        if log < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return int(log)
    finally:
        os.close(process)


def is_alive(pid: int) -> bool:
    """Tell whether a process is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Write until told to stop."""
    unit, pause_s, count_file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: _stopping.append(1))
    count = 0
    while not _stopping:
        pid = find_process(unit)
        try:
            log = borrow_log(pid)
        except OSError:
            continue  # it has ended since
        while not _stopping and is_alive(pid):
            os.write(log, b"scribe %d\n" % count)
            count += 1
            time.sleep(pause_s)
        os.close(log)
    count_file.write_text(f"{count}\n")


if __name__ == "__main__":
    main()
