"""Keep one sandbox from its boot to its end: boot, attach, template, spare, leased executors.

Theory of operation
    bwrap is started inside a network that was made ahead (networks.py). Its two processes live in the leaf `init`. The
    guest (its only child) imports in the leaf `template`,
    is then frozen, judged (forksafety.py), and waits frozen in the leaf of its *next* executor: what it forks
    is born under that executor's limits, whatever its fork hooks start; it is moved on afterwards, where
    nobody waits. One task, the forge, holds every dialogue with the template: fork for whoever waits, keep
    one spare, prepare the slot after it. A spare is ready when its channel becomes readable (nobody reads it
    here), and is frozen then. The guest is hostile: a word out of turn, too late or too long on the control
    socket, or a second process beside the template in its leaf, ends this sandbox and nothing else.
    `end` kills the whole group, settles every executor with evidence, and removes all that was there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import select
import socket
import struct
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox import forksafety, kernel, launch, memory, policy, router, seccomp, users, wire
from sandbox.cgroups import Freezer, Group, Tree
from sandbox.containers import Containers
from sandbox.control import Control, GuestError
from sandbox.executors import Executor, Slot, SurvivorError, empty
from sandbox.interpreters import Interpreter, outside_system
from sandbox.memory import Doorbell
from sandbox.networks import Network, Networks
from sandbox.slots import Identity, Mounter
from sandbox.workers import MountError

BOOT_S = 20.0
FORK_S = 5.0
SPARE_S = 45.0
ENDING_S = 0.05
LOOK_AGAIN_S = 0.005
INIT_MEMORY_BYTES = 256 * 1024 * 1024
INIT_TASKS = 16
MICRO_TASKS = 4096
FORKS_IN_FLIGHT = 8
SPARE_RETRY_S = 2.0
SPARE_RETRY_LONGEST_S = 60.0
EVIDENCE_KEPT = 4096

Cause = Literal["", "timeout", "out_of_memory", "tasks"]
State = Literal["booting", "booted", "importing", "ready", "unsafe", "ending", "gone"]


class SandboxError(Exception):
    """Report that a sandbox cannot do what was asked, in one sentence."""


@dataclass(frozen=True, slots=True)
class Order:
    """Say what sandbox is wanted; everything in it was checked."""

    sandbox: str
    micro: str
    interpreter: Interpreter  # boots the sandbox and forks the executors
    node: Interpreter | None  # what the executors become, when they are not Python's
    dependencies: str | None  # a directory that the prepared namespace shows
    memory_bytes: int
    tmp_bytes: int
    tasks: int
    egress: router.Policy = "public"
    dependencies_identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class ContainerPlace:
    """Hold what a container comes up by: the directory of meetings, its first program, and what must be where inside."""

    meetings: Path
    enter: str
    identities: Mapping[str, Identity]


@dataclass(slots=True)
class Means:
    """Hold what all sandboxes share."""

    tree: Tree
    mounter: Mounter
    networks: Networks
    enter_namespace: Callable[[], None]
    bwrap: str
    runtime: str
    etc: str
    proc_entries: frozenset[str]
    guards: policy.Guards
    import_s: float
    emit: Callable[[dict[str, Any], object | None], None]  # an event, to one host or to all
    log: Callable[[str], None]
    containers: Containers | None = None  # these two are of the driver "docker"
    place: ContainerPlace | None = None
    forks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FORKS_IN_FLIGHT))
    evidence: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)

    def remember(self, executor: str, evidence: dict[str, Any]) -> None:
        """Keep how an executor ended, for who asks again."""
        self.evidence[executor] = evidence
        while len(self.evidence) > EVIDENCE_KEPT:
            self.evidence.popitem(last=False)


class Sandbox:
    """Be one sandbox. `boot` it once, then `attach` once; `end` it from any state, as often as wanted."""

    def __init__(self, order: Order, uid: int, means: Means, on_gone: Callable[[Sandbox], None]) -> None:
        self.order = order
        self.id = order.sandbox
        self.uid = uid
        self.state: State = "booting"
        self.mode: str | None = None
        self.revision: str | None = None
        self.owner: object | None = None
        self.door_holders: set[object] = set()
        self.executors: dict[str, Executor] = {}
        self._means = means
        self._on_gone = on_gone
        self._micro = means.tree.group("micros", f"m{order.micro}")
        self._group = self._micro.child(f"s{order.sandbox}")
        self._waiting_room = self._group.child("template")
        self._control: Control | None = None
        self._bwrap: launch.Child | None = None
        self._boot_log = -1
        self._template = 0
        self._template_pidfd = -1
        self._namespace = -1
        self._template_tmp = -1
        self._network: Network | None = None
        self._import_bell: Doorbell | None = None
        self._overlay = False
        self._free_slots = list(range(policy.SLOTS - 1, -1, -1))
        self._prepared: list[Slot] = []
        self._loaded: Slot | None = None
        self._spare: Executor | None = None
        self._spare_not_before = 0.0
        self._spare_retry_s = SPARE_RETRY_S
        self._waiters: deque[tuple[object, asyncio.Future[Executor]]] = deque()
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end_task: asyncio.Task[None] | None = None

    # --- boot

    async def boot(self) -> None:
        """Start bwrap and the guest in it; returns when the guest waits for its code.

        Raises: SandboxError; nothing of the sandbox is left then.
        """
        try:
            async with asyncio.timeout(BOOT_S):
                self._make_groups()
                word = await self._bring_up()
                if word != b"B":
                    raise GuestError("the guest did not say that it is up")
                await self._move_template(self._waiting_room)
        except (TimeoutError, OSError, GuestError, MountError) as error:
            reason = str(error) or f"it was not up within {BOOT_S:.0f} s"
            said = self._read_boot_log()
            await self.end("")
            raise SandboxError(f"Sandbox '{self.id}' did not start: {reason}{said}.") from error
        self.state = "booted"

    async def _bring_up(self) -> bytes:
        """Start bwrap in a network, and find the guest; gives its first word."""
        await self._take_network()
        self._launch()
        # its rules take some milliseconds, and so does a boot: neither waits for the other
        word, _ = await asyncio.gather(self._guest.expect(), self._open_network())
        self._find_template()
        self._check_network()
        return word

    def _make_groups(self) -> None:
        self._micro.create_inner()
        self._micro.limit(tasks=MICRO_TASKS)
        self._group.create_inner()
        init = self._group.child("init")
        init.create()
        init.limit(memory_bytes=INIT_MEMORY_BYTES, tasks=INIT_TASKS)
        self._waiting_room.create()
        self._waiting_room.limit(
            memory_bytes=memory.hard_limit_bytes(self.order.memory_bytes, policy.TEMPLATE_TMP_BYTES),
            tasks=self.order.tasks,
        )

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = Control(ours, on_breach=self._end_soon)
        self._boot_log = os.memfd_create("boot-log", os.MFD_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        run, arguments, program = self._describe()
        try:
            self._bwrap = launch.start(
                launch.Plan(
                    program=self._means.bwrap,
                    arguments=["--args", "4", *policy.run_command(run)],
                    environment={},
                    descriptors=[null, self._boot_log, self._boot_log, theirs.fileno(), arguments, program],
                    uid=self.uid,
                    makes_namespaces=True,
                    join_files=self._group.child("init").join_files(),
                    prepare=self._enter_namespaces,
                    limits=launch.sandbox_limits(),
                    oom_score=launch.OOM_SCORE_SANDBOX,
                )
            )
        finally:
            theirs.close()
            wire.close([null, arguments, program])
        self._control.listen()
        asyncio.get_running_loop().add_reader(self._bwrap.pidfd, self._on_death)

    def _describe(self) -> tuple[policy.RunPolicy, int, int]:
        run = self._run_policy()
        arguments = _memfd(policy.argument_block(policy.run_arguments(run)))
        return run, arguments, _memfd(seccomp.program())

    def _run_policy(self) -> policy.RunPolicy:
        return policy.RunPolicy(
            interpreter=self.order.interpreter.executable,
            prefixes=self._prefixes(),
            network_is_entered=True,
            launches=self.order.node is not None,
            runtime=self._means.runtime,
            etc=self._means.etc,
            dependencies=self.order.dependencies,
            seccomp_fd=5,
            proc_entries=self._means.proc_entries,
            guards=self._means.guards,
        )

    def _prefixes(self) -> tuple[str, ...]:
        node = self.order.node
        return outside_system([*self.order.interpreter.prefixes, *(node.prefixes if node else ())], [])

    def _enter_namespaces(self) -> None:
        """Move the child that becomes bwrap."""
        self._means.enter_namespace()
        if self._network is not None:
            kernel.enter_network(self._network.namespace)

    @property
    def _guest(self) -> Control:
        assert self._control is not None
        return self._control

    def _find_template(self) -> None:
        """Find the guest: the only child of bwrap's only child. No tenant code has run yet."""
        assert self._bwrap is not None
        inner = _children(self._bwrap.pid)
        guests = _children(inner[0]) if len(inner) == 1 else []
        if len(guests) != 1:
            raise GuestError(f"bwrap has {len(inner)} children and {len(guests)} guests, not one each")
        self._take_template(guests[0])

    def _take_template(self, pid: int) -> None:
        self._template = pid
        self._template_pidfd = os.pidfd_open(pid)
        self._namespace = os.open(f"/proc/{self._template}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    async def _take_network(self) -> None:
        if self._means.guards.new_network:  # without, a known-bad twin: the machine's own
            network = await self._means.networks.take()
            if self.state in ("ending", "gone"):
                await self._means.networks.close(network)
                raise GuestError("the sandbox was ended")
            self._network = network

    async def _open_network(self) -> None:
        if self._network is not None:
            await self._means.networks.open(self._network, self.order.egress)

    def _check_network(self) -> None:
        """Be sure that the sandbox is where its doors are; no tenant code has run yet."""
        if self._network is not None:
            place = os.stat(f"/proc/{self._template}/ns/net")
            if not os.path.samestat(place, os.fstat(self._network.namespace)):
                raise GuestError("the sandbox is not in the network that was made for it")

    @property
    def doors(self) -> list[int]:
        """Give the listening sockets in its network, once it has one."""
        return self._network.doors if self._network is not None and self.state != "booting" else []

    async def permit(self, addresses: Iterable[router.Address], ttl_s: int) -> None:
        """Let it reach the addresses of a name that it may reach.

        Raises: SandboxError when its policy is not an allow-list of names.
        """
        if isinstance(self.order.egress, str) or self._network is None or self.state in ("ending", "gone"):
            raise SandboxError(f"Sandbox '{self.id}' has no allow-list of names.")
        try:
            await self._means.networks.permit(self._network, addresses, ttl_s)
        except MountError as error:
            raise SandboxError(f"The addresses could not be permitted: {error}.") from error

    def _has_template(self) -> bool:
        poll = select.poll()
        poll.register(self._template_pidfd, select.POLLIN)
        return not poll.poll(0)

    def _read_boot_log(self) -> str:
        if self._boot_log < 0:
            return ""
        said = os.pread(self._boot_log, 600, 0).decode(errors="replace").strip()
        complaint = b""
        if self._bwrap is not None:
            with contextlib.suppress(OSError):
                complaint = os.read(self._bwrap.complaint, launch.COMPLAINT_BYTES)
        words = "; ".join(each for each in (complaint.decode(errors="replace"), said) if each)
        return f" ({words})" if words else ""

    # --- attach

    async def attach(self, code: int, revision: str, mode: str, descriptors: list[int]) -> None:
        """Mount the code and tell the guest to import it; an event tells how that goes.

        Raises: SandboxError when the sandbox is not fresh from its boot.
        """
        if self.state != "booted":
            raise SandboxError(f"Sandbox '{self.id}' is {self.state}; only a booted one takes a revision.")
        if self.order.node is not None and mode != "fresh":
            raise SandboxError(
                f"Sandbox '{self.id}' runs Node, which cannot be forked; attach in mode 'fresh'."
            )
        self.state, self.revision, self.mode = "importing", revision, mode
        try:
            self._template_tmp = self._keep(await self._means.mounter.attach(self._namespace, code))
            # asked first: the answer may come before this task runs again
            answer = self._guest.expect()
            self._guest.tell(b"A" + json.dumps({"mode": mode, **self._program()}).encode(), descriptors)
        except (MountError, OSError, GuestError) as error:
            await self.end(f"the code could not be attached: {error}")
            raise SandboxError(f"Sandbox '{self.id}' could not take the revision: {error}.") from error
        self._spawn(self._import(answer))

    def _program(self) -> dict[str, list[str]]:
        """Give what `A` says of executors that are not Python's."""
        node = self.order.node
        if node is None:
            return {}
        return {"program": policy.node_program(node.executable, memory_bytes=self.order.memory_bytes)}

    async def _import(self, answer: asyncio.Future[bytes]) -> None:
        try:
            if self.mode == "fresh":
                await self._take_launcher(answer)
            else:
                await self._watch_import(answer)
        except TimeoutError:
            reason = f"the import took longer than {self._means.import_s:.0f} s"
            self._announce("failed", reason, "timeout")
            await self.end("")
        except (GuestError, MountError, OSError) as error:
            await self.end(str(error))

    async def _take_launcher(self, answer: asyncio.Future[bytes]) -> None:
        """Make a slot while the guest takes its orders: none of the user's code runs, so there is nothing to be judged."""
        async with asyncio.timeout(self._means.import_s):
            word, slot = await asyncio.gather(answer, self._prepare())
        if word != b"R0":
            raise GuestError("the guest answered with something that is not in the contract")
        await self._become_ready(slot)

    async def _watch_import(self, answer: asyncio.Future[bytes]) -> None:
        """Keep the import to its time and memory, then judge the template that it left."""
        self._import_bell = bell = Doorbell(
            self._waiting_room,
            limit_bytes=self.order.memory_bytes,
            tmp=self._template_tmp,
            on_exceeded=lambda: self._waiting_room.kill(),
        )
        try:
            bell.open()
            async with asyncio.timeout(self._means.import_s):
                word = await answer
            if word == b"F":
                self._announce("failed", *self._explain_import("the import failed; the report says why"))
                await self.end("")
                return
            if word not in (b"R0", b"R1"):
                raise GuestError("the guest answered with something that is not in the contract")
            await self._judge(word == b"R1")
        finally:
            bell.close()

    def _explain_import(self, reason: str) -> tuple[str, Cause]:
        """Give why an import came to its end and the cause: what the kernel counted, else `reason`."""
        bell = self._import_bell
        if bell is not None and (bell.exceeded or bell.kernel_killed()):
            limit = self.order.memory_bytes // (1024 * 1024)
            return f"the import needed more than {limit} MB of memory", "out_of_memory"
        if self._waiting_room.task_refusals():
            return f"the import wanted more than {self.order.tasks} tasks", "tasks"
        return reason, ""

    async def _judge(self, interval_timer: bool) -> None:
        """Freeze the imported template and decide whether it may be forked."""
        freezer = self._waiting_room.open_freezer()
        deadline = time.monotonic() + ENDING_S
        try:
            reason = await self._look(freezer)
            while reason and not interval_timer and time.monotonic() < deadline:
                # a thread that the import has joined still is in the kernel for a moment, longer on a busy machine
                os.write(freezer.descriptor, freezer.thaw)
                await asyncio.sleep(LOOK_AGAIN_S)
                reason = await self._look(freezer)
            if interval_timer:
                reason = "the import started an interval timer"
            self._overlay = await self._means.mounter.seal(self._namespace)
            os.write(freezer.descriptor, freezer.thaw)
        finally:
            os.close(freezer.descriptor)
        if reason:
            self.state = "unsafe"
            self._announce("unsafe", reason)
            return
        await self._become_ready(await self._prepare())

    async def _become_ready(self, slot: Slot) -> None:
        await self._load(slot)
        self.state = "ready"
        self._announce("ready", "")
        self._spawn(self._forge())

    async def _look(self, freezer: Freezer) -> str:
        """Freeze the template and say what it holds that no fork can share."""
        os.write(freezer.descriptor, freezer.freeze)
        await self._until_frozen(self._waiting_room)
        reason = forksafety.find_reason(self._template)
        if not reason and self._waiting_room.processes() != [self._template]:
            reason = "the import started another process"
        return reason

    async def _until_frozen(self, group: Group) -> None:
        async with asyncio.timeout(FORK_S):
            while not group.is_frozen():
                await asyncio.sleep(0.001)

    # --- lease

    def take_spare(self, holder: object) -> Executor | None:
        """Give the spare at once, thawed; None when there is none that is ready."""
        spare = self._spare
        if spare is None or not spare.ready or spare.is_ending():
            return None
        return self._lease_spare(spare, holder)

    async def fork(self, holder: object) -> Executor:
        """Give the spare, thawed, ready or not, or a new executor.

        Raises: SandboxError when the sandbox cannot fork.
        """
        if self.state != "ready":
            raise SandboxError(f"Sandbox '{self.id}' is {self.state}; only a ready one leases executors.")
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

    # --- the forge

    async def _forge(self) -> None:
        try:
            while self.state == "ready":
                while self._wants_executor():
                    await self._make_executor()
                await self._rest()
                await self._work.wait()
                self._work.clear()
        except (GuestError, MountError, OSError, TimeoutError) as error:
            await self.end(str(error) or "the template did not answer in time")

    def _wants_executor(self) -> bool:
        if self.state != "ready":
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
            future.set_exception(SandboxError(f"Sandbox '{self.id}' has {policy.SLOTS} executors already."))
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
        if slot.group.processes() != [self._template]:
            raise GuestError("the template started another process")
        self._loaded = None
        executor = Executor(
            secrets.token_hex(8),
            self.id,
            slot,
            on_end=self._on_executor_end,
            on_stuck=self.end,
            has_parent=self._has_template,
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
        inside = [each for each in slot.group.processes() if each != self._template]
        executor.watch(next((each for each in inside if parent_of(each) == self._template), 0))
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
                await self._move_template(self._waiting_room)
        finally:
            executor.template_left.set()
        if self._spare is executor:
            self._freeze_spare(executor)

    async def _rest(self) -> None:
        """Prepare the next slot but one, and freeze the template."""
        if not self._prepared and self._free_slots:
            self._prepared.append(await self._prepare())
        if self._loaded is not None and not self._wants_executor():
            self._loaded.freeze()
            if self._loaded.group.processes() != [self._template]:
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
        return self._prepared.pop() if self._prepared else await self._prepare()

    async def _prepare(self) -> Slot:
        """Make the control group and the mounts of a slot.

        Raises: MountError.
        """
        number = self._free_slots.pop()
        order = self.order
        group = self._group.child(f"x{number}")
        group.create()
        group.limit(
            memory_bytes=memory.hard_limit_bytes(order.memory_bytes, order.tmp_bytes), tasks=order.tasks
        )
        tmp = self._keep(
            await self._means.mounter.make_slot(
                self._namespace, number, uid=self.uid, tmp_bytes=order.tmp_bytes, overlay=self._overlay
            )
        )
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

    def _keep(self, descriptor: int) -> int:
        """Give a descriptor that was waited for; close it when the sandbox has ended meanwhile.

        Raises: GuestError in that case.
        """
        if self.state in ("ending", "gone"):
            wire.close([descriptor])
            raise GuestError("the sandbox was ended")
        return descriptor

    async def _load(self, slot: Slot) -> None:
        """Let the template wait where its next executor will live."""
        self._loaded = slot  # from here on `_close` lets go of it, whatever happens
        await self._move_template(slot.group)
        if slot.group.processes() != [self._template]:
            raise GuestError("the template died or was not alone")

    async def _move_template(self, group: Group) -> None:
        # version 1 lets only root of the machine, or its own user, move a process
        uid = self.uid if self._means.tree.layout.version == 1 and users.in_namespace() else None
        await self._means.mounter.join(group.join_files(), self._template, uid=uid)

    def _on_memory(self, number: int) -> None:
        for executor in list(self.executors.values()):
            if executor.slot.number == number:
                executor.end("out_of_memory")
                return
        # nobody but the template is there
        self._end_soon("the template needed more memory than an execution may have", "out_of_memory")

    async def _recycle(self, slot: Slot) -> None:
        slot.close()
        try:
            await self._means.mounter.free_slot(self._namespace, slot.number)
            await _remove(slot.group)
        except (MountError, SurvivorError) as error:
            await self.end(f"an executor could not be cleaned up: {error}")
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
        if self.state == "ready":
            self._spawn(self._recycle(executor.slot))
        else:
            executor.slot.close()

    def _tell_holder(self, executor: Executor) -> None:
        if executor.holder is not None and executor.announce:
            event = {
                "event": "exited",
                "executor": executor.id,
                "sandbox": self.id,
                "evidence": executor.evidence,
            }
            self._means.emit(event, executor.holder)

    def _announce(self, state: str, reason: str, cause: Cause = "") -> None:
        event = {"event": "template", "sandbox": self.id, "state": state, "reason": reason, "cause": cause}
        self._means.emit(event, None)

    def _on_death(self) -> None:
        self._end_soon("its first process ended")

    def _end_soon(self, reason: str, cause: Cause = "") -> None:
        self._spawn(self.end(reason, cause))

    async def end(self, reason: str, cause: Cause = "") -> None:
        """Kill everything, settle every executor, remove everything. A `reason` is told as the event `died`."""
        if self._end_task is None:
            self._end_task = asyncio.get_running_loop().create_task(self._end(reason, cause))
        await asyncio.shield(self._end_task)

    async def _end(self, reason: str, cause: Cause) -> None:
        attached = self.state in ("importing", "ready", "unsafe")
        if self.state == "importing" and reason and not cause:
            # whoever noticed first does not know why: the first process ends with its last child
            reason, cause = self._explain_import(reason)
        self.state = "ending"
        self._stop_listening()
        if reason:
            self._means.log(f"sandbox={self.id} micro={self.order.micro} ended: {reason}")
            if attached:
                self._announce("died", reason, cause)
        try:
            await empty(self._group)
        except SurvivorError as error:
            self._means.log(f"sandbox={self.id} {error}")
        self._settle("killed" if not reason else "sandbox_died")
        self._close()
        if self._network is not None:
            network, self._network = self._network, None
            await self._means.networks.close(network)
        await self._bury()
        try:
            await _remove(self._group)
        except SurvivorError as error:
            self._means.log(f"sandbox={self.id} {error}")
        self._micro.remove_if_unused()
        self.state = "gone"
        self._on_gone(self)

    async def _bury(self) -> None:
        """Remove what is left of a dead sandbox outside of this process and its groups: with bwrap, nothing."""

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        if self._control is not None:
            self._control.stop_listening()
        if self._bwrap is not None:
            loop.remove_reader(self._bwrap.pidfd)
        self._work.set()
        while self._waiters:
            _, future = self._waiters.popleft()
            if not future.done():
                future.set_exception(SandboxError(f"Sandbox '{self.id}' has ended."))

    def _settle(self, cause: str) -> None:
        for executor in list(self.executors.values()):
            executor.template_left.set()
            executor.settle(cause)
            assert executor.evidence is not None
            self._means.remember(executor.id, executor.evidence)
            if cause == "sandbox_died":
                self._tell_holder(executor)
            executor.slot.close()
        self.executors.clear()

    def _close(self) -> None:
        for slot in (*self._prepared, *([self._loaded] if self._loaded else [])):
            slot.close()
        self._prepared, self._loaded = [], None
        if self._control is not None:
            self._control.close()
        held = [self._boot_log, self._namespace, self._template_tmp, self._template_pidfd]
        if self._bwrap is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._bwrap.pid, 0)
            held += [self._bwrap.pidfd, self._bwrap.complaint]
        wire.close([each for each in held if each >= 0])
        self._boot_log = self._namespace = self._template_tmp = self._template_pidfd = -1

    # --- small things

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what others see

    def describe(self) -> dict[str, Any]:
        """Give the sandbox as the operation `list` shows it."""
        return {
            "sandbox": self.id,
            "micro": self.order.micro,
            "revision": self.revision,
            "state": self.state,
            "mode": self.mode,
            "memory_bytes": self._group.memory_bytes(),
            "executors": [each.id for each in self.executors.values() if each.holder is not None],
        }


async def _remove(group: Group) -> None:
    """Remove an empty group; the kernel may need a moment to let go of the last process.

    Raises: SurvivorError.
    """
    deadline = time.monotonic() + FORK_S
    while not group.remove():
        if time.monotonic() > deadline:
            raise SurvivorError(f"control group '{group.path}' cannot be removed")
        await asyncio.sleep(0.002)


def _children(pid: int) -> list[int]:
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


def _pipe() -> tuple[int, int]:
    """Open a pipe whose reading end never blocks."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    return reader, writer


def _memfd(data: bytes) -> int:
    memfd = os.memfd_create("launch", os.MFD_CLOEXEC)
    with open(memfd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(memfd, 0, os.SEEK_SET)
    return memfd
