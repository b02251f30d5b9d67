"""Serve runs, and what is recorded of executions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microhost.console.guard import user_of
from microhost.console.micros import MICRO, find_micro
from microhost.console.models import EventList, EventShown, NewRun, RunShown
from microhost.console.routes import Endpoint, Policy, answer
from microhost.console.services import Services
from microhost.console.streams import Streams, write_pieces
from microhost.errors import ClientError
from microhost.limits import API_BODY_BYTES, EVENT_INPUT_BYTES, EVENTS_PER_PAGE, EVENTS_PER_PAGE_MAX
from microhost.micros import invoke
from microhost.micros.event_filters import NAMES, read_filter
from microhost.micros.events import BehindError, Ended, log_lines
from microhost.records import EventFilter, Execution

TEXT = "text/plain; charset=utf-8"
NDJSON = "application/x-ndjson"


class Running:
    """Answer for runs, events and logs."""

    def __init__(self, services: Services, streams: Streams) -> None:
        """Use these services; count in `streams`."""
        self._services = services
        self._streams = streams

    def endpoints(self) -> list[Endpoint]:
        """Declare what is served."""
        user = Policy.USER
        return [
            Endpoint(
                method="POST",
                path=f"{MICRO}/run",
                policy=user,
                handler=self.run,
                summary="Call a run handler and give what it returned and printed",
                takes=NewRun,
                takes_bytes=EVENT_INPUT_BYTES + API_BODY_BYTES,
                gives=RunShown,
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/events",
                policy=user,
                handler=self.list_events,
                summary="List executions, newest first",
                gives=EventList,
                query=("limit", "before", *NAMES),
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/events/{{event}}",
                policy=user,
                handler=self.show_event,
                summary="Show one execution",
                gives=EventShown,
            ),
            Endpoint(
                method="GET",
                path=f"{MICRO}/logs",
                policy=user,
                handler=self.logs,
                summary="Give executions and what they printed as lines; ?follow=1 streams new ones",
                gives_media="text/plain",
                query=("limit", "follow", *NAMES),
            ),
        ]

    async def run(self, request: Request, body: NewRun) -> Response:
        """Call a handler. Refuses: 502 {"errors", "cause", "log"} when it fails. Source: Deta docs, Micros >
        Run.
        """
        micro = find_micro(self._services, request)
        done = await invoke.run(self._services.pool, micro.id, body.action, body.input)
        return answer({"response": msgspec.Raw(done.result.encode()), "logs": done.log})

    async def list_events(self, request: Request) -> BaseModel:
        """Give executions, newest first; `?before={last}` continues a listing until `last` is null.

        A page may hold fewer than `limit`, or none, and yet go on: it ends early when it is large or has taken long.
        """
        micro = find_micro(self._services, request)
        before = request.query_params.get("before") or None
        found, last = await self._services.executions.page(
            micro.id, limit=limit_of(request), before=before, wanted=wanted_of(request, self._services)
        )
        return EventList(events=[EventShown.of(each) for each in found], last=last)

    async def show_event(self, request: Request) -> BaseModel:
        """Show one execution."""
        micro = find_micro(self._services, request)
        return EventShown.of(await self._services.executions.get(micro.id, request.path_params["event"]))

    async def logs(self, request: Request) -> Response:
        """Give the last executions and what they printed, as lines; then, with `?follow=1`, those to come.

        With `Accept: application/x-ndjson` each execution is one line, as JSON (EventShown).
        """
        micro = find_micro(self._services, request)
        wanted = wanted_of(request, self._services)
        as_json = NDJSON in request.headers.get("accept", "")
        show, media = (_json_line, NDJSON) if as_json else (_text_lines, TEXT)
        limit = limit_of(request)
        if request.query_params.get("follow", "") in ("1", "true"):
            following = self._services.executions.follow(micro.id, limit=limit, wanted=wanted)
            return self._streams.answer(user_of(request).id, _follow(following, show), media)
        past = self._services.executions.past(micro.id, limit=limit, wanted=wanted)
        return StreamingResponse(_write(past, show), media_type=media)


def wanted_of(request: Request, services: Services) -> EventFilter:
    """Read which executions are wanted. Raises: ClientError."""
    return read_filter(request.query_params, now=services.clock())


async def _write(
    past: AsyncIterator[list[Execution]], show: Callable[[Execution], str]
) -> AsyncIterator[str]:
    async for piece in past:
        yield "".join(show(each) for each in piece)


async def _follow(
    following: AsyncIterator[list[Ended]], show: Callable[[Execution], str]
) -> AsyncIterator[str]:
    # a reader that is too slow comes to an end, and asks again for what it has not seen
    with contextlib.suppress(BehindError):
        async for ended in following:
            for piece in write_pieces(ended, show):
                yield piece


def _text_lines(execution: Execution) -> str:
    return "".join(f"{line}\n" for line in log_lines(execution))


def _json_line(execution: Execution) -> str:
    return EventShown.of(execution).model_dump_json() + "\n"


def limit_of(request: Request, *, default: int = EVENTS_PER_PAGE, least: int = 1) -> int:
    """Read how many are wanted. Raises: ClientError."""
    given = request.query_params.get("limit", str(default))
    if not re.fullmatch(r"[0-9]{1,6}", given):
        raise ClientError(f"limit is {given[:40]!r}; it must be a number.")
    limit = int(given)
    if not least <= limit <= EVENTS_PER_PAGE_MAX:
        raise ClientError(f"limit is {limit}; it may be {least} to {EVENTS_PER_PAGE_MAX}.")
    return limit
