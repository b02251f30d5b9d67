"""Hold one executor: its channel, its output, its freezer, and the executions that run in it.

Theory of operation
    An executor is leased from the warden and belongs to one sandbox. It says `r` once, then runs one execution after the
    other, or several at once where the Micro asks for that (stream.py): they share the process, its memory and its end.
    Its life as seen from here: starting -> idle <-> busy -> gone. It may die at any moment; the channel's end is noticed after
    every frame that it sent was read, and only then the warden's evidence decides how its executions ended.
    The deadline of an execution is a plain number that the pool's 50 ms turn compares; only in its last 50 ms it has a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from microhost.errors import MicroError
from microhost.limits import CONCURRENCY_MAX
from microhost.micros.channel import Channel
from microhost.micros.output import Output
from microhost.micros.stream import CHANNEL, NEVER, NUMBERED, Stream, read_fault
from microhost.micros.work import ContractError, Failure, Fault, Work, with_traceback
from microhost.records import Micro
from sandbox.client import Evidence, Lease

Cut = Literal["", "timeout", "violation", "retired", "aborted"]

_F, _R = b"fr"


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


class Home(Protocol):
    """Receive what happens to an executor (the pool's sandbox)."""

    @property
    def micro(self) -> Micro:
        """Give the Micro it runs, with its present limits."""

    @property
    def concurrency(self) -> int:
        """Give how many executions may run in it at once now."""

    def executor_free(self, executor: Executor, served_s: float) -> None:
        """Learn that an execution of `served_s` seconds has ended well enough for the executor to go on."""

    def executor_lost(self, executor: Executor) -> None:
        """Learn that its channel ended, or must end; evidence is wanted from the warden."""


class Executor:
    """Run executions in a leased process, one at a time or several. `deadline` is the process's own: its start, its retirement."""

    __slots__ = (
        "_channel",
        "_channel_is_full",
        "_fault",
        "_freezer",
        "_lease",
        "_peak",
        "_poll",
        "_shared",
        "_solo",
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
        "serves",
        "spare",
    )

    def __init__(self, home: Home, lease: Lease, loop: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self.id = lease.executor
        self.spare = lease.spare
        self._lease = lease
        self._freezer = lease.freezer
        self._peak = lease.peak
        self._channel = Channel(self)
        self._channel_is_full = False
        self._poll = select.poll()
        self._poll.register(lease.channel, select.POLLIN | select.POLLRDHUP)
        self.output = Output(loop, lease.stdout, lease.stderr)
        self._solo = Stream(self, self._channel, None)
        self._shared: dict[int, Stream] = {}  # those that run, by number
        self.ready: asyncio.Future[GuestReport] = loop.create_future()
        self.serves = False  # whoever leased it knows that it is ready
        self.deadline = NEVER
        self.idle_since = 0.0
        self.frozen = False
        self.gone = False
        self.lost = False
        self.cut: Cut = ""
        self.evidence: Evidence | None = None
        self._fault: Fault | None = None  # of its start

    async def open(self) -> None:
        """Attach the channel's socket to the loop; frames flow from now on."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._channel, sock=self._lease.channel)

    @property
    def is_busy(self) -> bool:
        """Tell whether an execution runs in it."""
        return self._solo.work is not None or bool(self._shared)

    @property
    def has_room(self) -> bool:
        """Tell whether it could run one more."""
        return self._solo.work is None and len(self._shared) < self.home.concurrency

    @property
    def next_deadline(self) -> float:
        """Give the moment at which it, or an execution in it, must have ended."""
        first = min(self.deadline, self._solo.deadline)
        return min(first, *(each.deadline for each in self._shared.values())) if self._shared else first

    def running(self) -> Iterator[Stream]:
        """Give the streams in which an execution runs."""
        if self._solo.work is not None:
            yield self._solo
        yield from list(self._shared.values())

    def is_quiet(self) -> bool:
        """Tell whether it lives, and has said nothing when it is idle: one that died a moment ago has not been noticed yet."""
        return self.is_busy or not self._poll.poll(0)

    # What the pool does with it

    def run(self, work: Work, now: float) -> None:
        """Begin an execution, for which it has room; its deadline starts to count."""
        if not self.is_busy:
            self.output.forget()
            with contextlib.suppress(OSError):  # an older kernel counts since the executor began
                os.write(self._peak, b"0")
        stream = self._free_stream()
        stream.run(work, now)
        if self._channel_is_full:  # others filled it, and it tells once
            stream.full(CHANNEL, True)

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

    def end_late(self, now: float) -> None:
        """Give it up, because it or an execution in it is too late."""
        if self.evidence is None and not self.cut:
            self.cut = "timeout"
            for each in self.running():
                each.guilty = each.deadline <= now
        self.channel_closed()

    def finish(self, evidence: Evidence) -> None:
        """Release everything and end its executions by the evidence; calling twice changes nothing."""
        if self.gone:
            return
        self.gone = True
        self.deadline = NEVER
        log = self.output.take()
        if not self._channel.close():
            self._lease.channel.close()
        self.output.close()
        os.close(self._freezer)
        os.close(self._peak)
        failure = explain(self.home.micro, self.cut, evidence)
        if not self.ready.done():
            self.ready.set_exception(_start_error(self.home.micro, failure, self._fault, log))
        streams = list(self.running())
        guilty = [each for each in streams if each.guilty or (each.fault is not None and self.cut == "")]
        for each in streams:
            own = failure
            if each.fault is not None and self.cut == "":
                own = Failure(each.fault.cause, each.fault.message, evidence.peak_memory_bytes)
            elif guilty and each not in guilty and failure.cause != "out_of_memory":
                own = _bystander(self.home.micro, self.cut, guilty[0].fault, evidence)
            printed = each.take_printed() + log
            work = each.clear()
            if work is not None:
                work.failed(own, with_traceback(printed, each.fault if self.cut == "" else None))
        self._shared.clear()

    # What the channel tells

    def frame_received(self, meta: bytes, body: bytes) -> None:
        """Give a frame to its stream. After a breach nothing is believed any more."""
        if self.lost:
            return
        stream = self._solo
        try:
            if meta[0] == NUMBERED:
                stream = self._shared[meta[1]]
                stream.frame_received(meta[2:], body)
            elif stream.work is not None:
                stream.frame_received(meta, body)
            else:
                self._received_while_starting(meta)
        except (ContractError, msgspec.MsgspecError, LookupError, ValueError, RecursionError) as error:
            stream.guilty = stream.work is not None
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
        """Pass back pressure on to the visitors."""
        self._channel_is_full = full
        for each in self.running():
            each.full(CHANNEL, full)

    # What a stream tells

    def stream_ended(self, stream: Stream) -> None:
        """End its execution with what it printed."""
        served_s = stream.served_s()
        log = stream.take_printed()
        if stream.number is not None:
            del self._shared[stream.number]
        work = stream.clear()
        assert work is not None
        work.peak_memory_bytes = self._read_peak()
        if (
            not self.is_busy
        ):  # what the pipes hold was printed past the guest, and nobody else is left to own it
            log += self.output.take()
        try:
            work.ended(with_traceback(log, stream.fault))
        finally:
            self.home.executor_free(self, served_s)

    def _free_stream(self) -> Stream:
        if self.home.concurrency == 1:
            return self._solo
        number = next(each for each in range(CONCURRENCY_MAX) if each not in self._shared)
        stream = self._shared[number] = Stream(self, self._channel, number)
        return stream

    def _received_while_starting(self, meta: bytes) -> None:
        kind = meta[0]
        if self.ready.done() or kind not in (_R, _F):
            raise ContractError("a frame outside an execution")
        if kind == _R:
            self.ready.set_result(msgspec.json.decode(meta[1:], type=GuestReport))
        else:
            self._fault = read_fault(meta)

    def _lose(self) -> None:
        if not self.lost and not self.gone:
            self.lost = True
            self.deadline = NEVER
            for each in self.running():
                each.deadline = NEVER
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


def _bystander(micro: Micro, cut: Cut, fault: Fault | None, evidence: Evidence) -> Failure:
    """Say that an execution ended because of another in its process (`concurrency` above 1)."""
    if fault is not None:
        reason = fault.message
    elif cut == "timeout":
        reason = f"it did not finish within {micro.timeout_s:g} s."
    else:
        reason = "it sent what is no response."
    return Failure(
        "crashed",
        f"Micro '{micro.name}' ended because of another execution in the same process: {reason}",
        evidence.peak_memory_bytes,
    )


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
