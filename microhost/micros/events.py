"""Record executions, show them, and let readers follow them as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from microhost.errors import NotFoundError
from microhost.limits import FOLLOWER_CHARACTERS, FOLLOWER_RECORDS, STREAM_GATHER_S
from microhost.records import EventFilter, Exchange, Execution, Micro, RawExchange
from microhost.storage.event_search import EVERY
from microhost.storage.events import EventStore
from microhost.storage.exchanges import ExchangeStore

PAST_SEARCHES = 10  # of EventStore.search's time each
PIECE_RECORDS = 100
PIECE_CHARACTERS = 1_000_000


class BehindError(Exception):
    """Report that a follower read too slowly: what came after its last execution must be listed anew."""


class Ended:
    """Hold an execution that has ended and how it is written, which is the same for all who follow: it is written once."""

    __slots__ = ("_written", "execution")

    def __init__(self, execution: Execution) -> None:
        """Begin with nothing written."""
        self.execution = execution
        self._written: dict[Callable[[Execution], str], str] = {}

    @property
    def characters(self) -> int:
        """Count about what it holds."""
        return len(self.execution.log) + len(self.execution.path) + len(self.execution.message)

    def written(self, write: Callable[[Execution], str]) -> str:
        """Give it as `write` writes it."""
        text = self._written.get(write)
        if text is None:
            text = self._written[write] = write(self.execution)
        return text


class _Follower:
    """Hold what one reader has not taken yet."""

    __slots__ = ("_characters", "_ends", "_gathered", "_woken", "is_behind")

    def __init__(self) -> None:
        self._gathered: list[Ended] = []
        self._characters = 0
        self._woken = asyncio.Event()
        self._ends = False
        self.is_behind = False

    def put(self, ended: Ended) -> None:
        """Keep one more, or say that it is too much: then the reader gets what waits, and the end."""
        if self.is_behind:
            return
        held = self._characters + ended.characters
        if len(self._gathered) >= FOLLOWER_RECORDS or (self._gathered and held > FOLLOWER_CHARACTERS):
            self.is_behind = True
            self.end()
            return
        self._gathered.append(ended)
        self._characters = held
        self._woken.set()

    def end(self) -> None:
        """Let the reader have what waits, and then the end."""
        self._ends = True
        self._woken.set()

    async def take(self) -> list[Ended]:
        """Wait for what ends next and give all that has gathered; nothing at the end."""
        await self._woken.wait()
        if not self._ends:
            self._woken.clear()
        gathered, self._gathered, self._characters = self._gathered, [], 0
        return gathered


class Executions:
    """Stand between those who execute, the stores and those who watch. On the event loop only."""

    def __init__(
        self, store: EventStore, exchanges: ExchangeStore, find_micro: Callable[[str], Micro | None]
    ) -> None:
        """Record into `store`, and what Visor saw into `exchanges`; `find_micro` gives a Micro as it is set now."""
        self._store = store
        self._find_micro = find_micro
        self._exchanges = exchanges
        self._followers: dict[str, set[_Follower]] = {}
        self._ends = False

    @property
    def dropped(self) -> tuple[int, int]:
        """Count the executions and the exchanges that were not kept since the start."""
        return self._store.dropped_count, self._exchanges.dropped_count

    def record(self, execution: Execution, exchange: RawExchange | None = None, /) -> Execution:
        """Take the record of an ended execution and what Visor saw of it; give the record as it is shown. Never waits.

        What the Micro is now decides: nothing is kept of one that was deleted meanwhile, no exchange when Visor was switched off.
        """
        micro = self._find_micro(execution.micro_id)
        if micro is None:
            return execution
        if exchange is not None and micro.visor and self._exchanges.append(exchange):
            execution = replace(execution, visor=True)
        self._store.append(execution)
        followers = self._followers.get(execution.micro_id)
        if followers:
            ended = Ended(execution)
            for follower in followers:
                follower.put(ended)
        return execution

    def end_following(self) -> None:
        """Let every follower have what is recorded and then come to its end; later ones get no more than the past."""
        self._ends = True
        for followers in self._followers.values():
            for follower in followers:
                follower.end()

    async def forget(self, micro_id: str) -> None:
        """Let those who follow a Micro that was deleted come to their end, and delete all that is recorded of it."""
        for follower in self._followers.get(micro_id, ()):
            follower.end()
        await asyncio.to_thread(self._exchanges.delete_exchanges, micro_id)
        await asyncio.to_thread(self._store.delete_executions, micro_id)

    async def page(
        self, micro_id: str, *, limit: int, before: str | None = None, wanted: EventFilter = EVERY
    ) -> tuple[list[Execution], str | None]:
        """Give a Micro's executions that are wanted, newest first, and the id to continue before when there may be more.

        What ended before the call is among them. A page may end early (EventStore.search).
        """
        return await asyncio.to_thread(self._flush_and_search, micro_id, limit, before, wanted)

    async def past(
        self, micro_id: str, *, limit: int, after: str | None = None, wanted: EventFilter = EVERY
    ) -> AsyncIterator[list[Execution]]:
        """Give the last `limit` executions that are wanted, recorded after the one with the id `after`, oldest first, in pieces
        that hold about PIECE_CHARACTERS: a slow reader holds one.

        Raises: BehindError when `after` is unknown or not all after it can be given.
        """
        numbers = await asyncio.to_thread(self._find_past, micro_id, limit, after, wanted)
        while numbers:
            piece = await asyncio.to_thread(self._read_piece, micro_id, numbers)
            if not piece:
                return
            yield [each for _, each in piece]
            while numbers and numbers[-1] <= piece[-1][0]:
                numbers.pop()

    async def get(self, micro_id: str, execution_id: str) -> Execution:
        """Give one execution. Raises: NotFoundError."""
        found = await asyncio.to_thread(self._flush_and_find, micro_id, execution_id)
        if found is None:
            raise NotFoundError("There is no such event.")
        return found

    async def get_exchange(self, micro_id: str, execution_id: str) -> Exchange:
        """Give what Visor kept of an execution. Raises: NotFoundError."""
        await asyncio.to_thread(self._exchanges.flush)
        found = await asyncio.to_thread(self._exchanges.find_exchange, micro_id, execution_id)
        if found is None:
            raise NotFoundError(
                "Nothing is kept of this event's request: Visor was off, or it was too much, or long ago."
            )
        return found

    async def follow(
        self, micro_id: str, *, limit: int, after: str | None = None, wanted: EventFilter = EVERY
    ) -> AsyncIterator[list[Ended]]:
        """Give the last `limit` executions that are wanted, or all since the one with the id `after`, oldest first, then
        those to come, together those of STREAM_GATHER_S, until `end_following` or the Micro's deletion. Each is given once: new ones
        are gathered from before the listing on.

        Raises: BehindError when the reader is more than FOLLOWER_RECORDS, or FOLLOWER_CHARACTERS, behind.
        """
        with self._following(micro_id) as follower:
            shown: set[str] = set()
            most = limit if after is None else FOLLOWER_RECORDS
            async for past in self.past(micro_id, limit=most, after=after, wanted=wanted):
                shown.update(each.id for each in past)
                yield [Ended(each) for each in past]
            while ended := await follower.take():
                fresh = [
                    each for each in ended if wanted.wants(each.execution) and each.execution.id not in shown
                ]
                if fresh:
                    yield fresh
                await asyncio.sleep(STREAM_GATHER_S)
            if follower.is_behind:
                raise BehindError

    @contextmanager
    def _following(self, micro_id: str) -> Iterator[_Follower]:
        follower = _Follower()
        if self._ends or self._find_micro(micro_id) is None:
            follower.end()
        followers = self._followers.setdefault(micro_id, set())
        followers.add(follower)
        try:
            yield follower
        finally:
            followers.discard(follower)
            if not followers:
                self._followers.pop(micro_id, None)

    def _find_past(self, micro_id: str, limit: int, after: str | None, wanted: EventFilter) -> list[int]:
        """Find what a follower begins with, newest first."""
        if not limit:
            return []
        self._flush()
        if after is not None and not self._store.is_kept(micro_id, after):
            raise BehindError
        numbers: list[int] = []
        before = None
        for _ in range(PAST_SEARCHES):
            found = self._store.find(
                micro_id, limit=limit - len(numbers), before=before, after=after, wanted=wanted
            )
            numbers += found.numbers
            before = found.last
            if before is None or len(numbers) >= limit:
                break
        if after is not None and before is not None:
            raise BehindError
        return numbers

    def _read_piece(self, micro_id: str, numbers: list[int]) -> list[tuple[int, Execution]]:
        oldest = numbers[-PIECE_RECORDS:]
        piece = self._store.read(micro_id, oldest, characters=PIECE_CHARACTERS, oldest_first=True)
        marked = self._marked([each for _, each in piece])
        return [(number, each) for (number, _), each in zip(piece, marked, strict=True)]

    def _flush_and_search(
        self, micro_id: str, limit: int, before: str | None, wanted: EventFilter
    ) -> tuple[list[Execution], str | None]:
        self._flush()
        found, last = self._store.search(micro_id, limit=limit, before=before, wanted=wanted)
        return self._marked(found), last

    def _flush_and_find(self, micro_id: str, execution_id: str) -> Execution | None:
        self._flush()
        found = self._store.find_execution(micro_id, execution_id)
        return found and self._marked([found])[0]

    def _flush(self) -> None:
        self._store.flush()
        self._exchanges.flush()

    def _marked(self, found: list[Execution]) -> list[Execution]:
        """Tell of each whether its exchange is kept."""
        kept = self._exchanges.find_kept([each.id for each in found])
        return [replace(each, visor=True) if each.id in kept else each for each in found]


def log_lines(execution: Execution) -> list[str]:
    """Give an execution as lines of text: what it was, then what it printed, each after its time and id."""
    head = f"{execution.started_at:%Y-%m-%dT%H:%M:%S.%fZ} {execution.id}"
    what = (
        f"{execution.method} {execution.path}"
        if execution.trigger == "http"
        else f"{execution.trigger} {execution.action}"
    )
    cause = f" {execution.cause}: {execution.message}" if execution.cause else ""
    first = f"{head} {what.strip()} {execution.status} {execution.duration_s * 1000:.1f} ms{cause}"
    return [_plain(line) for line in (first, *(f"{head} {line}" for line in execution.log.splitlines()))]


def _plain(line: str) -> str:
    """Show control characters as what they are: a terminal must not obey what a Micro printed."""
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in line)
