"""Hold one executor: its channel, its output, its freezer, and the execution that runs in it.

Theory of operation
    An executor is leased from the warden and belongs to one sandbox. It says `r` once, then runs one execution after the
    other. Its life as seen from here: starting -> idle <-> busy -> gone. It may die at any moment; the channel's end is noticed after
    every frame that it sent was read, and only then the warden's evidence decides how its execution ended.
    The deadline of an execution is a plain number that the pool's 50 ms turn compares; only in its last 50 ms it has a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
from typing import Literal, Protocol

import msgspec

from microhost.errors import MicroError
from microhost.micros.channel import Channel
from microhost.micros.output import Output
from microhost.micros.work import ContractError, Failure, Fault, Work, with_traceback
from microhost.records import Micro
from sandbox.client import Evidence, Lease

Cut = Literal["", "timeout", "violation", "retired", "aborted"]

_H, _D, _E, _F, _R = b"hdefr"
_STREAM = frozenset((_H, _D))
_ENDED = ord("2")
NEVER = math.inf


class GuestReport(msgspec.Struct, frozen=True):
    """Decode what a guest tells about its import (runtimes/CONTRACT.md, section 2)."""

    ok: bool
    interface: Literal["asgi", "wsgi", "node"] | None = None
    run: list[str] = []
    cron: bool = False
    import_s: float = 0.0
    kind: str = ""
    message: str = ""
    traceback: str = ""


class _FaultFrame(msgspec.Struct, frozen=True):
    stage: Literal["import", "startup", "execution"]
    kind: str
    message: str
    traceback: str = ""


class Home(Protocol):
    """Receive what happens to an executor (the pool's sandbox)."""

    @property
    def micro(self) -> Micro:
        """Give the Micro it runs, with its present limits."""

    def executor_free(self, executor: Executor) -> None:
        """Learn that its execution has ended well enough for the executor to go on."""

    def executor_lost(self, executor: Executor) -> None:
        """Learn that its channel ended, or must end; evidence is wanted from the warden."""


class Executor:
    """Run one execution at a time in a leased process."""

    __slots__ = (
        "_channel",
        "_fault",
        "_freezer",
        "_peak",
        "_lease",
        "_poll",
        "begun_at",
        "cut",
        "deadline",
        "evidence",
        "frozen",
        "gone",
        "home",
        "id",
        "idle_since",
        "lost",
        "output",
        "ready",
        "spare",
        "work",
    )

    def __init__(self, home: Home, lease: Lease, loop: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self.id = lease.executor
        self.spare = lease.spare
        self._lease = lease
        self._freezer = lease.freezer
        self._peak = lease.peak
        self._channel = Channel(self)
        self._poll = select.poll()
        self._poll.register(lease.channel, select.POLLIN | select.POLLRDHUP)
        self.output = Output(loop, lease.stdout, lease.stderr)
        self.work: Work | None = None
        self.ready: asyncio.Future[GuestReport] = loop.create_future()
        self.deadline = NEVER
        self.idle_since = 0.0
        self.begun_at = 0.0
        self.frozen = False
        self.gone = False
        self.lost = False
        self.cut: Cut = ""
        self.evidence: Evidence | None = None
        self._fault: Fault | None = None

    async def open(self) -> None:
        """Attach the channel's socket to the loop; frames flow from now on."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._channel, sock=self._lease.channel)

    def is_quiet(self) -> bool:
        """Tell whether an idle executor lives and has said nothing: one that died a moment ago has not been noticed yet."""
        return not self._poll.poll(0)

    # What the pool does with it

    def run(self, work: Work, now: float) -> None:
        """Begin an execution; its deadline starts to count."""
        self.work = work
        self._fault = None
        self.deadline = now + work.micro.timeout_s
        self.begun_at = work.begun_at = now
        self.output.forget()
        with contextlib.suppress(OSError):  # an older kernel counts since the executor began
            os.write(self._peak, b"0")
        work.begin(self)

    def freeze(self) -> bool:
        """Stop every process of it by one write; False when it is gone."""
        self.frozen = self._write_freezer(self._lease.freeze)
        return self.frozen

    def thaw(self) -> bool:
        """Let it go on by one write; False when it is gone."""
        self.frozen = False
        return self._write_freezer(self._lease.thaw)

    def retire(self, deadline: float) -> None:
        """Ask it to shut its lifespan down and exit; the pool kills it at the deadline."""
        self.cut = "retired"
        if self.frozen:
            self.thaw()
        self.deadline = deadline
        self._channel.send(b"T")

    def finish(self, evidence: Evidence) -> None:
        """Release everything and end its execution by the evidence; calling twice changes nothing."""
        if self.gone:
            return
        self.gone = True
        self.deadline = NEVER
        work, self.work = self.work, None
        log = self.output.take()
        if not self._channel.close():
            self._lease.channel.close()
        self.output.close()
        os.close(self._freezer)
        os.close(self._peak)
        failure = explain(self.home.micro, self.cut, evidence)
        if not self.ready.done():
            self.ready.set_exception(_start_error(self.home.micro, failure, self._fault, log))
        if work is not None:
            fault, self._fault = self._fault, None
            if fault is not None and self.cut == "":
                failure = Failure(fault.cause, fault.message, evidence.peak_memory_bytes)
            work.failed(failure, with_traceback(log, fault))

    # What a work does with it

    def send(self, meta: bytes, body: bytes = b"") -> None:
        """Write one frame."""
        self._channel.send(meta, body)

    def pause_reading(self) -> None:
        """Stop reading its frames, because the visitor reads slowly."""
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Read its frames again."""
        self._channel.resume_reading()

    # What the channel tells

    def frame_received(self, meta: bytes, body: bytes) -> None:
        """Give a frame to the execution; notice its end. After a breach nothing is believed any more."""
        if self.lost:
            return
        work = self.work
        if work is None:
            self._received_while_starting(meta, body)
            return
        kind = meta[0]
        try:
            if kind == _E:
                self._end(work)
            elif kind == _F:
                self._fault = Fault(**msgspec.structs.asdict(msgspec.json.decode(meta[1:], type=_FaultFrame)))
                work.faulted(self._fault)
            else:
                work.frame_received(kind, meta, body)
                if kind in _STREAM and meta[1] == _ENDED:
                    self._end(work)
        except (ContractError, msgspec.MsgspecError, IndexError, ValueError) as error:
            self.channel_violated(str(error))

    def channel_violated(self, reason: str) -> None:
        """Give the executor up: nothing it says is believed any more."""
        del reason
        self.cut = self.cut or "violation"
        self._lose()

    def channel_closed(self) -> None:
        """Give the executor up: its end is gone."""
        self._lose()

    def channel_full(self, full: bool) -> None:
        """Pass back pressure on to the visitor."""
        if self.work is not None:
            self.work.executor_full(full)

    def _end(self, work: Work) -> None:
        work.check_end()
        self.work = None
        self.deadline = NEVER
        self._channel.resume_reading()
        work.peak_memory_bytes = self._read_peak()
        try:
            work.ended(with_traceback(self.output.take(), self._fault))
        finally:
            self.home.executor_free(self)

    def _received_while_starting(self, meta: bytes, body: bytes) -> None:
        del body
        kind = meta[0]
        if self.ready.done() or kind not in (_R, _F):
            self.channel_violated("a frame outside an execution")
            return
        try:
            if kind == _R:
                self.ready.set_result(msgspec.json.decode(meta[1:], type=GuestReport))
            else:
                self._fault = Fault(**msgspec.structs.asdict(msgspec.json.decode(meta[1:], type=_FaultFrame)))
        except msgspec.MsgspecError:
            self.channel_violated("a report that is none")

    def _lose(self) -> None:
        if not self.lost and not self.gone:
            self.lost = True
            self.deadline = NEVER
            self.home.executor_lost(self)

    def _read_peak(self) -> int | None:
        try:
            return int(os.pread(self._peak, 32, 0))
        except (OSError, ValueError):  # it is not counted here
            return None

    def _write_freezer(self, data: bytes) -> bool:
        with contextlib.suppress(OSError):
            os.write(self._freezer, data)
            return True
        return False


def explain(micro: Micro, cut: Cut, evidence: Evidence) -> Failure:
    """Name the cause of an end: what the kernel counted first, then what we did, then what was seen."""
    peak = evidence.peak_memory_bytes
    if evidence.cause == "out_of_memory":
        return Failure(
            "out_of_memory",
            f"Micro '{micro.name}' used more than {micro.memory_mb} MB of memory and was stopped.",
            peak,
        )
    if cut == "timeout":
        return Failure(
            "timeout",
            f"Micro '{micro.name}' did not finish within {micro.timeout_s:g} s and was stopped.",
            peak,
        )
    if cut == "violation":
        return Failure(
            "bad_response", f"Micro '{micro.name}' sent what is no response and was stopped.", peak
        )
    if evidence.cause == "exited":
        return Failure(
            "crashed",
            f"Micro '{micro.name}' ended in the middle of its answer{_status(evidence.status)}.",
            peak,
        )
    return Failure("crashed", f"Micro '{micro.name}' was ended in the middle of its answer.", peak)


def _status(status: int | None) -> str:
    if status is None:
        return ""
    return f" (signal {-status})" if status < 0 else f" (exit status {status})"


def _start_error(micro: Micro, failure: Failure, fault: Fault | None, log: str) -> MicroError:
    if fault is not None and failure.cause != "out_of_memory":
        return MicroError(fault.cause, fault.message, log=with_traceback(log, fault))
    if failure.cause == "timeout":
        return MicroError("timeout", f"Micro '{micro.name}' was not ready in time and was stopped.", log=log)
    if failure.cause == "out_of_memory":
        return MicroError("out_of_memory", failure.message, log=log)
    return MicroError("startup_error", f"Micro '{micro.name}' ended while it started.", log=log)
