"""Look after what Drives keep: sweep what nobody needs, and read every file again from time to time.

Theory of operation
    One thread. At start and then hourly it sweeps every project: idle uploads, garbage, orphans. In between it takes
    the files whose last verification is longest ago and compares them with their hashes, never faster than
    `DRIVE_VERIFY_BYTES_PER_S`. What it finds damaged is logged, and is not given to readers any more. All the while it
    lets go of indexes that nobody uses.
    A predecessor that still drains may be at work on the same files: a sweep leaves alone what is young.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from microhost.errors import NotFoundError
from microhost.limits import DRIVE_SWEEP_S, DRIVE_VERIFY_BYTES_PER_S, DRIVE_VERIFY_S
from microhost.storage.drives import Drives
from microhost.storage.project_drives import ProjectDrives

CLOSE_IDLE_S = 30.0

log = structlog.get_logger("drive")


class StoppedError(Exception):
    """Report that the host wants to end."""


class Upkeep:
    """Run the thread from `start` to `stop`."""

    def __init__(
        self,
        drives: Drives,
        *,
        clock: Callable[[], datetime],
        sweep_s: float = DRIVE_SWEEP_S,
        bytes_per_s: float = DRIVE_VERIFY_BYTES_PER_S,
    ) -> None:
        """Look after `drives`; nothing runs yet."""
        self._drives = drives
        self._clock = clock
        self._sweep_s = sweep_s
        self._bytes_per_s = bytes_per_s
        self._closed_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drive-upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, at the next piece of a file at the latest; may be called twice, and without a start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            turn_ends_at = time.monotonic() + self._sweep_s
            for project_id in self._drives.list_projects():
                self._look_after(project_id)
            while not self._stopping.wait(max(0.0, min(CLOSE_IDLE_S, turn_ends_at - time.monotonic()))):
                self._close_idle()
                if time.monotonic() >= turn_ends_at:
                    break

    def _look_after(self, project_id: str) -> None:
        try:
            project = self._drives.of(project_id)
            project.sweep()
            self._verify(project)
        except (StoppedError, NotFoundError):  # the end, or the project was deleted meanwhile
            return
        except Exception:  # one project's trouble must not end the upkeep of the others
            log.exception("upkeep failed", project=project_id)

    def _verify(self, project: ProjectDrives) -> None:
        before = self._clock() - timedelta(seconds=DRIVE_VERIFY_S)
        while not self._stopping.is_set() and project.verify_next(before, self._pace):
            pass

    def _close_idle(self) -> None:
        if time.monotonic() - self._closed_at >= CLOSE_IDLE_S:
            self._closed_at = time.monotonic()
            self._drives.close_idle()

    def _pace(self, count: int) -> None:
        self._close_idle()
        if self._stopping.wait(count / self._bytes_per_s):
            raise StoppedError
