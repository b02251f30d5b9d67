"""Speak ASGI for Drive: read a body in pieces, answer in JSON, wait for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import msgspec

from microhost.errors import ClientError
from microhost.intake import Share
from microhost.limits import DRIVE_RECEIVE_BYTES, MIB

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

P = ParamSpec("P")
R = TypeVar("R")


class DisconnectedError(Exception):
    """Report that the client went away before its request was whole: nothing may come of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Be an answer that is no download. `content` is sent as JSON."""

    status: int
    content: object
    headers: Sequence[Header] = ()


async def send_answer(send: Send, answer: Answer, *, is_head: bool = False) -> None:
    """Send an answer whole."""
    body = msgspec.json.encode(answer.content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})


async def in_thread(
    threads: Executor, function: Callable[P, R], /, *arguments: P.args, **named: P.kwargs
) -> R:
    """Run what may wait for the disk in a thread. When the caller is cancelled the thread still comes to its end
    first: nothing it holds is touched by two.
    """
    future = asyncio.get_running_loop().run_in_executor(threads, lambda: function(*arguments, **named))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


class Body:
    """Read a request's body, bounded."""

    def __init__(self, receive: Receive, declared_bytes: int | None, most_bytes: int) -> None:
        """Raises: ClientError (413) when more than `most_bytes` are declared."""
        self._receive = receive
        self._most_bytes = most_bytes
        self._total = 0
        self._declared_bytes = declared_bytes
        if declared_bytes is not None and declared_bytes > most_bytes:
            raise self._too_large()

    async def next(self) -> tuple[bytes, bool]:
        """Give a piece, and whether more follow. Raises: DisconnectedError, ClientError (413)."""
        pieces: list[bytes] = []
        count, more = 0, True
        while more and count < DRIVE_RECEIVE_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            count += len(piece)
            pieces.append(piece)
            if self._total + count > self._most_bytes:
                raise self._too_large()
        self._total += count
        return b"".join(pieces), more

    async def whole(self, project_id: str, share: Share) -> bytes:
        """Give all of it, after a large one has its share. Raises: OverloadedError; what `next` raises."""
        await share.take(project_id, self._declared_bytes or 0)
        pieces, more = [], True
        while more:
            piece, more = await self.next()
            pieces.append(piece)
            if more:
                await share.take(project_id, self._declared_bytes or self._most_bytes)
        return b"".join(pieces)

    def _too_large(self) -> ClientError:
        return ClientError(
            f"A request may carry at most {self._most_bytes // MIB} MiB. Use a chunked upload for more.",
            status=413,
        )


def declared_length(headers: Sequence[Header]) -> int | None:
    """Give the Content-Length, None when there is none."""
    value = find_header(headers, b"content-length")
    return (
        int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 19 else None
    )


def find_header(headers: Sequence[Header], wanted: bytes) -> str | None:
    """Give a header's first value, None when it is not there."""
    for name, value in headers:
        if name.lower() == wanted:
            return value.decode("latin-1")
    return None
