"""Serve Visor: what was said in an exchange, live events, requests sent from the console, replays, and figures."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from microhost.console.exchange_models import (
    ExchangeShown,
    MetricsShown,
    NewReplay,
    NewRequest,
    PointShown,
    ProjectMetricsShown,
    RecordedShown,
    RequestShown,
    ResponseShown,
    SentShown,
)
from microhost.console.guard import user_of
from microhost.console.micros import MICRO, find_micro
from microhost.console.models import EventShown
from microhost.console.projects import PROJECT
from microhost.console.routes import EVENT_STREAM, STREAM_SILENCE_S, Endpoint, Policy
from microhost.console.running import limit_of, wanted_of
from microhost.console.services import Services
from microhost.console.streams import Streams, write_pieces
from microhost.errors import ClientError, ConflictError, NotFoundError
from microhost.limits import API_BODY_BYTES, METRICS_MINUTES_MAX, PAYLOAD_BYTES
from microhost.micros.event_filters import NAMES
from microhost.micros.events import BehindError, Ended
from microhost.micros.metrics import Grid, fold, make_grid
from microhost.micros.replay import repeat_event, repeat_request
from microhost.records import Apart, Exchange, Execution, Micro, Sent, Wanted

BEHIND = "event: behind\ndata: {}\n\n"


class VisorEndpoints:
    """Answer for Visor."""

    def __init__(self, services: Services, streams: Streams) -> None:
        """Use these services; count in `streams`."""
        self._services = services
        self._streams = streams
        self._executions = services.executions

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="GET",
                path=f"{MICRO}/events/stream",
                policy=user,
                handler=self.stream,
                summary="Stream executions as they end (server-sent events); Last-Event-ID continues",
                gives_media=EVENT_STREAM,
                query=("limit", *NAMES),
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/events/{{event}}/exchange",
                policy=user,
                handler=self.show_exchange,
                summary="Show what was asked and answered, when Visor was on",
                gives=ExchangeShown,
            ),
            Endpoint(
                method="POST",
                path=f"{MICRO}/requests",
                policy=user,
                handler=self.send,
                summary="Make a request to the Micro and show all of what became of it",
                takes=NewRequest,
                takes_bytes=PAYLOAD_BYTES * 2 + API_BODY_BYTES,
                gives=SentShown,
            ),
            Endpoint(
                method="POST",
                path=f"{MICRO}/events/{{event}}/replay",
                policy=user,
                handler=self.replay,
                summary="Make a recorded request again, or call a handler again with its recorded input",
                takes=NewReplay,
                gives=SentShown,
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/metrics",
                policy=user,
                handler=self.show_metrics,
                summary="Give figures for charts: executions, errors, durations, memory",
                gives=MetricsShown,
                query=("minutes",),
            ),
            Endpoint(
                method="GET",
                path=f"{PROJECT}/metrics",
                policy=user,
                handler=self.show_project_metrics,
                summary="Give the figures of all Micros of a project",
                gives=ProjectMetricsShown,
                query=("minutes",),
            ),
        ]

    async def stream(self, request: Request) -> Response:
        """Stream executions, each as one event with its id; the last `limit` (none, unless told) first.

        `Last-Event-ID` continues after that one. `event: behind` ends the stream of a reader that is too slow, or was away
        for too long: what it has missed must be listed.
        Refuses: 429 when the user follows STREAMS_OF_ONE already
        """
        micro = find_micro(self._services, request)
        following = self._executions.follow(
            micro.id,
            limit=limit_of(request, default=0, least=0),
            after=request.headers.get("last-event-id") or None,
            wanted=wanted_of(request, self._services),
        )
        return self._streams.answer(user_of(request).id, _stream(following), EVENT_STREAM)

    async def show_exchange(self, request: Request) -> BaseModel:
        """Show a request and its response. Refuses: 404 when nothing was kept."""
        micro = find_micro(self._services, request)
        return ExchangeShown.of(await self._executions.get_exchange(micro.id, request.path_params["event"]))

    async def send(self, request: Request, body: NewRequest) -> BaseModel:
        """Make a request to this Micro and to nothing else; it is recorded as any other.

        Gives:   200 also when the Micro fails: `event.cause` tells
        Refuses: 400 for what is no request, 404 for an unknown deployment, 413, 503
        """
        micro = find_micro(self._services, request)
        wanted = Wanted(body.method, body.target, body.headers, body.body.read() if body.body else b"")
        sent = await self._services.sender.send(micro, wanted, self._apart(micro, body.deployment))
        return _sent(sent)

    async def replay(self, request: Request, body: NewReplay) -> BaseModel:
        """Do again what an event did.

        Refuses: 409 when nothing is kept of it, its body was not kept whole, or it was a WebSocket
        """
        micro = find_micro(self._services, request)
        execution = await self._executions.get(micro.id, request.path_params["event"])
        exchange = await self._find_exchange(micro, execution)
        apart = self._apart(micro, body.deployment)
        if execution.trigger == "http":
            wanted, left_out = repeat_request(exchange.request)
            sent = await self._services.sender.send(micro, wanted, apart)
        else:
            left_out = []
            event = repeat_event(execution, exchange.request)
            sent = await self._services.sender.call(micro, event, apart)
        recorded = RecordedShown(event=EventShown.of(execution), response=ResponseShown.of(exchange.response))
        return _sent(sent, left_out, recorded)

    async def show_metrics(self, request: Request) -> BaseModel:
        """Give about 60 points, empty ones too; `?minutes=` up to a day."""
        micro = find_micro(self._services, request)
        return (await self._metrics(request, [micro]))[micro.id]

    async def show_project_metrics(self, request: Request) -> BaseModel:
        """Give the same for all Micros of a project."""
        project = self._services.catalog.get_project(request.path_params["project"])
        micros = self._services.stores.meta.list_micros(project.id)
        return ProjectMetricsShown(micros=await self._metrics(request, micros))

    async def _metrics(self, request: Request, micros: Sequence[Micro]) -> dict[str, MetricsShown]:
        grid = make_grid(self._services.clock(), _read_minutes(request))
        memories = self._services.memories
        # one by one, and beside the loop: a day of many busy Micros is much to read and to add up
        return {
            each.id: await asyncio.to_thread(self._fold, grid, each.id, memories.of(each.id))
            for each in micros
        }

    def _fold(self, grid: Grid, micro_id: str, memory: Mapping[int, int]) -> MetricsShown:
        minutes = self._services.stores.events.list_minutes(micro_id, since=grid.since)
        points = [PointShown(**asdict(point)) for point in fold(grid, minutes, memory)]
        return MetricsShown(start=grid.since, step_s=grid.step_minutes * 60, points=points)

    async def _find_exchange(self, micro: Micro, execution: Execution) -> Exchange:
        try:
            return await self._executions.get_exchange(micro.id, execution.id)
        except NotFoundError as error:
            raise ConflictError(error.message) from error

    def _apart(self, micro: Micro, deployment: str | None) -> Apart | None:
        if deployment is None or deployment == micro.live_revision:
            return None
        return self._services.deployer.load_revision(micro, deployment)


def _sent(sent: Sent, left_out: Sequence[str] = (), recorded: RecordedShown | None = None) -> SentShown:
    return SentShown(
        event=EventShown.of(sent.execution),
        request=RequestShown.of(sent.exchange.request),
        response=ResponseShown.of(sent.exchange.response),
        left_out=list(left_out),
        recorded=recorded,
    )


def _read_minutes(request: Request) -> int:
    given = request.query_params.get("minutes", "60")
    if not re.fullmatch(r"[0-9]{1,6}", given) or not 1 <= int(given) <= METRICS_MINUTES_MAX:
        raise ClientError(f"minutes is {given[:40]!r}; it may be 1 to {METRICS_MINUTES_MAX}.")
    return int(given)


def _event(execution: Execution) -> str:
    return f"id: {execution.id}\ndata: {EventShown.of(execution).model_dump_json()}\n\n"


async def _stream(following: AsyncIterator[list[Ended]]) -> AsyncIterator[str]:
    """Write events; a comment when there was none for a while, so that a dead connection is noticed."""
    yield ": here it begins\n\n"
    coming = asyncio.ensure_future(anext(following))
    try:
        while True:
            done, _ = await asyncio.wait((coming,), timeout=STREAM_SILENCE_S)
            if not done:
                yield ": nothing new\n\n"
                continue
            try:
                ended = coming.result()
            except BehindError:
                yield BEHIND
                return
            except StopAsyncIteration:
                return
            for piece in write_pieces(ended, _event):
                yield piece
            coming = asyncio.ensure_future(anext(following))
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, BehindError):
            await coming
        await following.aclose()  # type: ignore[attr-defined]  # a generator: its follower must go at once
