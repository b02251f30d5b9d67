"""Bound what the bodies of requests take of the memory, all together.

Theory of operation
    A body that is kept whole until it is parsed and stored takes its place in an `Intake` before more than BODY_FREE_BYTES of
    it are read: as many bytes as it announced, or as it may have. Meanwhile nothing of it is read, so that the sender waits in
    the network. Who has no place after BODY_WAIT_S is sent away. Places are given in the order of asking, but no project
    has more than half of them: one that sends slowly keeps nobody but itself waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from microhost.errors import OverloadedError
from microhost.limits import BODIES_BYTES, BODY_FREE_BYTES, BODY_WAIT_S


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    project_id: str
    count: int
    may_go: asyncio.Future[None]


class Intake:
    """Hold the places; of one event loop."""

    def __init__(self, *, most_bytes: int = BODIES_BYTES, wait_s: float = BODY_WAIT_S) -> None:
        """Give at most `most_bytes` at once, half of them to one project."""
        self._most_bytes = most_bytes
        self._wait_s = wait_s
        self._taken: Counter[str] = Counter()
        self._taken_bytes = 0
        self._waiting: list[_Waiting] = []

    @property
    def taken_bytes(self) -> int:
        """Count the bytes that are given."""
        return self._taken_bytes

    async def take(self, project_id: str, count: int) -> None:
        """Take a place, to be given back. Raises: OverloadedError when none became free in time."""
        waiting = _Waiting(project_id, count, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._give()
        try:
            async with asyncio.timeout(self._wait_s):
                await waiting.may_go
        except TimeoutError:
            self._leave(waiting)
            raise OverloadedError(
                "Too many large requests arrive at once. Try again in a few seconds.", retry_after_s=5
            ) from None
        except BaseException:
            self._leave(waiting)
            raise

    def give_back(self, project_id: str, count: int) -> None:
        """Give a place back."""
        self._taken_bytes -= count
        self._taken[project_id] -= count
        if not self._taken[project_id]:
            del self._taken[project_id]
        self._give()

    def _leave(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            self._give()
        else:  # the place came in the very moment of giving up
            self.give_back(waiting.project_id, waiting.count)

    def _give(self) -> None:
        for each in list(self._waiting):
            own = self._taken[each.project_id]
            if own and own + each.count > self._most_bytes // 2:
                continue
            if self._taken_bytes and self._taken_bytes + each.count > self._most_bytes:
                return
            self._waiting.remove(each)
            self._taken[each.project_id] += each.count
            self._taken_bytes += each.count
            if not each.may_go.done():
                each.may_go.set_result(None)


class Share:
    """Hold one request's place in an intake, once its body is large; close it when the body is not needed any more."""

    __slots__ = ("_count", "_intake", "_project_id")

    def __init__(self, intake: Intake) -> None:
        """Take nothing yet."""
        self._intake = intake
        self._project_id = ""
        self._count = 0

    async def take(self, project_id: str, count: int) -> None:
        """Take `count` bytes, if these are many and nothing was taken yet. Raises: OverloadedError."""
        if count > BODY_FREE_BYTES and not self._count:
            await self._intake.take(project_id, count)
            self._project_id, self._count = project_id, count

    def close(self) -> None:
        """Give it back; may be called twice."""
        if self._count:
            count, self._count = self._count, 0
            self._intake.give_back(self._project_id, count)
