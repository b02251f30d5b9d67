"""Serve Visor: what was said in an exchange, live events, requests sent from the console, replays, and figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microhost.console.exchange_models import ExchangeShown
from microhost.console.micros import MICRO, find_micro
from microhost.console.models import EventShown
from microhost.console.routes import Endpoint, Policy
from microhost.console.running import limit_of, wanted_of
from microhost.console.services import Services
from microhost.micros.event_filters import NAMES
from microhost.micros.events import BehindError
from microhost.records import Execution

EVENT_STREAM = "text/event-stream"
SILENCE_S = 15.0
BEHIND = "event: behind\ndata: {}\n\n"


class VisorEndpoints:
    """Answer for Visor."""

    def __init__(self, services: Services) -> None:
        """Use these services."""
        self._services = services
        self._executions = services.executions

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        owner = Policy.OWNER
        return [
            Endpoint(
                method="GET",
                path=f"{MICRO}/events/stream",
                policy=owner,
                handler=self.stream,
                summary="Stream executions as they end (server-sent events); Last-Event-ID continues",
                gives_media=EVENT_STREAM,
                query=("limit", *NAMES),
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/events/{{event}}/exchange",
                policy=owner,
                handler=self.show_exchange,
                summary="Show what was asked and answered, when Visor was on",
                gives=ExchangeShown,
            ),
        ]

    async def stream(self, request: Request) -> Response:
        """Stream executions, each as one event with its id; the last `limit` (none, unless told) first.

        `Last-Event-ID` continues after that one. `event: behind` ends the stream of a reader that is too slow, or was away
        for too long: what it has missed must be listed.
        """
        micro = find_micro(self._services, request)
        following = self._executions.follow(
            micro.id,
            limit=limit_of(request, default=0, least=0),
            after=request.headers.get("last-event-id") or None,
            wanted=wanted_of(request, self._services),
        )
        return StreamingResponse(_stream(following), media_type=EVENT_STREAM)

    async def show_exchange(self, request: Request) -> BaseModel:
        """Show a request and its response. Refuses: 404 when nothing was kept."""
        micro = find_micro(self._services, request)
        return ExchangeShown.of(await self._executions.get_exchange(micro.id, request.path_params["event"]))


async def _stream(following: AsyncIterator[Execution]) -> AsyncIterator[str]:
    """Write events; a comment when there was none for a while, so that a dead connection is noticed."""
    yield ": here it begins\n\n"
    coming = asyncio.ensure_future(anext(following))
    try:
        while True:
            done, _ = await asyncio.wait((coming,), timeout=SILENCE_S)
            if not done:
                yield ": nothing new\n\n"
                continue
            try:
                execution = coming.result()
            except BehindError:
                yield BEHIND
                return
            except StopAsyncIteration:
                return
            yield f"id: {execution.id}\ndata: {EventShown.of(execution).model_dump_json()}\n\n"
            coming = asyncio.ensure_future(anext(following))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, BehindError):
            await coming
        await following.aclose()  # type: ignore[attr-defined]  # a generator: its follower must go at once
