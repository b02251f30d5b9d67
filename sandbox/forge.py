"""Make the executors of one sandbox out of its template, and take back what they leave.

Theory of operation
    The template waits frozen in the leaf of its *next* executor: what it forks is born under that executor's limits,
    whatever its fork hooks start; it is moved on afterwards, where nobody waits. One task holds every dialogue with it: fork
    for whoever waits, keep one spare, prepare the slot after it. A spare is ready when its channel becomes readable
    (nobody reads it here), and is frozen then. The guest is hostile: a word out of turn, too late or too long, or a second
    process beside the template in its leaf, ends its sandbox and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbox import launch, memory, policy, users, wire
from sandbox.cgroups import Group
from sandbox.control import Control, GuestError
from sandbox.executors import Executor, Slot, SurvivorError, remove
from sandbox.memory import Doorbell
from sandbox.orders import Cause, Means, Order, SandboxError
from sandbox.workers import MountError

FORK_S = 5.0
SPARE_S = 45.0
SPARE_RETRY_S = 2.0
SPARE_RETRY_LONGEST_S = 60.0


@dataclass(slots=True)
class Template:
    """Hold a guest's process by what stays true of it: a pidfd and its mount namespace."""

    pid: int = 0
    pidfd: int = -1
    namespace: int = -1

    @classmethod
    def take(cls, pid: int) -> Template:
        """Hold a process. Raises: OSError when it has ended."""
        pidfd = os.pidfd_open(pid)
        try:
            return cls(pid, pidfd, os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            os.close(pidfd)
            raise

    def is_alive(self) -> bool:
        """Tell whether it has not ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Let go of the descriptors."""
        wire.close([each for each in (self.pidfd, self.namespace) if each >= 0])
        self.pidfd = self.namespace = -1


class Forge:
    """Be the forge of one sandbox: `prepare` and `open` it once, `take_spare` and `fork`; `stop`, `settle` and `close` at the end.

    `end` ends the sandbox for a reason and by a cause; the forge calls it when the guest or the kernel breaks a rule.
    """

    def __init__(
        self,
        order: Order,
        uid: int,
        means: Means,
        group: Group,
        template: Template,
        guest: Control,
        end: Callable[[str, Cause], Awaitable[None]],
    ) -> None:
        self.executors: dict[str, Executor] = {}
        self.overlay = False  # whether slots lie over what the import has written
        self._order = order
        self._uid = uid
        self._means = means
        self._group = group
        self._waiting_room = group.child("template")
        self._template = template
        self._guest = guest
        self._end = end
        self._is_open = False
        self._is_stopped = False
        self._free_slots = list(range(policy.SLOTS - 1, -1, -1))
        self._prepared: list[Slot] = []
        self._loaded: Slot | None = None
        self._spare: Executor | None = None
        self._spare_not_before = 0.0
        self._spare_retry_s = SPARE_RETRY_S
        self._waiters: deque[tuple[object, asyncio.Future[Executor]]] = deque()
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- its life

    async def open(self, slot: Slot) -> None:
        """Let the template wait in its first slot, and fork from now on. Raises: GuestError, MountError."""
        await self._load(slot)
        self._is_open = True
        self._spawn(self._run())

    def stop(self) -> None:
        """Fork no more; whoever waits is told."""
        self._is_open, self._is_stopped = False, True
        self._work.set()
        while self._waiters:
            _, future = self._waiters.popleft()
            if not future.done():
                future.set_exception(SandboxError(f"Sandbox '{self._order.sandbox}' has ended."))

    def settle(self, cause: str) -> None:
        """Note how every executor ended when the whole sandbox was killed; holders hear of a death that nobody asked for."""
        for executor in list(self.executors.values()):
            executor.template_left.set()
            executor.settle(cause)
            assert executor.evidence is not None
            self._means.remember(executor.id, executor.evidence)
            if cause == "sandbox_died":
                self._tell_holder(executor)
            executor.slot.close()
        self.executors.clear()

    def close(self) -> None:
        """Let go of the slots that no executor has."""
        for slot in (*self._prepared, *([self._loaded] if self._loaded else [])):
            slot.close()
        self._prepared, self._loaded = [], None

    # --- lease

    def take_spare(self, holder: object) -> Executor | None:
        """Give the spare at once, thawed; None when there is none that is ready."""
        spare = self._spare
        if spare is None or not spare.ready or spare.is_ending():
            return None
        return self._lease_spare(spare, holder)

    async def fork(self, holder: object) -> Executor:
        """Give the spare, thawed, ready or not, or a new executor.

        Raises: SandboxError when there is no slot, or the sandbox ends meanwhile.
        """
        if self._spare is not None and not self._spare.is_ending():
            return self._lease_spare(self._spare, holder)
        future: asyncio.Future[Executor] = asyncio.get_running_loop().create_future()
        self._waiters.append((holder, future))
        self._work.set()
        return await future

    def _lease_spare(self, spare: Executor, holder: object) -> Executor:
        self._spare = None
        assert spare.channel is not None
        asyncio.get_running_loop().remove_reader(spare.channel.fileno())
        spare.slot.thaw()  # it may have become ready, and frozen, since its holder found none
        spare.holder = holder
        self._work.set()
        return spare

    # --- the one task

    async def _run(self) -> None:
        try:
            while self._is_open:
                while self._wants_executor():
                    await self._make_executor()
                await self._rest()
                await self._work.wait()
                self._work.clear()
        except (GuestError, MountError, OSError, TimeoutError) as error:
            await self._end(str(error) or "the template did not answer in time", "")

    def _wants_executor(self) -> bool:
        if not self._is_open:
            return False
        while self._waiters and self._waiters[0][1].done():
            self._waiters.popleft()
        if self._waiters:
            return True
        return self._spare is None and time.monotonic() >= self._spare_not_before and self._has_slot()

    def _has_slot(self) -> bool:
        return self._loaded is not None or bool(self._prepared) or bool(self._free_slots)

    async def _make_executor(self) -> None:
        if not self._has_slot():
            _, future = self._waiters.popleft()
            reason = f"Sandbox '{self._order.sandbox}' has {policy.SLOTS} executors already."
            future.set_exception(SandboxError(reason))
            return
        if self._loaded is None:
            await self._load(await self._take_prepared())
        async with self._means.forks:
            executor = await self._fork()
        self._hand_out(executor)
        await self._leave(executor)

    async def _fork(self) -> Executor:
        slot = self._loaded
        assert slot is not None
        if slot.group.processes() != [self._template.pid]:
            raise GuestError("the template started another process")
        self._loaded = None
        executor = Executor(
            secrets.token_hex(8),
            self._order.sandbox,
            slot,
            on_end=self._on_executor_end,
            on_stuck=lambda reason: self._end(reason, ""),
            has_parent=self._template.is_alive,
        )
        self.executors[executor.id] = executor
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.setblocking(False)
        executor.channel = channel
        executor.stdout, stdout = _pipe()
        executor.stderr, stderr = _pipe()
        try:
            slot.thaw()
            answer = self._guest.expect()
            self._guest.tell(b"S" + struct.pack(">H", slot.number), [theirs.fileno(), stdout, stderr])
        finally:
            theirs.close()
            wire.close([stdout, stderr])
        async with asyncio.timeout(FORK_S):
            word = await answer
        if word[:2] == b"S1" and len(word) == 6:
            raise GuestError(f"the template could not fork: {os.strerror(struct.unpack('>I', word[2:])[0])}")
        if word != b"S0":
            raise GuestError("the template answered with something that is not in the contract")
        # not by the template's list of children: the kernel leaves some out while others end
        inside = [each for each in slot.group.processes() if each != self._template.pid]
        executor.watch(next((each for each in inside if launch.parent_of(each) == self._template.pid), 0))
        return executor

    def _hand_out(self, executor: Executor) -> None:
        while self._waiters:
            holder, future = self._waiters.popleft()
            if not future.done():
                executor.holder = holder
                future.set_result(executor)
                return
        self._spare = executor
        assert executor.channel is not None
        loop = asyncio.get_running_loop()
        loop.add_reader(executor.channel.fileno(), self._on_spare_readable, executor)
        loop.call_later(SPARE_S, self._on_spare_late, executor)

    async def _leave(self, executor: Executor) -> None:
        """Move the template out of its executor's group, into that of the next or into its own."""
        try:
            if self._has_slot():
                await self._load(await self._take_prepared())
            else:
                await self.move_template(self._waiting_room)
        finally:
            executor.template_left.set()
        if self._spare is executor:
            self._freeze_spare(executor)

    async def _rest(self) -> None:
        """Prepare the next slot but one, and freeze the template."""
        if not self._prepared and self._free_slots:
            self._prepared.append(await self.prepare())
        if self._loaded is not None and not self._wants_executor():
            self._loaded.freeze()
            if self._loaded.group.processes() != [self._template.pid]:
                raise GuestError("the template started another process")

    def _on_spare_readable(self, executor: Executor) -> None:
        assert executor.channel is not None
        asyncio.get_running_loop().remove_reader(executor.channel.fileno())
        executor.ready = True
        self._freeze_spare(executor)

    def _freeze_spare(self, executor: Executor) -> None:
        if executor.ready and executor.template_left.is_set() and executor is self._spare:
            with contextlib.suppress(OSError):
                executor.slot.freeze()

    def _on_spare_late(self, executor: Executor) -> None:
        if executor is self._spare and not executor.ready:
            executor.end("killed")

    # --- slots

    async def _take_prepared(self) -> Slot:
        return self._prepared.pop() if self._prepared else await self.prepare()

    async def prepare(self) -> Slot:
        """Make the control group and the mounts of a slot.

        Raises: MountError; GuestError when the sandbox has ended meanwhile.
        """
        number = self._free_slots.pop()
        order = self._order
        group = self._group.child(f"x{number}")
        group.create()
        group.limit(
            memory_bytes=memory.hard_limit_bytes(order.memory_bytes, order.tmp_bytes), tasks=order.tasks
        )
        tmp = await self._means.mounter.make_slot(
            self._template.namespace, number, uid=self._uid, tmp_bytes=order.tmp_bytes, overlay=self.overlay
        )
        if self._is_stopped:
            wire.close([tmp])
            raise GuestError("the sandbox was ended")
        bell = Doorbell(
            group, limit_bytes=order.memory_bytes, tmp=tmp, on_exceeded=lambda: self._on_memory(number)
        )
        try:
            bell.open()
            return Slot(number, group, group.open_freezer(), group.open_peak(), tmp, bell)
        except OSError:
            bell.close()
            wire.close([tmp])
            raise

    async def _load(self, slot: Slot) -> None:
        """Let the template wait where its next executor will live."""
        self._loaded = slot  # from here on `close` lets go of it, whatever happens
        await self.move_template(slot.group)
        if slot.group.processes() != [self._template.pid]:
            raise GuestError("the template died or was not alone")

    async def move_template(self, group: Group) -> None:
        """Move the template's process into a control group. Raises: MountError."""
        # version 1 lets only root of the machine, or its own user, move a process
        uid = self._uid if self._means.tree.layout.version == 1 and users.in_namespace() else None
        await self._means.mounter.join(group.join_files(), self._template.pid, uid=uid)

    def _on_memory(self, number: int) -> None:
        for executor in list(self.executors.values()):
            if executor.slot.number == number:
                executor.end("out_of_memory")
                return
        # nobody but the template is there
        reason = "the template needed more memory than an execution may have"
        self._spawn(self._end(reason, "out_of_memory"))

    async def _recycle(self, slot: Slot) -> None:
        slot.close()
        try:
            await self._means.mounter.free_slot(self._template.namespace, slot.number)
            await remove(slot.group)
        except (MountError, SurvivorError) as error:
            await self._end(f"an executor could not be cleaned up: {error}", "")
            return
        self._free_slots.append(slot.number)
        self._work.set()

    # --- ends

    def _on_executor_end(self, executor: Executor) -> None:
        if self.executors.pop(executor.id, None) is None:
            return  # the end of the sandbox overtook it and settled it, slot and all
        assert executor.evidence is not None
        self._means.remember(executor.id, executor.evidence)
        self._tell_holder(executor)
        if executor is self._spare:
            self._spare = None
            self._spare_not_before = time.monotonic() + self._spare_retry_s
            asyncio.get_running_loop().call_later(self._spare_retry_s + 0.01, self._work.set)
            self._spare_retry_s = min(2 * self._spare_retry_s, SPARE_RETRY_LONGEST_S)
        if self._is_open:
            self._spawn(self._recycle(executor.slot))
        else:
            executor.slot.close()

    def _tell_holder(self, executor: Executor) -> None:
        if executor.holder is not None and executor.announce:
            event = {
                "event": "exited",
                "executor": executor.id,
                "sandbox": self._order.sandbox,
                "evidence": executor.evidence,
            }
            self._means.emit(event, executor.holder)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _pipe() -> tuple[int, int]:
    """Open a pipe whose reading end never blocks."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    return reader, writer
