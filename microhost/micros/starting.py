"""Start one revision's template: boot a sandbox, attach the code, read what the import said.

Theory of operation
    boot runs none of the user's code; attach imports it (mode `fork`) with its output in a log pipe and its account in a report
    pipe; the warden's event `template` says whether the result may be forked. When it may not, the sandbox is stopped and
    a new one attached in mode `fresh`, where every executor imports for itself. A sandbox's id ends in a digest of everything
    it was started with, so that a host that comes back can tell whether a sandbox of its predecessor is the one it wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from microhost.errors import MicroError
from microhost.limits import EXECUTION_TASKS, EXECUTION_TMP_BYTES, IMPORT_TIMEOUT_S, MIB
from microhost.micros.executor import GuestReport
from microhost.micros.output import Output, shedding
from microhost.micros.runtimes import is_node
from microhost.records import Micro, Revision
from sandbox.client import WardenError

if TYPE_CHECKING:
    from sandbox.client import TemplateState, WardenClient

REPORT_BYTES_MAX = 256 * 1024
REPORT_WAIT_S = 2.0
DIGEST_CHARACTERS = 14

Mode = Literal["fork", "fresh"]
BeforeCode = Callable[[str, str], Awaitable[None]]  # (sandbox, id of the Micro)


@dataclass(frozen=True, slots=True)
class Import:
    """Hold a started sandbox and what its import said. `log` is still open: the template may print when it is forked."""

    sandbox: str
    mode: Mode
    reason: str
    report: GuestReport
    log: Output
    text: str


def fingerprint(micro: Micro, revision: Revision, environment: Mapping[str, str]) -> str:
    """Give the end of a sandbox's id: the same for the same revision, limits and environment."""
    parts = [
        micro.id,
        revision.id,
        revision.runtime,
        str(micro.memory_mb),
        repr(micro.egress),
        *(f"{k}={v}" for k, v in sorted(environment.items())),
    ]
    return sha256("\0".join(parts).encode()).hexdigest()[:DIGEST_CHARACTERS]


def new_sandbox_id(digest: str) -> str:
    """Give a fresh id with a known end."""
    return "s" + secrets.token_hex(5) + digest


class Starter:
    """Start templates; several at once."""

    def __init__(self, warden: WardenClient) -> None:
        self._warden = warden
        self._waiting: dict[str, asyncio.Future[TemplateState]] = {}
        self.before_code: BeforeCode = _nothing

    def template_changed(self, state: TemplateState) -> bool:
        """Take the warden's event; False when no start waits for it."""
        waiting = self._waiting.get(state.sandbox)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(state)
        return True

    async def start(self, micro: Micro, revision: Revision, environment: Mapping[str, str]) -> Import:
        """Give a template that has imported the code, or one that lets each executor import it.

        Raises: MicroError when the user's code does not import; WardenError when the warden cannot.
        """
        first: Import | str = ""
        if not is_node(revision.runtime):
            first = await self._start(micro, revision, environment, "fork", "")
        if isinstance(first, Import):
            return first
        second = await self._start(micro, revision, environment, "fresh", first)
        assert isinstance(second, Import)
        return second

    async def _start(
        self, micro: Micro, revision: Revision, environment: Mapping[str, str], mode: Mode, reason: str
    ) -> Import | str:
        sandbox = new_sandbox_id(fingerprint(micro, revision, environment))
        loop = asyncio.get_running_loop()
        self._waiting[sandbox] = loop.create_future()
        try:
            await self._warden.boot(
                sandbox,
                micro=micro.id,
                runtime=revision.runtime,
                dependencies=revision.dependencies,
                memory_bytes=micro.memory_mb * MIB,
                tmp_bytes=EXECUTION_TMP_BYTES,
                tasks=EXECUTION_TASKS,
                egress=micro.egress,
            )
            try:
                await self.before_code(sandbox, micro.id)
                return await self._attach(sandbox, micro, revision, environment, mode, reason)
            except BaseException:
                await self._stop(sandbox)
                raise
        finally:
            del self._waiting[sandbox]

    async def _attach(
        self,
        sandbox: str,
        micro: Micro,
        revision: Revision,
        environment: Mapping[str, str],
        mode: Mode,
        reason: str,
    ) -> Import | str:
        loop = asyncio.get_running_loop()
        with _pipe() as (log_end, log_fd), _pipe() as (report_end, report_fd):
            report = loop.create_future()
            reader = _ReportReader(loop, os.dup(report_end), report)
            log = Output(loop, os.dup(log_end))
            try:
                await self._warden.attach(
                    sandbox,
                    revision=revision.id,
                    mode=mode,
                    environment=environment,
                    log=log_fd,
                    report=report_fd,
                )
            except BaseException:
                log.close()
                reader.close()
                raise
        try:
            async with shedding(log):
                state = await self._imported(micro, sandbox, log)
            if state.state == "unsafe":
                log.close()
                await self._stop(sandbox)
                return state.reason
            said = await self._report(report)
            if state.state != "ready" or not said.ok:
                raise _import_error(micro, state, said, log.take())
            return Import(sandbox, mode, reason, said, log, log.take())
        except BaseException:
            log.close()
            raise
        finally:
            reader.close()

    async def _imported(self, micro: Micro, sandbox: str, log: Output) -> TemplateState:
        try:
            async with asyncio.timeout(IMPORT_TIMEOUT_S):
                return await self._waiting[sandbox]
        except TimeoutError:
            raise MicroError("timeout", _slow_import(micro), log=log.take()) from None

    async def _report(self, report: asyncio.Future[bytes]) -> GuestReport:
        try:
            async with asyncio.timeout(REPORT_WAIT_S):
                return msgspec.json.decode(await report, type=GuestReport)
        except (TimeoutError, msgspec.MsgspecError):
            return GuestReport(ok=False)

    async def _stop(self, sandbox: str) -> None:
        with contextlib.suppress(WardenError):
            await self._warden.stop(sandbox)


async def _nothing(sandbox: str, micro_id: str) -> None:
    """Do nothing before the code runs."""


def _slow_import(micro: Micro) -> str:
    return f"Micro '{micro.name}' did not import within {IMPORT_TIMEOUT_S:g} s. Do slow work in a handler, not at import."


def _import_error(micro: Micro, state: TemplateState, said: GuestReport, log: str) -> MicroError:
    if state.cause == "timeout":
        return MicroError("timeout", _slow_import(micro), log=log)
    beyond = (
        f" It reached the limit of {EXECUTION_TASKS} processes and threads." if state.cause == "tasks" else ""
    )
    if said.message and not said.ok:
        text = f"{log}{'' if not log or log.endswith(chr(10)) else chr(10)}{said.traceback}"
        return MicroError("import_error", said.message + beyond, log=text)
    if state.cause == "out_of_memory":
        return MicroError(
            "out_of_memory",
            f"Micro '{micro.name}' used more than {micro.memory_mb} MB of memory at import.",
            log=log,
        )
    return MicroError("import_error", f"Micro '{micro.name}' ended while it was imported.{beyond}", log=log)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


class _ReportReader:
    """Read one pipe to its end, at most REPORT_BYTES_MAX, into a future."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, result: asyncio.Future[bytes]) -> None:
        self._loop, self._fd, self._result = loop, fd, result
        self._data = bytearray()
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        self._data += data
        if data and len(self._data) <= REPORT_BYTES_MAX:
            return
        if not self._result.done():
            self._result.set_result(bytes(self._data))
        self.close()

    def close(self) -> None:
        """Close the pipe; calling twice changes nothing."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
