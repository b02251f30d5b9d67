"""Keep one sandbox from its boot to its end: boot, attach, import, judgement, death.

Theory of operation
    bwrap is started inside a network that was made ahead (networks.py). Its two processes live in the leaf `init`. The
    guest (its only child) imports in the leaf `template`, is then frozen and judged (forksafety.py). From then on it is the
    template of the forge, which makes executors out of it (forge.py). The guest is hostile: a word out of turn, too late or
    too long on the control socket ends this sandbox and nothing else.
    `end` kills the whole group, settles every executor with evidence, and removes all that was there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from sandbox import forksafety, kernel, launch, memory, policy, router, seccomp, wire
from sandbox.cgroups import Freezer, Group
from sandbox.control import Control, GuestError
from sandbox.executors import Executor, Slot, SurvivorError, empty, remove
from sandbox.forge import Forge, Template
from sandbox.interpreters import outside_system
from sandbox.memory import Doorbell
from sandbox.networks import Network
from sandbox.orders import Cause, Means, Order, SandboxError
from sandbox.workers import MountError

BOOT_S = 20.0
FREEZE_S = 5.0
ENDING_S = 0.05
LOOK_AGAIN_S = 0.005
INIT_MEMORY_BYTES = 256 * 1024 * 1024
INIT_TASKS = 16
MICRO_TASKS = 4096

State = Literal["booting", "booted", "importing", "ready", "unsafe", "ending", "gone"]


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
        self._means = means
        self._on_gone = on_gone
        self._micro = means.tree.group("micros", f"m{order.micro}")
        self._group = self._micro.child(f"s{order.sandbox}")
        self._waiting_room = self._group.child("template")
        self._control: Control | None = None
        self._bwrap: launch.Child | None = None
        self._boot_log = -1
        self._template = Template()
        self._forge: Forge | None = None
        self._template_tmp = -1
        self._network: Network | None = None
        self._import_bell: Doorbell | None = None
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
                self._forge = self._make_forge()
                await self._forge.move_template(self._waiting_room)
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
        inner = launch.children_of(self._bwrap.pid)
        guests = launch.children_of(inner[0]) if len(inner) == 1 else []
        if len(guests) != 1:
            raise GuestError(f"bwrap has {len(inner)} children and {len(guests)} guests, not one each")
        self._take_template(guests[0])

    def _take_template(self, pid: int) -> None:
        self._template = Template.take(pid)

    def _make_forge(self) -> Forge:
        return Forge(
            self.order, self.uid, self._means, self._group, self._template, self._guest, end=self.end
        )

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
            place = os.stat(f"/proc/{self._template.pid}/ns/net")
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
            self._template_tmp = self._keep(await self._means.mounter.attach(self._template.namespace, code))
            # asked first: the answer may come before this task runs again
            answer = self._guest.expect()
            self._guest.tell(b"A" + json.dumps({"mode": mode, **self._program()}).encode(), descriptors)
        except (MountError, OSError, GuestError) as error:
            await self.end(f"the code could not be attached: {error}")
            raise SandboxError(f"Sandbox '{self.id}' could not take the revision: {error}.") from error
        self._spawn(self._import(answer))

    def _keep(self, descriptor: int) -> int:
        """Give a descriptor that was waited for; close it when the sandbox has ended meanwhile.

        Raises: GuestError in that case.
        """
        if self.state in ("ending", "gone"):
            wire.close([descriptor])
            raise GuestError("the sandbox was ended")
        return descriptor

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
            word, slot = await asyncio.gather(answer, self._made_forge.prepare())
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
            self._made_forge.overlay = await self._means.mounter.seal(self._template.namespace)
            os.write(freezer.descriptor, freezer.thaw)
        finally:
            os.close(freezer.descriptor)
        if reason:
            self.state = "unsafe"
            self._announce("unsafe", reason)
            return
        await self._become_ready(await self._made_forge.prepare())

    async def _become_ready(self, slot: Slot) -> None:
        await self._made_forge.open(slot)
        self.state = "ready"
        self._announce("ready", "")

    async def _look(self, freezer: Freezer) -> str:
        """Freeze the template and say what it holds that no fork can share."""
        os.write(freezer.descriptor, freezer.freeze)
        await self._until_frozen(self._waiting_room)
        reason = forksafety.find_reason(self._template.pid)
        if not reason and self._waiting_room.processes() != [self._template.pid]:
            reason = "the import started another process"
        return reason

    async def _until_frozen(self, group: Group) -> None:
        async with asyncio.timeout(FREEZE_S):
            while not group.is_frozen():
                await asyncio.sleep(0.001)

    # --- lease

    def take_spare(self, holder: object) -> Executor | None:
        """Give the spare at once, thawed; None when there is none that is ready."""
        return self._forge.take_spare(holder) if self._forge is not None else None

    async def fork(self, holder: object) -> Executor:
        """Give the spare, thawed, ready or not, or a new executor.

        Raises: SandboxError when the sandbox cannot fork.
        """
        if self.state != "ready":
            raise SandboxError(f"Sandbox '{self.id}' is {self.state}; only a ready one leases executors.")
        return await self._made_forge.fork(holder)

    @property
    def executors(self) -> Mapping[str, Executor]:
        """Give the executors that have not ended, by their ids."""
        return self._forge.executors if self._forge is not None else {}

    @property
    def _made_forge(self) -> Forge:
        assert self._forge is not None
        return self._forge

    # --- ends

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
        if self._forge is not None:
            self._forge.settle("killed" if not reason else "sandbox_died")
        self._close()
        if self._network is not None:
            network, self._network = self._network, None
            await self._means.networks.close(network)
        await self._bury()
        try:
            await remove(self._group)
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
        if self._forge is not None:
            self._forge.stop()

    def _close(self) -> None:
        if self._forge is not None:
            self._forge.close()
        if self._control is not None:
            self._control.close()
        held = [self._boot_log, self._template_tmp]
        if self._bwrap is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._bwrap.pid, 0)
            held += [self._bwrap.pidfd, self._bwrap.complaint]
        wire.close([each for each in held if each >= 0])
        self._boot_log = self._template_tmp = -1
        self._template.close()

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


def _memfd(data: bytes) -> int:
    memfd = os.memfd_create("launch", os.MFD_CLOEXEC)
    with open(memfd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(memfd, 0, os.SEEK_SET)
    return memfd
