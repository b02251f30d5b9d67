"""Keep one executor from its fork to its end: its slot, its descriptors, its evidence.

An executor is never trusted to say anything: that it is ready is seen by its channel becoming readable, that it
ended by its pidfd, that memory was the reason by its doorbell or the kernel's counter.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandbox import wire
from sandbox.cgroups import Freezer, Group
from sandbox.memory import Doorbell

KILL_S = 5.0
POLL_S = 0.0005
POLL_LONGEST_S = 0.01
TEMPLATE_LEAVES_S = 2.0
REMOVE_S = 5.0

# _IOWR(0xFF, 11, 64 bytes): PIDFD_GET_INFO; Linux 6.15 keeps the exit status for it
_PIDFD_GET_INFO = 0xC040_FF0B
_PIDFD_INFO_EXIT = 1 << 3


class SurvivorError(Exception):
    """Report that a control group could not be emptied in time."""


@dataclass(slots=True)
class Slot:
    """Hold one prepared place for an executor: a control group, mounts under /x/<number>, a doorbell."""

    number: int
    group: Group
    freezer: Freezer
    peak: int
    tmp: int
    bell: Doorbell

    def freeze(self) -> None:
        """Stop whatever is in it; takes effect within a millisecond."""
        os.write(self.freezer.descriptor, self.freezer.freeze)

    def thaw(self) -> None:
        """Let it run."""
        os.write(self.freezer.descriptor, self.freezer.thaw)

    def close(self) -> None:
        """Let go of the descriptors. Call it once: their numbers may be somebody else's a moment later."""
        self.bell.close()
        wire.close([self.freezer.descriptor, self.peak, self.tmp])


class Executor:
    """Be one executor. `on_end` is called once, when it has ended; `on_stuck` ends the sandbox when it cannot."""

    def __init__(
        self,
        identity: str,
        sandbox: str,
        slot: Slot,
        *,
        on_end: Callable[[Executor], None],
        on_stuck: Callable[[str], Awaitable[None]],
        has_parent: Callable[[], bool],
    ) -> None:
        self.id = identity
        self.sandbox = sandbox
        self.slot = slot
        self.pidfd = -1
        self.channel: socket.socket | None = None
        self.stdout = -1
        self.stderr = -1
        self.holder: object | None = None
        self.ready = False
        self.announce = True
        self.template_left = asyncio.Event()
        self.evidence: dict[str, Any] | None = None
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._has_parent = has_parent
        self._ending: asyncio.Task[dict[str, Any]] | None = None

    def watch(self, pid: int) -> None:
        """Notice when the process ends; it may have ended already, and is 0 when it was not even found."""
        loop = asyncio.get_running_loop()
        try:
            if pid == 0:
                raise ProcessLookupError
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(self.end, "exited")
            return
        loop.add_reader(self.pidfd, self._on_exit)

    def end(self, cause: str) -> asyncio.Task[dict[str, Any]]:
        """End it with all it started; the task gives the evidence. The first cause counts."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(cause))
        return self._ending

    def is_ending(self) -> bool:
        """Tell whether its end has begun."""
        return self._ending is not None

    def settle(self, cause: str) -> None:
        """Note how it ended when its whole sandbox died; nothing of it is left to kill."""
        if self.evidence is None:
            self._note(cause)
        self.close()

    def close(self) -> None:
        """Let go of every descriptor that is still held here."""
        self._stop_watching()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.hand_over()

    def hand_over(self) -> None:
        """Let go of what its holder has now: channel, stdout, stderr."""
        wire.close([each for each in (self.stdout, self.stderr) if each >= 0])
        self.stdout = self.stderr = -1
        if self.channel is not None:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
            self.channel.close()
            self.channel = None

    def _on_exit(self) -> None:
        self._stop_watching()
        self.end("exited")

    def _stop_watching(self) -> None:
        if self.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.pidfd)

    async def _end(self, cause: str) -> dict[str, Any]:
        self._stop_watching()
        try:
            # the template would die with it as long as it waits in the same group
            async with asyncio.timeout(TEMPLATE_LEAVES_S):
                await self.template_left.wait()
            await empty(self.slot.group)
        except (TimeoutError, SurvivorError) as error:
            await self._on_stuck(f"an executor could not be ended: {error}")
        if self.evidence is None:
            self._note(cause)
        assert self.evidence is not None
        self.close()
        self._on_end(self)
        return self.evidence

    def _note(self, cause: str) -> None:
        slot = self.slot
        if slot.bell.exceeded or slot.bell.kernel_killed():
            cause = "out_of_memory"
        elif cause == "exited" and not self._has_parent():
            # the kernel killed it with its namespace, and told us of this one first
            cause = "sandbox_died"
        self.evidence = {
            "cause": cause,
            "status": _status(self.pidfd),
            "peak_memory_bytes": slot.group.peak_memory_bytes(),
            "cpu_s": slot.group.cpu_s(),
        }


async def remove(group: Group) -> None:
    """Remove an empty group; the kernel may need a moment to let go of the last process.

    Raises: SurvivorError.
    """
    deadline = time.monotonic() + REMOVE_S
    while not group.remove():
        if time.monotonic() > deadline:
            raise SurvivorError(f"control group '{group.path}' cannot be removed")
        await asyncio.sleep(0.002)


async def empty(group: Group) -> None:
    """Kill whatever is in a group until nothing is left.

    Raises: SurvivorError after KILL_S.
    """
    deadline = time.monotonic() + KILL_S
    pause_s = POLL_S
    group.kill()
    while not group.is_empty():
        if time.monotonic() > deadline:
            raise SurvivorError(f"control group '{group.path}' is not empty {KILL_S:.0f} s after its kill")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_LONGEST_S)
        if pause_s == POLL_LONGEST_S or group.layout.unified is None:
            group.kill()


def _status(pidfd: int) -> int | None:
    """Ask for the exit status of a process that is not our child; None on a kernel that keeps none."""
    if pidfd < 0:
        return None
    info = bytearray(64)
    info[0:8] = _PIDFD_INFO_EXIT.to_bytes(8, "little")
    with contextlib.suppress(OSError, ValueError):
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
        if int.from_bytes(info[0:8], "little") & _PIDFD_INFO_EXIT:
            return os.waitstatus_to_exitcode(int.from_bytes(info[60:64], "little", signed=True))
    return None
