"""Hold one execution inside an executor: its frames, its deadline, its fault, and what it printed.

Theory of operation
    An executor of a Micro whose `concurrency` is 1 has one stream, whose frames cross as they are, and what it prints is read from
    its pipes. With more, streams share the channel: each frame carries its stream's number, and the guest, which alone
    knows who printed what, sends that as `o` frames. A slow visitor must not stall the others, so a stream is paused by a
    word (`P`, `G`) instead of by not reading. A guest that does not obey breaks the contract, and ends.
    Source: runtimes/CONTRACT.md, section 3.
"""

from __future__ import annotations

import time
from typing import Literal, Protocol

import msgspec

from microhost.limits import LOG_BYTES_PER_EXECUTION
from microhost.micros.channel import BODY_BYTES_MAX, Channel
from microhost.micros.work import ContractError, Fault, Work

NUMBERED = ord("#")
NEVER = float("inf")
CHANNEL, GUEST = 1, 2
UNPAUSED_BYTES_MAX = 4 * BODY_BYTES_MAX  # what may be on its way when we say `P`
NOTE_BYTES = 256  # of the guest, about what it did not send of the output

_H, _D, _E, _F, _O, _FULL, _DRAINED = b"hdefopg"
_STREAM = frozenset((_H, _D))
_ENDED = ord("2")


class _FaultFrame(msgspec.Struct, frozen=True):
    stage: Literal["import", "startup", "execution"]
    kind: str
    message: str
    traceback: str = ""


class Home(Protocol):
    """Receive the end of an execution (the executor)."""

    def stream_ended(self, stream: Stream) -> None:
        """Learn that the guest says so, and that the work allows it."""


class Stream:
    """Be one place for an execution. `prefix` is empty, or marks the frames of a numbered stream."""

    __slots__ = (
        "_channel",
        "_full",
        "_home",
        "_paused",
        "_printed",
        "_printed_bytes",
        "_since_pause",
        "begun_at",
        "deadline",
        "fault",
        "guilty",
        "number",
        "prefix",
        "work",
    )

    def __init__(self, home: Home, channel: Channel, number: int | None) -> None:
        self._home = home
        self._channel = channel
        self.number = number
        self.prefix = b"" if number is None else bytes((NUMBERED, number))
        self.work: Work | None = None
        self.deadline = NEVER
        self.begun_at = 0.0
        self.fault: Fault | None = None
        self.guilty = False  # of the end of its process
        self._printed: list[bytes] = []
        self._printed_bytes = 0
        self._paused = False
        self._since_pause = 0
        self._full = 0  # which of CHANNEL and GUEST take no more of the request

    def run(self, work: Work, now: float) -> None:
        """Begin an execution; its deadline starts to count."""
        self.work = work
        self.fault = None
        self.deadline = now + work.micro.timeout_s
        self.begun_at = work.begun_at = now
        work.begin(self)

    def clear(self) -> Work | None:
        """Give the work up, and be free."""
        self.full(CHANNEL | GUEST, False)
        work, self.work = self.work, None
        self.deadline = NEVER
        if not self.prefix:
            self._channel.resume_reading()
        return work

    def served_s(self) -> float:
        """Give how long its execution has run."""
        return time.monotonic() - self.begun_at

    def take_printed(self) -> str:
        """Give what the execution printed by `o` frames, and forget it."""
        if not self._printed:
            return ""
        text = b"".join(self._printed).decode("utf-8", "replace")
        self._printed.clear()
        self._printed_bytes = 0
        return text

    # What a work does with it

    def send(self, meta: bytes, body: bytes = b"") -> None:
        """Write one frame."""
        self._channel.send(self.prefix + meta if self.prefix else meta, body)

    def pause_reading(self) -> None:
        """Have no more frames come, because the visitor reads slowly."""
        if not self.prefix:
            self._channel.pause_reading()
        elif not self._paused:
            self._paused = True
            self._since_pause = 0
            self.send(b"P")

    def resume_reading(self) -> None:
        """Have frames come again."""
        if not self.prefix:
            self._channel.resume_reading()
        elif self._paused:
            self._paused = False
            self.send(b"G")

    # What the executor tells

    def full(self, who: int, is_full: bool) -> None:
        """Pass on that CHANNEL or GUEST takes no more of the request, or does again."""
        before = self._full
        self._full = before | who if is_full else before & ~who
        if self.work is not None and bool(before) != bool(self._full):
            self.work.executor_full(bool(self._full))

    def frame_received(self, meta: bytes, body: bytes) -> None:
        """Give a frame, without its number, to the execution; notice its end.

        Raises: ContractError, msgspec.MsgspecError, IndexError, ValueError when it has no place here.
        """
        work = self.work
        if work is None:
            raise ContractError("a frame outside an execution")
        kind = meta[0]
        if kind == _E:
            self._end(work)
        elif kind == _F:
            self.fault = read_fault(meta)
            work.faulted(self.fault)
        elif self.prefix and kind in (_O, _FULL, _DRAINED):
            self._served(kind, body)
        else:
            if self._paused:
                self._hold(len(body))
            work.frame_received(kind, meta, body)
            if kind in _STREAM and meta[1] == _ENDED:
                self._end(work)

    def _end(self, work: Work) -> None:
        work.check_end()
        self._home.stream_ended(self)

    def _served(self, kind: int, body: bytes) -> None:
        if kind != _O:
            self.full(GUEST, kind == _FULL)
            return
        self._printed_bytes += len(body)
        if self._printed_bytes > LOG_BYTES_PER_EXECUTION + NOTE_BYTES:
            raise ContractError("more output than the contract allows")
        self._printed.append(body)

    def _hold(self, count: int) -> None:
        self._since_pause += count
        if self._since_pause > UNPAUSED_BYTES_MAX:
            raise ContractError("a paused stream that goes on")


def read_fault(meta: bytes) -> Fault:
    """Decode an `f` meta. Raises: msgspec.MsgspecError."""
    return Fault(**msgspec.structs.asdict(msgspec.json.decode(meta[1:], type=_FaultFrame)))
