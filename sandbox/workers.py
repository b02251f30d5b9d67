"""Fork one short-lived worker for each job, from a permanent child of the warden that does nothing else.

Theory of operation
    The warden has one thread and must not wait; nor may it stay where a job leads (a mount namespace, a network).
    So a permanent child forks a worker a job; the worker does it, answers on the socket and ends. Jobs carry no
    tenant bytes; every job has a deadline. The child ends with the warden, or, where it has to clear up after a
    warden that was killed, finds the socket's end and does that first (`on_orphaned`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from sandbox import kernel, wire
from sandbox.wire import Record

Done = tuple[Record, list[int]]
Jobs = Mapping[str, Callable[[Record, list[int]], Done]]


class MountError(Exception):
    """Report that a job could not be done, in one sentence; the sandbox it was for must end."""


@dataclass(frozen=True, slots=True)
class Trade:
    """Say what workers can do. `prepare` runs once in their parent, `on_orphaned` when the warden was killed."""

    name: str  # in process lists
    jobs: Jobs
    job_s: float
    prepare: Callable[[], None] | None = None
    on_orphaned: Callable[[], None] | None = None


class Workers:
    """Keep the parent of the workers and hand it jobs. Start it once, from the main thread."""

    def __init__(self, trade: Trade) -> None:
        self._trade = trade
        self._pid = 0
        self._socket: socket.socket | None = None
        self._last_job = 0
        self._waiting: dict[int, asyncio.Future[tuple[Record, list[int]]]] = {}

    def start(self) -> None:
        """Fork the workers' parent; again when it has died."""
        ours, theirs = wire.pair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _be_parent(theirs, parent, self._trade)
        theirs.close()
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)

    def close(self) -> None:
        """End it."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(MountError("the workers have ended"))

    async def ask(self, record: Record, descriptors: list[int]) -> Done:
        """Have a job done; gives its answer and the descriptors that came with it. Raises: MountError."""
        if self._socket is None:
            raise MountError("the workers have ended")
        job_s = self._trade.job_s
        self._last_job += 1
        job = self._last_job
        future: asyncio.Future[tuple[Record, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[job] = future
        try:
            wire.send(self._socket, wire.encode({**record, "job": job}), descriptors)
            async with asyncio.timeout(job_s):
                answer, received = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                wire.close(future.result()[1])
            raise
        except TimeoutError as error:
            raise MountError(f"the job '{record['do']}' took longer than {job_s:.0f} s") from error
        except OSError as error:
            raise MountError(f"the workers take no job: {error.strerror}") from error
        finally:
            self._waiting.pop(job, None)
        if "error" in answer:
            wire.close(received)
            raise MountError(f"the job '{record['do']}' failed: {answer['error']}")
        return answer, received

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                received = wire.receive(self._socket)
            except BlockingIOError:
                return
            except (OSError, wire.WireError):
                received = None
            if received is None:
                self.close()
                self.start()
                return
            record, descriptors = received
            future = self._waiting.get(record["job"])
            if future is None or future.done():
                wire.close(descriptors)
            else:
                future.set_result((record, descriptors))


def _be_parent(end: socket.socket, parent: int, trade: Trade) -> NoReturn:
    """Fork a worker a job until the warden is gone."""
    try:
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if trade.on_orphaned is None:
            kernel.die_with_parent(parent)
        kernel.name_process(trade.name)
        kept = end.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, 65_536)
        end.setblocking(True)
        if trade.prepare is not None:
            trade.prepare()
        gc.freeze()
        while (received := wire.receive(end)) is not None:
            if os.fork() == 0:
                _work(end, trade.jobs, *received)
            wire.close(received[1])
        if trade.on_orphaned is not None:
            trade.on_orphaned()
    finally:
        os._exit(0)


def _work(end: socket.socket, jobs: Jobs, record: Record, descriptors: list[int]) -> NoReturn:
    """Do one job and answer."""
    try:
        try:
            answer, found = jobs[record["do"]](record, descriptors)
        except OSError as error:
            answer, found = {"error": error.strerror or str(error)}, []
        wire.send(end, wire.encode({**answer, "job": record["job"]}), found)
    finally:
        os._exit(0)
