"""Run an ASGI application's lifespan: startup once per executor, shutdown at its retirement.

An application that does not know lifespan raises at its scope; then there is none. Source: the ASGI
specification, Lifespan.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Callable, Optional

from .faults import Fault, shorten, user_traceback

ASGI_LIFESPAN = {"version": "3.0", "spec_version": "2.0"}


class Lifespan:
    """Hold the task in which the application's lifespan waits."""

    def __init__(self, app: Callable, state: dict, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._state = state
        self._loop = loop
        self._asked: asyncio.Queue = asyncio.Queue()
        self._answered: Optional[asyncio.Future] = None
        self._task: Optional[asyncio.Task] = None
        self._received = False
        self._started = False
        self._failed = False

    async def startup(self) -> None:
        """Send `lifespan.startup` and wait for the application's answer.

        Raises: Fault when the application says that it failed.
        """
        self._answered = self._loop.create_future()
        self._asked.put_nowait({"type": "lifespan.startup"})
        self._task = self._loop.create_task(self._run())
        failure = await self._answered
        if failure is not None:
            raise failure

    async def shutdown(self) -> None:
        """Send `lifespan.shutdown` and wait until the application is done."""
        if self._task is None or not self._started or self._task.done():
            return
        self._asked.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI_LIFESPAN.copy(), "state": self._state}
        try:
            await self._app(scope, self._receive, self._send)
        except BaseException as error:  # an application may refuse the scope in any way
            self._explain(error)
        self._answer(None)

    def _explain(self, error: BaseException) -> None:
        if isinstance(error, SystemExit) and not self._started:
            self._answer(
                Fault("exit", f"The startup was ended by sys.exit({error.code!r}).", user_traceback(error))
            )
        elif self._started or (self._received and not self._failed):
            # it took part and broke; before its first receive it merely did not know lifespan
            print(user_traceback(error), file=sys.stderr, end="", flush=True)

    async def _receive(self) -> dict:
        self._received = True
        return await self._asked.get()

    async def _send(self, message: dict) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._started = True
            self._answer(None)
        elif kind == "lifespan.startup.failed":
            self._failed = True
            self._answer(_startup_fault(message.get("message", "")))
        elif kind == "lifespan.shutdown.failed":
            print(message.get("message", ""), file=sys.stderr, flush=True)
        elif kind != "lifespan.shutdown.complete":
            raise RuntimeError(f"lifespan has no message of type {kind!r}.")

    def _answer(self, fault: Optional[Fault]) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(fault)


def _startup_fault(text: str) -> Fault:
    """Make a Fault of the text that frameworks send, which is mostly a whole traceback."""
    lines = [each for each in str(text).splitlines() if each.strip()]
    said = shorten(lines[-1].strip().rstrip("."), 1000) if lines else "it gave no reason"
    return Fault("exception", f"The application's startup failed: {' '.join(said.split())}.", str(text))
