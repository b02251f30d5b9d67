"""Stand in for the warden with real guests but no sandbox: the gateway's own tests need no root and no control group.

It keeps the manners of sandbox/client.py: `boot`, `attach`, `lease`, `kill`, `stop`, `list`, and the events. Executors are real
forks of runtimes/python/boot.py; freezing is SIGSTOP. The real warden is driven by tests/system and tests/escapes.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.client import Evidence, Lease, SandboxInfo, TemplateState, WardenError

BOOT = Path(__file__).parents[3] / "runtimes" / "python" / "boot.py"
FREEZE, THAW = b"1", b"0"
EXITED = Evidence("exited", None, 12_345_678, 0.1)


@dataclass
class Box:
    """Know one guest."""

    sandbox: str
    micro: str
    root: Path
    process: subprocess.Popen[bytes]
    control: socket.socket
    revision: str = ""
    mode: str = "fork"
    state: str = "booted"
    slots: int = 0
    executors: dict[str, int] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class UnboxedWarden:
    """Start guests for the pool. `bundles` maps revision ids to directories of code."""

    def __init__(self, base: Path, dependencies: Path | None = None) -> None:
        self.base = base
        self.dependencies = dependencies
        self.bundles: dict[str, Path] = {}
        self.boxes: dict[str, Box] = {}
        self.evidence: dict[str, Evidence] = {}
        self.unsafe: set[str] = set()
        self.memory_bytes = 1_000_000
        self.boots = 0
        self.leases = 0
        self.refuse_leases = 0
        self.verdict: Evidence | None = None
        self.on_exited: Callable[[str, str, Evidence], None] = lambda *_: None
        self.on_template: Callable[[TemplateState], None] = lambda _: None
        self._count = 0
        self._freezers: dict[int, int] = {}

    async def boot(self, sandbox: str, *, micro: str, **_: object) -> None:
        """Start an interpreter and wait until it is up."""
        self.boots += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = self.base / sandbox
        (root / "tmp").mkdir(parents=True)
        if self.dependencies is not None:
            (root / "dependencies").symlink_to(self.dependencies)
        number = theirs.fileno()
        process = subprocess.Popen(
            [
                "/bin/bash",
                "-c",
                f'exec 3<&{number} {number}<&-; exec "$@"',
                "bash",
                _real_python(),
                "-I",
                "-S",
                "-B",
                str(BOOT),
                str(root),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": str(root / "tmp")},
            pass_fds=[number],
        )
        theirs.close()
        ours.setblocking(False)
        self.boxes[sandbox] = Box(sandbox, micro, root, process, ours)
        await self._receive(self.boxes[sandbox])

    async def attach(
        self, sandbox: str, *, revision: str, mode: str, environment: Mapping[str, str], log: int, report: int
    ) -> None:
        """Let the guest import; the answer comes as an event."""
        box = self._box(sandbox)
        box.revision, box.mode = revision, mode
        (box.root / "micro").symlink_to(self.bundles[revision])
        memfd = os.memfd_create("environment")
        os.write(memfd, b"".join(f"{k}={v}\0".encode() for k, v in environment.items()))
        os.lseek(memfd, 0, os.SEEK_SET)
        _send(box.control, b'A{"mode": "%b"}' % mode.encode(), [memfd, log, report])
        os.close(memfd)
        asyncio.get_running_loop().create_task(self._imported(box))

    async def _imported(self, box: Box) -> None:
        verb = await self._receive(box)
        state = {b"R": "ready", b"F": "failed"}.get(verb[:1], "died")
        if state == "ready" and box.mode == "fork" and box.revision in self.unsafe:
            state = "unsafe"
        box.state = state
        self.on_template(TemplateState(box.sandbox, state, "it holds a thread" if state == "unsafe" else ""))

    async def lease(self, sandbox: str) -> Lease:
        """Fork an executor."""
        if self.refuse_leases:
            self.refuse_leases -= 1
            raise WardenError("no executor today")
        self.leases += 1
        box = self._box(sandbox)
        async with box.lock:
            channel, theirs = socket.socketpair()
            out_reader, out_writer = os.pipe()
            err_reader, err_writer = os.pipe()
            before = set(_children(box.process.pid))
            box.slots += 1
            _send(box.control, b"S" + box.slots.to_bytes(2, "big"), [theirs.fileno(), out_writer, err_writer])
            theirs.close()
            os.close(out_writer)
            os.close(err_writer)
            verb = await self._receive(box)
            if verb != b"S0":
                raise WardenError("the template could not fork")
            born = set(_children(box.process.pid)) - before
        self._count += 1
        executor = f"x{self._count:08d}"
        channel.setblocking(False)
        watched = _pidfd_of(born)
        if watched is None:  # it ended before anybody could look
            self.evidence[executor] = self.verdict or EXITED
            freezer = os.open(os.devnull, os.O_WRONLY)
        else:
            (pid,) = born
            box.executors[executor] = pid
            self._watch(box, executor, watched)
            freezer = self._freezer(pid)
        peak = os.open(os.devnull, os.O_RDWR)
        return Lease(executor, sandbox, False, channel, out_reader, err_reader, freezer, peak, FREEZE, THAW)

    async def kill(self, executor: str) -> Evidence:
        """End an executor."""
        for box in self.boxes.values():
            if executor in box.executors:
                pid = box.executors.pop(executor)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self.evidence.setdefault(executor, self.verdict or Evidence("killed", -9, 12_345_678, 0.1))
        return self.evidence.get(executor, Evidence("sandbox_died", None, None, None))

    async def stop(self, sandbox: str) -> None:
        """End a guest with its executors."""
        box = self.boxes.pop(sandbox, None)
        if box is None:
            return
        for pid in box.executors.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        box.process.kill()
        box.process.wait()
        box.control.close()
        shutil.rmtree(box.root, ignore_errors=True)

    async def list(self) -> list[SandboxInfo]:
        """Tell every guest."""
        return [
            SandboxInfo(
                box.sandbox,
                box.micro,
                box.revision,
                box.state,
                box.mode,
                self.memory_bytes,
                tuple(box.executors),
            )
            for box in self.boxes.values()
        ]

    async def close(self) -> None:
        """End everything."""
        for sandbox in list(self.boxes):
            await self.stop(sandbox)
        for reader in self._freezers:
            asyncio.get_running_loop().remove_reader(reader)
            os.close(reader)
        self._freezers.clear()

    def kill_template(self, sandbox: str) -> None:
        """Let a template die, and its executors with it, as the end of a pid namespace does."""
        box = self.boxes[sandbox]
        box.process.kill()
        for pid in box.executors.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.on_template(TemplateState(sandbox, "died", "it was killed"))

    def _box(self, sandbox: str) -> Box:
        try:
            return self.boxes[sandbox]
        except KeyError:
            raise WardenError(f"no sandbox '{sandbox}'") from None

    async def _receive(self, box: Box) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(box.control, 4096)
        except OSError:
            return b""

    def _watch(self, box: Box, executor: str, watched: int) -> None:
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(watched)
            os.close(watched)
            if box.executors.pop(executor, None) is not None:
                self.evidence[executor] = self.verdict or EXITED
                self.on_exited(executor, box.sandbox, self.evidence[executor])

        loop.add_reader(watched, ended)

    def _freezer(self, pid: int) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        loop = asyncio.get_running_loop()

        def written() -> None:
            for each in os.read(reader, 64) or b"":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP if each == FREEZE[0] else signal.SIGCONT)
                break
            else:
                loop.remove_reader(reader)

        self._freezers[reader] = pid
        loop.add_reader(reader, written)
        return writer


def _real_python() -> str:
    return os.path.realpath(sys.executable)


def _pidfd_of(born: set[int]) -> int | None:
    assert len(born) <= 1, "one lease forks one executor"
    with contextlib.suppress(ProcessLookupError):
        for pid in born:
            return os.pidfd_open(pid)
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _send(control: socket.socket, data: bytes, fds: list[int]) -> None:
    control.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
