"""Keep what Visor saw: request and response of executions, masked, bounded, pruned by age and size.

`append` stands on the hot path and never waits: `behind.py` tells how. What came is read and masked by the writer thread, so that the
loop does neither, and nothing unmasked reaches the disk. One Micro's flood is cut to a rate, by count and by bytes, so that it
neither keeps the thread busy nor pushes out what the others want kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from microhost.errors import HostError
from microhost.limits import (
    EVENT_RETENTION_DAYS,
    VISOR_BYTES_PER_S,
    VISOR_DISK_RESERVE_BYTES,
    VISOR_EXCHANGES_PER_S,
    VISOR_QUEUE_BYTES,
    VISOR_STORE_BYTES,
)
from microhost.records import Body, Exchange, Header, RawExchange, RequestSeen, ResponseSeen
from microhost.storage.behind import Behind, Store
from microhost.storage.database import Database
from microhost.storage.events import utc_now
from microhost.storage.masking import mask
from microhost.storage.moments import to_us
from microhost.storage.pruning import OF_MICRO, Pruned, delete_while, free_bytes, prune
from microhost.storage.schema import VISOR

QUEUE_RECORDS = 20_000
PRUNE_AFTER_BYTES = 64_000_000
GATHER_S = 0.1
BURST_S = 2.0
RATES_KEPT = 4096
HEAD_FIELDS = 9  # before the first header: runtimes/CONTRACT.md, section 3
ROW = "INSERT OR IGNORE INTO exchanges (id, micro_id, started_at, head, request, response) VALUES (?, ?, ?, ?, ?, ?)"


class _Response(msgspec.Struct, frozen=True):
    status: int
    headers: tuple[Header, ...]
    masked: tuple[str, ...]
    bytes: int


class _Head(msgspec.Struct, frozen=True):
    method: str
    target: str
    headers: tuple[Header, ...]
    masked: tuple[str, ...]
    bytes: int
    response: _Response | None
    time: datetime | None = None


class ExchangeStore:
    """Hold the exchanges' store and its writer thread. Close it to bring the last ones to the disk."""

    def __init__(
        self,
        file: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        store_bytes: int = VISOR_STORE_BYTES,
        queue_bytes: int = VISOR_QUEUE_BYTES,
        reserve_bytes: int = VISOR_DISK_RESERVE_BYTES,
        is_known: Callable[[str], bool] = lambda micro_id: True,
    ) -> None:
        """Open or create the store and start its writer; `is_known` tells whether a Micro is there yet."""
        self._directory = file.parent
        self._database = Database(file, VISOR)
        self._clock = clock
        self._store_bytes = store_bytes
        self._reserve_bytes = reserve_bytes
        self._is_known = is_known
        self._rates: dict[str, _Rate] = {}
        self._cut_count = 0
        self._behind = Behind(
            Store(
                name="exchanges",
                write=self._commit,
                prune=self.prune,
                queue_records=QUEUE_RECORDS,
                queue_bytes=queue_bytes,
                prune_after_bytes=PRUNE_AFTER_BYTES,
                gather_s=GATHER_S,
            )
        )

    @property
    def dropped_count(self) -> int:
        """Count the exchanges that were not kept since the start: too many at once, or the disk could not follow."""
        return self._behind.dropped_count + self._cut_count

    @property
    def waiting_bytes(self) -> int:
        """Count the bytes that wait for the disk."""
        return self._behind.waiting_bytes

    def append(self, raw: RawExchange) -> bool:
        """Take an exchange, on the event loop only. Never waits; False when it is not kept."""
        size_bytes = raw.size_bytes
        if not self._rate(raw.micro_id).takes(size_bytes, time.monotonic()):
            self._cut_count += 1
            return False
        return self._behind.append(raw, size_bytes)

    def flush(self) -> None:
        """Wait until everything appended before is on the disk (or was counted as dropped)."""
        self._behind.flush()

    def close(self) -> None:
        """Write what has gathered and close the store; may be called twice."""
        self._behind.close()
        self._database.close()

    def find_exchange(self, micro_id: str, execution_id: str) -> Exchange | None:
        """Find what is kept of an execution."""
        row = self._database.row(
            "SELECT head, request, response FROM exchanges WHERE id = ? AND micro_id = ?",
            (execution_id, micro_id),
        )
        return _exchange(*row) if row else None

    def find_kept(self, ids: Collection[str]) -> set[str]:
        """Tell of which of these executions something is kept."""
        marks = ",".join("?" * len(ids))
        return {
            row[0]
            for row in self._database.rows(f"SELECT id FROM exchanges WHERE id IN ({marks})", tuple(ids))  # noqa: S608
        }

    def delete_exchanges(self, micro_id: str) -> None:
        """Forget all exchanges of a Micro."""
        self.flush()
        self._rates.pop(micro_id, None)
        delete_while(self._database, "exchanges", OF_MICRO, (micro_id,))

    def prune(self, deadline: float = math.inf) -> Pruned:
        """Delete what is older than EVENT_RETENTION_DAYS, then what is of Micros that are gone, then the oldest until the store
        is small enough, until about `deadline` (monotonic).
        """
        return prune(
            self._database,
            "exchanges",
            horizon=to_us(self._clock() - timedelta(days=EVENT_RETENTION_DAYS)),
            is_known=self._is_known,
            store_bytes=self._store_bytes,
            deadline=deadline,
        )

    def _rate(self, micro_id: str) -> _Rate:
        rate = self._rates.get(micro_id)
        if rate is None:
            if len(self._rates) >= RATES_KEPT:
                self._rates.clear()
            rate = self._rates[micro_id] = _Rate()
        return rate

    def _commit(self, raws: list[RawExchange]) -> None:
        if free_bytes(self._directory) < self._reserve_bytes:
            raise HostError("the disk is nearly full; what is left is for what must be kept")
        rows = [_row(each) for each in raws]
        with self._database.write() as sql:
            sql.executemany(ROW, rows)


class _Rate:
    """Let exchanges and bytes of one Micro through at a rate, after a burst."""

    __slots__ = ("_at", "_bytes", "_count")

    def __init__(self) -> None:
        self._at = 0.0
        self._count = VISOR_EXCHANGES_PER_S * BURST_S
        self._bytes = VISOR_BYTES_PER_S * BURST_S

    def takes(self, size_bytes: int, now: float) -> bool:
        passed_s, self._at = now - self._at, now
        self._count = min(self._count + passed_s * VISOR_EXCHANGES_PER_S, VISOR_EXCHANGES_PER_S * BURST_S)
        self._bytes = min(self._bytes + passed_s * VISOR_BYTES_PER_S, VISOR_BYTES_PER_S * BURST_S)
        if self._count < 1 or self._bytes < size_bytes:
            return False
        self._count -= 1
        self._bytes -= size_bytes
        return True


def read_raw(raw: RawExchange) -> Exchange:
    """Read what was seen; nothing is hidden."""
    request_body = Body(raw.request, raw.request_bytes)
    if raw.head:
        fields = raw.head.decode("latin-1").split("\0")
        headers = tuple(zip(fields[HEAD_FIELDS::2], fields[HEAD_FIELDS + 1 :: 2], strict=False))
        request = RequestSeen(fields[1], fields[2], headers, body=request_body)
    else:
        request = RequestSeen("", raw.action, body=request_body, time=raw.time)
    if raw.status is None:
        return Exchange(request, None)
    body = Body(raw.response, raw.response_bytes)
    return Exchange(request, ResponseSeen(raw.status, _read_lines(raw.lines), body=body))


def _read_lines(lines: bytes) -> tuple[Header, ...]:
    pairs = (line.partition(": ") for line in lines.decode("latin-1").split("\r\n") if line)
    return tuple((name, value) for name, _, value in pairs)


def _row(raw: RawExchange) -> tuple[object, ...]:
    kept = mask(read_raw(raw))
    request, response = kept.request, kept.response
    said: _Response | None = None
    if response is not None:
        said = _Response(response.status, response.headers, response.masked, response.body.size_bytes)
    head = _Head(
        method=request.method,
        target=_text(request.target),
        headers=request.headers,
        masked=request.masked,
        bytes=request.body.size_bytes,
        response=said,
        time=request.time,
    )
    bodies = (request.body.content, response.body.content if response else b"")
    return raw.id, raw.micro_id, to_us(raw.started_at), msgspec.json.encode(head), *bodies


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode("utf-8")


def _exchange(head: bytes, request: bytes, response: bytes) -> Exchange:
    told = msgspec.json.decode(head, type=_Head)
    said = told.response
    answered: ResponseSeen | None = None
    if said is not None:
        answered = ResponseSeen(said.status, said.headers, said.masked, Body(response, said.bytes))
    asked = RequestSeen(
        told.method, told.target, told.headers, told.masked, Body(request, told.bytes), told.time
    )
    return Exchange(asked, answered)
