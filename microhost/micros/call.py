"""Run one event (run or cron) in an executor."""

from __future__ import annotations

import asyncio
import time

import msgspec

from microhost.errors import MicroError
from microhost.limits import EVENT_RESULT_BYTES
from microhost.micros.capture import Capture, Room
from microhost.micros.channel import BODY_BYTES_MAX
from microhost.micros.stream import Stream
from microhost.micros.work import ContractError, Failure, Fault, OnExecution, Work
from microhost.records import Event, EventResult, Micro, RawExchange

_V = ord("v")


class Call(Work):
    """Wait for the result of a handler. The outcome is a future: EventResult, MicroError or OverloadedError."""

    __slots__ = (
        "_capture",
        "_complete",
        "_on_execution",
        "_result",
        "_result_bytes",
        "event",
        "fault",
        "outcome",
    )

    def __init__(self, micro: Micro, event: Event, on_execution: OnExecution, room: Room) -> None:
        super().__init__(micro)
        self._capture = Capture(room, b"") if micro.visor else None
        self.event = event
        self.outcome: asyncio.Future[EventResult] = asyncio.get_running_loop().create_future()
        self._result = bytearray()
        self._result_bytes = 0
        self._complete = False
        self.fault: Fault | None = None
        self._on_execution = on_execution

    @property
    def trigger(self) -> str:  # type: ignore[override]  # fixed per event, not per class
        """Tell what made it run."""
        return self.event.type

    def begin(self, stream: Stream) -> None:
        """Send the event; an input longer than a frame goes on in `D` frames."""
        body = self.event.body.encode()
        stream.send(b"E" + _describe(self.event, more=len(body) > BODY_BYTES_MAX), body[:BODY_BYTES_MAX])
        for start in range(BODY_BYTES_MAX, len(body), BODY_BYTES_MAX):
            last = start + BODY_BYTES_MAX >= len(body)
            stream.send(b"D1" if last else b"D0", body[start : start + BODY_BYTES_MAX])

    def frame_received(self, kind: int, meta: bytes, body: bytes) -> None:
        """Take the result; what is beyond the limit is counted and not kept. The deadline ends a result without end."""
        if kind != _V or self._complete:
            raise ContractError("not the result of an event")
        self._result_bytes += len(body)
        if self._result_bytes <= EVENT_RESULT_BYTES:
            self._result += body
        self._complete = not msgspec.json.decode(meta[1:], type=_ResultHead).more

    def faulted(self, fault: Fault) -> None:
        """Keep the guest's account."""
        self.fault = fault

    def check_end(self) -> None:
        """Allow an end after a fault or a whole result.

        Raises: ContractError.
        """
        if self.fault is None and not self._complete:
            raise ContractError("an end without a result")

    def ended(self, log: str) -> None:
        """Settle the outcome."""
        if self.fault is not None:
            self._settle(Failure(self.fault.cause, self.fault.message), log)
        elif self._result_bytes > EVENT_RESULT_BYTES:
            message = (
                f"The result is {self._result_bytes:,} bytes; at most {EVENT_RESULT_BYTES:,} may be returned."
            )
            self._settle(Failure("bad_result", message), log)
        else:
            self._settle(None, log)

    def failed(self, failure: Failure, log: str) -> None:
        """Settle the outcome. What broke the contract was no result, whatever it was."""
        if failure.cause == "bad_response" and self.fault is None:
            message = f"Micro '{self.micro.name}' sent what is no result and was stopped."
            failure = Failure("bad_result", message, failure.peak_memory_bytes)
        self._settle(failure, log)

    def refused(self, error: Exception) -> None:
        """Settle the outcome; what the Micro did wrong at its start is recorded too."""
        if isinstance(error, MicroError):
            self._record(Failure(error.cause, error.message), error.log)
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def _settle(self, failure: Failure | None, log: str) -> None:
        self._record(failure, log)
        if self.outcome.done():
            return
        if failure is not None:
            self.outcome.set_exception(MicroError(failure.cause, failure.message, log=log))
        else:
            self.outcome.set_result(EventResult(self._result.decode("utf-8", "replace"), log))

    def _record(self, failure: Failure | None, log: str) -> None:
        now = time.monotonic()
        status = 502 if failure else 200
        execution = self.record(now=now, status=status, log=log, failure=failure, action=self.event.action)
        self._on_execution(execution, self._seal_capture(failure))

    def _seal_capture(self, failure: Failure | None) -> RawExchange | None:
        capture = self._capture
        if capture is None:
            return None
        event = self.event
        capture.add_request(event.body.encode("utf-8", "replace"))
        if failure is None:
            capture.status = 200
            capture.add_response(bytes(self._result))
        return capture.seal(
            id=self.id,
            micro_id=self.micro.id,
            started_at=self.started_at,
            action=event.action,
            time=event.time,
        )


class _ResultHead(msgspec.Struct, frozen=True):
    ok: bool
    more: bool = False


def _describe(event: Event, *, more: bool) -> bytes:
    time = event.time.isoformat().replace("+00:00", "Z") if event.time else None
    document: dict[str, object] = {"type": event.type, "action": event.action, "id": event.id, "time": time}
    if more:
        document["more"] = True
    return msgspec.json.encode(document)
