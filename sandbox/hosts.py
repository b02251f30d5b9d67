"""Run the host, the unprivileged child that serves: spawn it, speak with it, notice its end.

Theory of operation
    A host gets its end of the channel, the listening sockets and files that only root may read as descriptors,
    and an environment of a few names. It runs under the first user id of our range, without capabilities, cannot gain rights, and dies
    with the warden. The channel is never waited on: what the host does not read stays in a queue of bounded
    length, and a host that lets it grow is ended. Two hosts live side by side during a graceful restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox import launch, visible, wire
from sandbox.wire import Record

QUEUED_RECORDS = 20_000
RECORDS_PER_TURN = 64
CHANNEL_FD = 3


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Say how a host is started: its program, its environment, its user id, what it must be able to read.

    Each of `descriptors` is told to it by the environment's variable of that name.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    uid: int
    visible: Sequence[str | Path]
    join_files: Sequence[str]
    descriptors: Mapping[str, int]


class Host:
    """Be one host process and our end of its channel. `on_gone` is called once."""

    def __init__(
        self,
        plan: HostPlan,
        *,
        on_record: Callable[[Host, Record, list[int]], None],
        on_gone: Callable[[Host], None],
        log: Callable[[str], None],
    ) -> None:
        self.state: Literal["starting", "serving", "draining", "gone"] = "starting"
        self.started_at = time.monotonic()
        self.status: int | None = None
        self.has_listed = False
        self.has_served = False
        self._plan = plan
        self._on_record = on_record
        self._on_gone = on_gone
        self._log = log
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._channel, theirs = wire.pair()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._child = launch.start(
                launch.Plan(
                    program=plan.argv[0],
                    arguments=plan.argv[1:],
                    environment={
                        **plan.environment,
                        "MICROHOST_CHANNEL_FD": str(CHANNEL_FD),
                        **{name: str(at) for at, name in enumerate(plan.descriptors, CHANNEL_FD + 1)},
                    },
                    descriptors=[null, 1, 2, theirs.fileno(), *plan.descriptors.values()],
                    uid=plan.uid,
                    join_files=plan.join_files,
                    prepare=self._prepare,
                )
            )
        finally:
            theirs.close()
            os.close(null)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._read)
        loop.add_reader(self._child.pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self._child.pid

    def send(self, record: Record, descriptors: Sequence[int] = ()) -> bool:
        """Send now or as soon as the host reads; tell whether it is there. Descriptors stay the caller's."""
        if self.state == "gone":
            return False
        data = wire.encode(record)
        if not self._unsent:
            try:
                wire.send(self._channel, data, descriptors)
                return True
            except BlockingIOError:
                asyncio.get_running_loop().add_writer(self._channel.fileno(), self._flush)
            except OSError:
                self.kill()
                return False
        if len(self._unsent) >= QUEUED_RECORDS:
            self._log("the host does not read its channel and is ended")
            self.kill()
            return False
        self._unsent.append((data, [os.dup(each) for each in descriptors]))
        return True

    def drain(self, taken: Sequence[str] = ()) -> None:
        """Ask it to finish what runs and exit; its successor accepts on the doors of the sandboxes `taken`."""
        if self.state in ("starting", "serving"):
            self.state = "draining"
            self.send({"event": "drain", "taken": list(taken)})

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)

    def _prepare(self) -> None:
        visible.make_private()
        visible.show(self._plan.visible)

    def _flush(self) -> None:
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                wire.send(self._channel, data, descriptors)
            except BlockingIOError:
                return
            except OSError:
                self.kill()
                break
            self._unsent.popleft()
            wire.close(descriptors)
        asyncio.get_running_loop().remove_writer(self._channel.fileno())

    def _read(self) -> None:
        for _ in range(RECORDS_PER_TURN):
            if self.state == "gone":
                return
            try:
                received = wire.receive(self._channel)
            except BlockingIOError:
                return
            except (wire.WireError, OSError) as error:
                self._log(f"the host sent {error} and is ended")
                received = None
            if received is None:
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self.kill()
                return
            self._on_record(self, *received)

    def _on_exit(self) -> None:
        loop = asyncio.get_running_loop()
        for each in (self._child.pidfd, self._channel.fileno()):
            loop.remove_reader(each)
        loop.remove_writer(self._channel.fileno())
        with contextlib.suppress(ChildProcessError):
            self.status = os.waitstatus_to_exitcode(os.waitpid(self._child.pid, 0)[1])
        with contextlib.suppress(OSError):
            complaint = os.read(self._child.complaint, launch.COMPLAINT_BYTES).decode(errors="replace")
            if complaint:
                self._log(f"the host could not be started: {complaint}")
        self._channel.close()
        wire.close([self._child.pidfd, self._child.complaint])
        for _, descriptors in self._unsent:
            wire.close(descriptors)
        self._unsent.clear()
        self.state = "gone"
        self._on_gone(self)
