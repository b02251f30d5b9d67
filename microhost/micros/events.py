"""Record executions, show them, and let readers follow them as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from microhost.errors import NotFoundError
from microhost.records import EventFilter, Execution
from microhost.storage.events import EVERY, EventStore

FOLLOWER_RECORDS = 1_000

_Queue = asyncio.Queue[Execution | None]  # None is the end


class Executions:
    """Stand between those who execute, the store and those who watch. On the event loop only."""

    def __init__(self, store: EventStore) -> None:
        """Record into `store`."""
        self._store = store
        self._followers: dict[str, set[_Queue]] = {}
        self._ends = False

    def record(self, execution: Execution) -> None:
        """Take the record of an ended execution. Never waits; a follower who is too slow misses some."""
        self._store.append(execution)
        for queue in self._followers.get(execution.micro_id, ()):
            if queue.qsize() < FOLLOWER_RECORDS:
                queue.put_nowait(execution)

    def end_following(self) -> None:
        """Let every follower have what is recorded and then come to its end; later ones get no more than the past."""
        self._ends = True
        for queues in self._followers.values():
            for queue in queues:
                queue.put_nowait(None)

    async def page(
        self, micro_id: str, *, limit: int, before: str | None = None, wanted: EventFilter = EVERY
    ) -> tuple[list[Execution], str | None]:
        """Give a Micro's executions that are wanted, newest first, and the id to continue after when there are more.

        What ended before the call is among them.
        """
        found = await asyncio.to_thread(self._flush_and_list, micro_id, limit + 1, before, wanted)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def get(self, micro_id: str, execution_id: str) -> Execution:
        """Give one execution. Raises: NotFoundError."""
        await asyncio.to_thread(self._store.flush)
        found = self._store.find_execution(micro_id, execution_id)
        if found is None:
            raise NotFoundError("There is no such event.")
        return found

    async def follow(
        self, micro_id: str, *, limit: int, wanted: EventFilter = EVERY
    ) -> AsyncIterator[Execution]:
        """Give the last `limit` executions that are wanted, oldest first, then those to come, until `end_following`.

        Each is given once: new ones are gathered from before the listing on.
        """
        with self._following(micro_id) as queue:
            past = await asyncio.to_thread(self._flush_and_list, micro_id, limit, None, wanted)
            for execution in reversed(past):
                yield execution
            shown = {execution.id for execution in past}
            while (ended := await queue.get()) is not None:
                if wanted.wants(ended) and ended.id not in shown:
                    yield ended

    @contextmanager
    def _following(self, micro_id: str) -> Iterator[_Queue]:
        queue: _Queue = asyncio.Queue()
        if self._ends:
            queue.put_nowait(None)
        followers = self._followers.setdefault(micro_id, set())
        followers.add(queue)
        try:
            yield queue
        finally:
            followers.discard(queue)
            if not followers:
                self._followers.pop(micro_id, None)

    def _flush_and_list(
        self, micro_id: str, limit: int, before: str | None, wanted: EventFilter
    ) -> list[Execution]:
        self._store.flush()
        return self._store.list_executions(micro_id, limit=limit, before=before, wanted=wanted)


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
