"""Define one execution as the pool sees it: something that waits for an executor, talks to it and ends exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from microhost.errors import Cause, MicroError, OverloadedError
from microhost.records import Execution, Micro, RawExchange, Start, Trigger

if TYPE_CHECKING:
    from microhost.micros.stream import Stream

ABORTED_STATUS = 499


class OnExecution(Protocol):
    """Take the record of an ended execution, and what Visor saw of it."""

    def __call__(self, execution: Execution, exchange: RawExchange | None, /) -> Execution | None:
        """Never wait. Give the record as it will be shown."""


class ContractError(Exception):
    """Report that a guest sent a frame that has no place here; its executor is ended."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Hold a guest's `f` frame. `traceback` is for the user's log, never for a visitor."""

    stage: str
    kind: str
    message: str
    traceback: str = ""

    @property
    def cause(self) -> Cause:
        """Give the cause a program can read."""
        if self.stage == "import":
            return "import_error"
        if self.stage == "startup":
            return "startup_error"
        return _CAUSES.get(self.kind, "exception")


_CAUSES: dict[str, Cause] = {
    "exception": "exception",
    "no_response": "bad_response",
    "bad_response": "bad_response",
    "no_handler": "no_handler",
    "bad_result": "bad_result",
    "exit": "crashed",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Say how an execution ended when it did not end well, from evidence only."""

    cause: Cause
    message: str
    peak_memory_bytes: int | None = None


class Work:
    """Wait for an executor, use it, end. Subclasses speak to the visitor; the pool and the executor call these methods.

    Exactly one of `refused` (no executor was ever given), `ended` and `failed` is called, once, and last.
    """

    __slots__ = (
        "asked_at",
        "begun_at",
        "cancelled",
        "id",
        "micro",
        "peak_memory_bytes",
        "revision_id",
        "start_kind",
        "started_at",
        "stream",
    )

    trigger: Trigger = "http"

    def __init__(self, micro: Micro) -> None:
        self.micro = micro
        self.id = ""
        self.revision_id = ""
        self.stream: Stream | None = None
        self.asked_at = 0.0
        self.begun_at = 0.0
        self.started_at = 0.0
        self.start_kind: Start = "warm"
        self.cancelled = False
        self.peak_memory_bytes: int | None = None

    def begin(self, stream: Stream) -> None:
        """Send the first frame. From here on the execution may not be tried again elsewhere."""
        raise NotImplementedError

    def frame_received(self, kind: int, meta: bytes, body: bytes) -> None:
        """Take a frame of the kinds h d a m c v.

        Raises: ContractError when it has no place here.
        """
        raise NotImplementedError

    def faulted(self, fault: Fault) -> None:
        """Take the guest's own account of a failure; `ended` follows."""
        raise NotImplementedError

    def executor_full(self, full: bool) -> None:
        """Stop or resume sending to the executor."""

    def check_end(self) -> None:
        """Learn that the guest says the execution is over; `ended` follows.

        Raises: ContractError when it owes an answer still: its code may be running, and would answer the next visitor.
        """
        raise NotImplementedError

    def ended(self, log: str) -> None:
        """Learn that the execution is over, as `check_end` allowed, and the executor lives on."""
        raise NotImplementedError

    def failed(self, failure: Failure, log: str) -> None:
        """Learn that the executor is gone in the middle of it."""
        raise NotImplementedError

    def refused(self, error: MicroError | OverloadedError | Exception) -> None:
        """Learn that there will be no executor."""
        raise NotImplementedError

    def record(
        self,
        *,
        now: float,
        status: int,
        log: str,
        failure: Failure | None,
        method: str = "",
        path: str = "",
        action: str = "",
    ) -> Execution:
        """Give the record of this execution, `now` by the loop's clock."""
        return Execution(
            id=self.id,
            micro_id=self.micro.id,
            revision_id=self.revision_id,
            trigger=self.trigger,
            started_at=datetime.fromtimestamp(self.started_at, UTC),
            duration_s=now - (self.begun_at or self.asked_at),
            queued_s=(self.begun_at or now) - self.asked_at,
            start=self.start_kind,
            status=status,
            method=method,
            path=path,
            action=action,
            cause=failure.cause if failure else None,
            message=failure.message if failure else "",
            log=log,
            peak_memory_bytes=(failure and failure.peak_memory_bytes) or self.peak_memory_bytes,
        )


def with_traceback(log: str, fault: Fault | None) -> str:
    """Append a fault's traceback to a log, unless the guest has printed it there already."""
    if fault is None or not fault.traceback or fault.traceback.strip() in log:
        return log
    return f"{log}{'' if not log or log.endswith(chr(10)) else chr(10)}{fault.traceback}"
