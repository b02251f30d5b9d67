"""Ring when the programs of a control group use more memory than promised, and not when /tmp or caches do.

Theory of operation
    tmpfs pages are charged to the group of who wrote them, so one hard limit cannot promise "512 MB of memory
    and 512 MB of /tmp". The hard limit is the sum of both and some room; the promise is kept by a doorbell at
    memory + used(/tmp) + file cache. When it rings the warden looks: what the programs themselves hold is
    usage - used(/tmp) - file cache; over the limit they are killed, else the doorbell is set anew.
    Version 1: a threshold eventfd on memory.usage_in_bytes (exact; it rings when the threshold is crossed, so
    the usage is read again after setting it). Version 2: memory.high, which also slows the offender down
    while the warden looks, and a watch on memory.events. A jump too fast for the doorbell ends at the hard
    limit: the kernel's own kill is seen by a second eventfd (version 2: in the same file).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from sandbox import kernel
from sandbox.cgroups import Group

ROOM_BYTES = 32 * 1024 * 1024
# A doorbell is never set closer than this above what is used: a program at its limit that fills /tmp would
# ring at every page.
STEP_BYTES = 256 * 1024


def hard_limit_bytes(memory_bytes: int, tmp_bytes: int) -> int:
    """Give the control group's limit for a promise of both."""
    return memory_bytes + tmp_bytes + ROOM_BYTES


def own_bytes(usage_bytes: int, file_cache_bytes: int, tmp_used_bytes: int) -> int:
    """Give what programs themselves hold, of all that is charged to their group."""
    return max(0, usage_bytes - file_cache_bytes - tmp_used_bytes)


class Doorbell:
    """Watch one group. Open it before anything runs there; `on_exceeded` is called at most once."""

    def __init__(
        self, group: Group, *, limit_bytes: int, tmp: int | None, on_exceeded: Callable[[], None]
    ) -> None:
        """Watch `group` for `limit_bytes`; `tmp` is a descriptor of its /tmp, which stays the caller's."""
        self._group = group
        self._limit_bytes = limit_bytes
        self._tmp = tmp
        self._on_exceeded = on_exceeded
        self._kills_before = group.oom_kills()
        self._bells: list[int] = []
        self.rung = 0
        self.exceeded = False

    def open(self) -> None:
        """Set the doorbell.

        Raises: OSError when the kernel offers none.
        """
        if self._group.layout.version == 2:
            self._watch(kernel.watch_changes(self._group.memory_file("memory.events")))
            self._set_v2()
        else:
            self._watch(self._register("memory.oom_control", ""))
            self._set_v1()

    def close(self) -> None:
        """Stop watching. May be called twice."""
        while self._bells:
            self._unwatch(self._bells[0])

    def kernel_killed(self) -> bool:
        """Tell whether the kernel has killed a process of the group for want of memory."""
        return self._group.oom_kills() > self._kills_before

    def _ring(self, bell: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(bell, 4096)
        self.rung += 1
        try:
            if self._must_end():
                self._exceed()
            elif self._group.layout.version == 2:
                self._set_v2()
            elif bell != self._bells[0]:
                self._unwatch(bell)
                self._set_v1()
        except OSError:
            # without a doorbell nobody may run there
            if self._group.exists():
                self._exceed()

    def _exceed(self) -> None:
        self.close()
        self.exceeded = True
        self._on_exceeded()

    def _must_end(self) -> bool:
        return self.kernel_killed() or self._own_bytes() > self._limit_bytes

    def _own_bytes(self) -> int:
        usage = self._group.memory_bytes()
        return own_bytes(usage, self._group.file_cache_bytes(), self._tmp_used_bytes())

    def _tmp_used_bytes(self) -> int:
        if self._tmp is None:
            return 0
        try:
            found = os.fstatvfs(self._tmp)
        except OSError:
            return 0
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def _threshold_bytes(self) -> int:
        others = self._group.file_cache_bytes() + self._tmp_used_bytes()
        lowest = self._group.memory_bytes() + STEP_BYTES
        return max(self._limit_bytes + others + os.sysconf("SC_PAGE_SIZE"), lowest)

    def _set_v1(self) -> None:
        threshold = self._threshold_bytes()
        self._watch(self._register("memory.usage_in_bytes", f" {threshold}"))
        if self._group.memory_bytes() >= threshold:
            # crossed before the bell hung there
            asyncio.get_running_loop().call_soon(self._look_again)

    def _set_v2(self) -> None:
        with open(self._group.memory_file("memory.high"), "w") as file:
            file.write(str(self._threshold_bytes()))

    def _look_again(self) -> None:
        if len(self._bells) > 1 and not self.exceeded:
            self._ring(self._bells[-1])

    def _register(self, name: str, argument: str) -> int:
        bell = kernel.make_eventfd()
        try:
            watched = os.open(self._group.memory_file(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                with open(self._group.memory_file("cgroup.event_control"), "w") as file:
                    file.write(f"{bell} {watched}{argument}")
            finally:
                os.close(watched)
        except OSError:
            os.close(bell)
            raise
        return bell

    def _watch(self, bell: int) -> None:
        self._bells.append(bell)
        asyncio.get_running_loop().add_reader(bell, self._ring, bell)

    def _unwatch(self, bell: int) -> None:
        self._bells.remove(bell)
        asyncio.get_running_loop().remove_reader(bell)
        os.close(bell)
