"""Tell how a deployment goes to one reader, as server-sent events. Source: HTML standard, Server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
from pydantic import BaseModel

from microhost.console.routes import STREAM_SILENCE_S, refusal_of
from microhost.micros.progress import Phase

T = TypeVar("T")


class Heard:
    """Keep what a deployment tells, and give it to one reader as server-sent events."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self._events: asyncio.Queue[bytes] = asyncio.Queue()

    def phase(self, name: Phase) -> None:
        """Hear that a phase begins."""
        self._events.put_nowait(_event("phase", {"phase": name}))

    def line(self, text: str) -> None:
        """Hear a line of the log."""
        self._events.put_nowait(_event("log", {"line": text}))

    async def stream(self, task: asyncio.Task[T], show: Callable[[T], BaseModel]) -> AsyncIterator[bytes]:
        """Give the events of `task` as they come; the last is `live` with what `show` makes of its result, or `refused`."""
        task.add_done_callback(lambda _: self._events.put_nowait(b""))
        while event := await self._next():
            yield event
        error = task.exception()
        if error is None:
            yield _event("live", msgspec.json.decode(show(task.result()).model_dump_json()))
        else:
            refusal = refusal_of(error if isinstance(error, Exception) else RuntimeError("stopped"))
            yield _event(
                "refused", {"status": refusal.status_code, **msgspec.json.decode(bytes(refusal.body))}
            )

    async def _next(self) -> bytes:
        """Give the next event, or a comment when none came for a while: nobody between may hang up."""
        try:
            return await asyncio.wait_for(self._events.get(), STREAM_SILENCE_S)
        except TimeoutError:
            return b": still at it\n\n"


def _event(name: str, content: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(content))
