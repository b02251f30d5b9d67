"""Speak to the warden from the host: one asyncio client over the inherited channel.

Theory of operation
    The channel is a `SOCK_SEQPACKET` socket (sandbox/protocol.py). Every request gets a number and a future;
    the answer with that number resolves it. Nothing here blocks the loop: what the socket does not take at once
    waits in a queue. A `lease` whose caller went away is handed back (`kill`) when its answer arrives, so that
    no executor is lost. When the warden is gone every pending and later request raises WardenError; the host is
    about to be ended with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO, Literal, NamedTuple, TypeAlias, cast

from sandbox import wire
from sandbox.router import Policy
from sandbox.wire import Record

REQUEST_S = 60.0
INSTALL_S = 900.0
FETCH_S = 300.0
FETCH_TOLD_BYTES = 256 * 1024

Cause = Literal["out_of_memory", "killed", "exited", "sandbox_died"]
Mode = Literal["fork", "fresh"]
_Answer: TypeAlias = tuple[Record, list[int]]
_Unsent: TypeAlias = tuple[bytes, list[int]]


class WardenError(Exception):
    """Report that the warden refused or could not do something, in one sentence."""


class InstallError(Exception):
    """Report that a requirements file could not be installed, in one sentence; the log has the rest."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Tell how an executor ended. `status`: exit code, or minus the signal; None where the kernel does not tell."""

    cause: Cause
    status: int | None
    peak_memory_bytes: int | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Hold one executor. The descriptors are the holder's to close, all non-blocking.

    `spare`: it was ready and frozen, and is thawed now. Its first frame is `r` or `f` in any case.
    Writing `freeze` to `freezer` stops it, writing `thaw` lets it run again. Reading `peak` at 0 gives the most memory in
    bytes that was charged to it, as text; writing to it begins anew where the kernel allows that.
    """

    executor: str
    sandbox: str
    spare: bool
    channel: socket.socket
    stdout: int
    stderr: int
    freezer: int
    peak: int
    freeze: bytes
    thaw: bytes


class Doors(NamedTuple):
    """Hold the sockets in a sandbox's network: three that listen, one of datagrams."""

    http: socket.socket
    https: socket.socket
    dns_tcp: socket.socket
    dns_udp: socket.socket


@dataclass(frozen=True, slots=True)
class TemplateState:
    """Tell what became of an `attach`: `cause` is for programs, `reason` a sentence for people."""

    sandbox: str
    state: Literal["ready", "unsafe", "failed", "died"]
    reason: str
    cause: Literal["", "timeout", "out_of_memory", "tasks"] = ""


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """Describe one living sandbox. `memory_bytes` is what it holds now, `executors` those that are leased."""

    sandbox: str
    micro: str
    revision: str | None
    state: str
    mode: Mode | None
    memory_bytes: int
    executors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """Say whether this machine gives one guard, and what to do if not."""

    name: str
    state: Literal["enforced", "degraded", "missing"]
    detail: str
    advice: str


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """Name one interpreter that Micros may run on, such as `python3.11`."""

    name: str
    path: str
    version: str


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Hold every guard and every runtime of this machine."""

    guards: tuple[Guard, ...]
    runtimes: tuple[RuntimeInfo, ...]


class WardenClient:
    """Ask the warden. Every request raises WardenError when it refuses, answers too late, or is gone."""

    def __init__(
        self,
        channel: socket.socket,
        *,
        on_exited: Callable[[str, str, Evidence], None],
        on_template: Callable[[TemplateState], None],
        on_drain: Callable[[], None],
        on_gone: Callable[[str], None] = lambda sandbox: None,
        on_taken: Callable[[str], None] = lambda sandbox: None,
    ) -> None:
        """Take over `channel`. `on_exited` is not called for an executor ended by `kill` or `stop`.

        `on_gone(sandbox)` is called when nothing is left of a sandbox, whoever ended it;
        `on_taken(sandbox)` before `on_drain` for each whose doors a successor has.
        """
        self._channel = channel
        self._on_exited = on_exited
        self._on_template = on_template
        self._on_drain = on_drain
        self._on_gone = on_gone
        self._on_taken = on_taken
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pending: dict[int, asyncio.Future[_Answer]] = {}
        self._unsent: deque[_Unsent] = deque()
        self._last_id = 0
        self._gone = ""

    async def start(self) -> None:
        """Listen on the running loop, asyncio's or uvloop's."""
        self._loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        self._loop.add_reader(self._channel.fileno(), self._read)

    def close(self) -> None:
        """Let go of the channel; everything that waits raises WardenError. May be called twice."""
        self._lose("the channel to the warden was closed")

    async def boot(
        self,
        sandbox: str,
        *,
        micro: str,
        runtime: str,
        dependencies: str | None,
        memory_bytes: int,
        tmp_bytes: int,
        tasks: int,
        egress: Policy,
    ) -> None:
        """Start an interpreter in a new sandbox; returns when it is up. None of the user's code runs."""
        await self._ask(
            {
                "op": "boot",
                "sandbox": sandbox,
                "micro": micro,
                "runtime": runtime,
                "dependencies": dependencies,
                "memory_bytes": memory_bytes,
                "tmp_bytes": tmp_bytes,
                "tasks": tasks,
                "egress": egress,
            }
        )

    async def attach(
        self,
        sandbox: str,
        *,
        revision: str,
        mode: Mode,
        environment: Mapping[str, str],
        log: int,
        report: int,
    ) -> None:
        """Mount the revision's code and let the guest import it; `on_template` says how it went.

        `log` receives the import's output, `report` the guest's report (runtimes/CONTRACT.md); both stay the
        caller's, who closes them to see their end.
        """
        memfd = _memfd(b"".join(f"{k}={v}\0".encode() for k, v in environment.items()))
        try:
            request = {"op": "attach", "sandbox": sandbox, "revision": revision, "mode": mode}
            await self._ask(request, [memfd, log, report])
        finally:
            os.close(memfd)

    async def lease(self, sandbox: str) -> Lease:
        """Take an executor: the frozen spare, thawed, or a new fork. End it with `kill`, or `T` on its channel."""
        answer, descriptors = await self._ask({"op": "lease", "sandbox": sandbox}, expected=5)
        channel, stdout, stderr, freezer, peak = descriptors
        return Lease(
            executor=answer["executor"],
            sandbox=sandbox,
            spare=answer["spare"],
            channel=socket.socket(fileno=channel),
            stdout=stdout,
            stderr=stderr,
            freezer=freezer,
            peak=peak,
            freeze=answer["freeze"].encode(),
            thaw=answer["thaw"].encode(),
        )

    async def doors(self, sandbox: str) -> Doors:
        """Take duplicates of the sockets in a sandbox's network; the caller closes them."""
        _, descriptors = await self._ask({"op": "doors", "sandbox": sandbox}, expected=4)
        return Doors(*(socket.socket(fileno=each) for each in descriptors))

    async def permit(self, sandbox: str, addresses: Collection[str], ttl_s: int) -> None:
        """Let a sandbox whose egress is a list of names reach addresses, for at least as long as they live."""
        await self._ask({"op": "permit", "sandbox": sandbox, "addresses": list(addresses), "ttl_s": ttl_s})

    async def kill(self, executor: str) -> Evidence:
        """End an executor with all it started, and tell how it ended. The same again when called twice."""
        answer, _ = await self._ask({"op": "kill", "executor": executor})
        return _evidence(answer["evidence"])

    async def stop(self, sandbox: str) -> None:
        """End a sandbox with all its executors; returns when nothing of it is left. May be called twice."""
        await self._ask({"op": "stop", "sandbox": sandbox})

    async def list(self) -> list[SandboxInfo]:
        """Tell every living sandbox, and take charge of those that an earlier host left behind."""
        answer, _ = await self._ask({"op": "list"})
        return [
            SandboxInfo(**{**each, "executors": tuple(each["executors"])}) for each in answer["sandboxes"]
        ]

    async def install(
        self,
        build: str,
        *,
        runtime: str,
        packages_as_of: date | None,
        builds_allowed: bool,
        scope: str,
        salt: str = "",
        requirements: bytes,
        log: Callable[[str], None],
    ) -> tuple[str, int]:
        """Resolve and install a requirements file; gives the dependency set's id and bytes.

        `log` receives uv's output in pieces; sets that ran build code are shared only inside their `scope`,
        and sets of different `salt` are never the same.
        Raises: InstallError when the user's requirements are at fault.
        """
        memfd = _memfd(requirements)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.set_blocking(writer, True)
            self._running().add_reader(reader, _forward, reader, log)
            request = {
                "op": "install",
                "build": build,
                "runtime": runtime,
                "packages_as_of": packages_as_of.isoformat() if packages_as_of else None,
                "builds_allowed": builds_allowed,
                "scope": scope,
                "salt": salt or None,
            }
            answer, _ = await self._ask(request, [memfd, writer], deadline_s=INSTALL_S)
            if "refused" in answer:
                raise InstallError(answer["refused"])
            return answer["dependencies"], answer["bytes"]
        finally:
            self._running().remove_reader(reader)
            _forward(reader, log)
            wire.close([memfd, reader, writer])

    async def fetch(self, build: str, *, url: str, ref: str, commit: str, bundle: BinaryIO | None) -> Record:
        """Fetch `commit` of a public git repository, or the newest of `ref` or of the default branch.

        Gives {"commit", "branch", "entries", "deta_json", "warnings"}; `bundle` gets a zip of the files, when it is given.
        Raises: InstallError in one sentence.
        """
        told = _memfd(b"")
        try:
            request: Record = {"op": "fetch", "build": build, "url": url, "ref": ref, "commit": commit}
            request |= {"bundle": bundle is not None}
            files = [told, told if bundle is None else bundle.fileno()]
            answer, _ = await self._ask(request, files, deadline_s=FETCH_S)
            said = {} if "refused" in answer else json.loads(os.pread(told, FETCH_TOLD_BYTES, 0))
        finally:
            wire.close([told])
        if refused := answer.get("refused") or said.get("refused"):
            raise InstallError(refused)
        return said

    async def sweep(self, dependencies: Collection[str]) -> None:
        """Delete every dependency set but these."""
        await self._ask({"op": "sweep", "dependencies": sorted(dependencies)})

    async def ready(self) -> None:
        """Say that this host serves: the one it replaces drains; sandboxes not taken charge of (`list`) are stopped."""
        await self._ask({"op": "ready"})

    async def doctor(self) -> DoctorReport:
        """Tell every guard and every interpreter of this machine."""
        answer, _ = await self._ask({"op": "doctor"})
        return DoctorReport(
            guards=tuple(Guard(**each) for each in answer["guards"]),
            runtimes=tuple(RuntimeInfo(**each) for each in answer["runtimes"]),
        )

    async def _ask(
        self,
        request: Record,
        descriptors: Sequence[int] = (),
        *,
        expected: int = 0,
        deadline_s: float = REQUEST_S,
    ) -> _Answer:
        if self._gone:
            raise WardenError(self._gone)
        self._last_id += 1
        number = self._last_id
        future: asyncio.Future[_Answer] = self._running().create_future()
        self._pending[number] = future
        try:
            self._send({**request, "id": number}, descriptors)
            async with asyncio.timeout(deadline_s):
                answer, received = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self._drop(*future.result())
            raise
        except TimeoutError as error:
            raise WardenError(
                f"the warden did not answer '{request['op']}' within {deadline_s:.0f} s"
            ) from error
        finally:
            self._pending.pop(number, None)
        if "error" in answer:
            raise WardenError(answer["error"])
        if len(received) != expected:
            wire.close(received)
            raise WardenError(
                f"the warden sent {len(received)} descriptors for '{request['op']}', not {expected}"
            )
        return answer, received

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise WardenError("the client was not started; call start() first")
        return self._loop

    def _send(self, record: Record, descriptors: Sequence[int] = ()) -> None:
        data = wire.encode(record)
        if self._unsent:
            self._unsent.append((data, [os.dup(each) for each in descriptors]))
            return
        try:
            wire.send(self._channel, data, descriptors)
        except BlockingIOError:
            self._unsent.append((data, [os.dup(each) for each in descriptors]))
            self._running().add_writer(self._channel.fileno(), self._flush)
        except OSError as error:
            self._lose(f"the warden is gone: {error.strerror}")
            raise WardenError(self._gone) from error

    def _flush(self) -> None:
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                wire.send(self._channel, data, descriptors)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(f"the warden is gone: {error.strerror}")
                return
            self._unsent.popleft()
            wire.close(descriptors)
        self._running().remove_writer(self._channel.fileno())

    def _read(self) -> None:
        while not self._gone:
            try:
                received = wire.receive(self._channel)
            except BlockingIOError:
                return
            except (wire.WireError, OSError) as error:
                self._lose(f"the warden is gone: {error}")
                return
            if received is None:
                self._lose("the warden is gone")
                return
            self._take(*received)

    def _take(self, record: Record, descriptors: Sequence[int]) -> None:
        if "event" in record:
            wire.close(descriptors)
            self._happen(record)
            return
        number = record["re"]
        future = self._pending.pop(number, None)
        if future is not None and not future.done():
            future.set_result((record, list(descriptors)))
            return
        self._drop(record, descriptors)

    def _drop(self, record: Record, descriptors: Sequence[int]) -> None:
        """Let go of an answer nobody waits for any more; an executor that came with it goes back."""
        wire.close(descriptors)
        if "executor" in record:
            self._last_id += 1
            with contextlib.suppress(WardenError):
                self._send({"op": "kill", "executor": record["executor"], "id": self._last_id})

    def _happen(self, record: Record) -> None:
        match record["event"]:
            case "exited":
                self._on_exited(record["executor"], record["sandbox"], _evidence(record["evidence"]))
            case "template":
                state = TemplateState(
                    record["sandbox"], record["state"], record["reason"], record.get("cause", "")
                )
                self._on_template(state)
            case "gone":
                self._on_gone(record["sandbox"])
            case "drain":
                for sandbox in record["taken"]:
                    self._on_taken(sandbox)
                self._on_drain()

    def _lose(self, reason: str) -> None:
        if self._gone:
            return
        self._gone = reason
        if self._loop is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._loop.remove_writer(self._channel.fileno())
        self._channel.close()
        for _, descriptors in self._unsent:
            wire.close(descriptors)
        self._unsent.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(WardenError(reason))


def _evidence(record: Record) -> Evidence:
    return Evidence(
        cause=cast(Cause, record["cause"]),
        status=record["status"],
        peak_memory_bytes=record["peak_memory_bytes"],
        cpu_s=record["cpu_s"],
    )


def _memfd(data: bytes) -> int:
    memfd = os.memfd_create("request", os.MFD_CLOEXEC)
    with open(memfd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(memfd, 0, os.SEEK_SET)
    return memfd


def _forward(reader: int, log: Callable[[str], None]) -> None:
    while True:
        try:
            data = os.read(reader, 65536)
        except (BlockingIOError, OSError):
            return
        if not data:
            return
        log(data.decode(errors="replace"))
