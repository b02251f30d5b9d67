"""Bound the streams that each user reads, and send what they bring in pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from microhost.errors import OverloadedError
from microhost.limits import STREAM_PIECE_CHARACTERS, STREAMS_OF_ONE
from microhost.micros.events import Ended
from microhost.records import Execution

RETRY_S = 5


class Streams:
    """Count the streams that each user reads. On the event loop only."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: Counter[str] = Counter()

    def answer(self, user_id: str, parts: AsyncIterator[str], media: str) -> StreamingResponse:
        """Answer with a stream, which counts until it has ended. Raises: OverloadedError (429) for one too many."""
        if self._open[user_id] >= STREAMS_OF_ONE:
            raise OverloadedError(
                f"You follow {STREAMS_OF_ONE} streams already, as many as one user may. Close one and try again.",
                retry_after_s=RETRY_S,
                is_callers=True,
            )
        self._open[user_id] += 1
        return _Counted(parts, media, lambda: self._close(user_id))

    def _close(self, user_id: str) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]


class _Counted(StreamingResponse):
    def __init__(self, parts: AsyncIterator[str], media: str, closed: Callable[[], None]) -> None:
        super().__init__(parts, media_type=media)
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["is_endless"] = (
            True  # to the gateway: whoever closes one half of the connection has gone
        )
        # not in the generator: one that was never begun is never ended
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()


def write_pieces(ended: Sequence[Ended], write: Callable[[Execution], str]) -> Iterator[str]:
    """Write executions together, in pieces of STREAM_PIECE_CHARACTERS or of one execution: a slow reader holds one."""
    texts: list[str] = []
    characters = 0
    for each in ended:
        text = each.written(write)
        texts.append(text)
        characters += len(text)
        if characters >= STREAM_PIECE_CHARACTERS:
            yield "".join(texts)
            texts, characters = [], 0
    if texts:
        yield "".join(texts)
