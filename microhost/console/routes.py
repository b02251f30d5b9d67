"""Build the API's application from one table of endpoints; the same table gives its description (openapi.py).

Every endpoint declares who may call it: without a policy it cannot be written down, and nothing else is ever
served below the API's path. Every answer that is not a stream or a file is JSON; every refusal is `{"errors":
[...]}`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import structlog
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from microhost.console.guard import Guard
from microhost.console.site import Site
from microhost.errors import ClientError, MicroError, OverloadedError, StorageFullError
from microhost.limits import API_BODY_BYTES, API_VERSION
from microhost.micros.deploy import RefusedError
from microhost.records import User

API = "/api/v1"
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
VERSION_HEADER = (b"microhost-api", b"%d" % API_VERSION)
CLIENT_GONE = 499
EVENT_STREAM = "text/event-stream"
STREAM_SILENCE_S = 15.0  # then a comment is sent: nobody between may hang up

log = structlog.get_logger("console")


class Policy(Enum):
    """Say who may call an endpoint: anybody, every user, or the owner alone."""

    PUBLIC = "public"
    USER = "user"
    OWNER = "owner"


Handler = Callable[..., Awaitable[BaseModel | Response | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Declare one act of the API. `handler(request)` or, when `takes` is given, `handler(request, body)`.

    `read` reads the body where the model only describes it: pydantic keeps no number as it was written.
    What it gives is sent as JSON with `status`; None is an empty 204; a Response goes out as it is.
    """

    method: str
    path: str
    policy: Policy
    handler: Handler
    summary: str
    takes: type[BaseModel] | None = None
    takes_bytes: int = API_BODY_BYTES
    takes_media: str = "application/json"
    read: Callable[[bytes], Any] | None = None
    gives: type[BaseModel] | None = None
    gives_media: str = "application/json"
    status: int = 200
    query: Sequence[str] = ()


class Application(Starlette):
    """Serve endpoints, and say in every answer of the API, refusals and streams too, which version it has."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), VERSION_HEADER]}
            await send(message)

        named = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{API}/")
        await super().__call__(scope, receive, send_named if named else send)


def build(endpoints: Sequence[Endpoint], guard: Guard, site: Site) -> Application:
    """Build the application that serves exactly these endpoints and, beside the API, the site's pages.

    Raises: TypeError for one that declares no policy; ValueError for two with the same method and path.
    """
    methods: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        if not isinstance(endpoint.policy, Policy):
            raise TypeError(f"{endpoint.method} {endpoint.path} declares no policy")
        if endpoint.method in methods.setdefault(endpoint.path, {}):
            raise ValueError(f"{endpoint.method} {endpoint.path} is declared twice")
        methods[endpoint.path][endpoint.method] = endpoint
    routes = [
        Route(path, _serve(by_method, guard), methods=list(by_method)) for path, by_method in methods.items()
    ]
    return Application(
        routes=routes,
        exception_handlers={HTTPException: _unknown(guard, site), Exception: _incident},
    )


def answer(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Make a JSON answer of plain data or a model."""
    body = (
        content.model_dump_json(by_alias=True).encode()
        if isinstance(content, BaseModel)
        else msgspec.json.encode(content)
    )
    return Response(body, status, HEADERS | (headers or {}), "application/json")


def refuse(messages: Sequence[str], status: int, **more: object) -> Response:
    """Make a refusal. `more` are further fields beside `errors`."""
    return answer({"errors": list(messages), **more}, status, _refusal_headers(status, more))


def refusal_of(error: Exception) -> Response:
    """Make the answer to whatever went wrong; what is our own fault shows an incident number that stands in
    the log.
    """
    if isinstance(error, RefusedError):
        return refuse(
            [error.message], error.status, cause=error.cause, log=error.log, hints=list(error.hints)
        )
    if isinstance(error, ClientError):
        more: dict[str, object] = {"cause": None, "log": "", "hints": []} if error.status == 422 else {}
        return refuse(error.message.splitlines() or [""], error.status, **more)
    if isinstance(error, MicroError):
        return refuse([error.message], 502, cause=error.cause, log=error.log)
    if isinstance(error, OverloadedError):
        status = 429 if error.is_callers else 503
        return refuse([error.message], status, retry_after_s=error.retry_after_s)
    if isinstance(error, StorageFullError):
        log.error("disk_full")
        return refuse([error.message], 507)
    incident = secrets.token_hex(4)
    log.error("incident", incident=incident, exc_info=error)
    return refuse([f"The host failed. Its log tells why under incident {incident}."], 500, incident=incident)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Read a request's whole body. Raises: ClientError (413) as soon as it is longer than `most_bytes`."""
    parts: list[bytes] = []
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > most_bytes:
            raise ClientError(f"The body is larger than {most_bytes:,} bytes.", status=413)
        parts.append(part)
    return b"".join(parts)


def _serve(by_method: dict[str, Endpoint], guard: Guard) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        endpoint = by_method.get(request.method) or by_method["GET"]
        try:
            if endpoint.policy is Policy.PUBLIC:
                return await _call(endpoint, request)
            _admit(endpoint.policy, guard.check(request))
            response = await _call(endpoint, request)
            if isinstance(response, StreamingResponse):
                response.body_iterator = _while_admitted(response.body_iterator, request, guard)
            return response
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        except Exception as error:  # the edge: every failure becomes an answer of the API's own shape
            return refusal_of(error)

    return serve


async def _while_admitted(parts: Any, request: Request, guard: Guard) -> AsyncIterator[Any]:
    """Pass a stream on until its reader may read no more: logged out, deleted, or the token gone."""
    try:
        async for part in parts:
            try:
                guard.check(request)
            except (ClientError, OverloadedError):
                return
            yield part
    finally:
        if hasattr(parts, "aclose"):
            await parts.aclose()


def _admit(policy: Policy, user: User) -> None:
    if policy is Policy.OWNER and user.role != "owner":
        raise ClientError("Only the owner may do this.", status=403)


async def _call(endpoint: Endpoint, request: Request) -> Response:
    if endpoint.takes is None:
        result = await endpoint.handler(request)
    else:
        body = await read_body(request, endpoint.takes_bytes)
        result = await endpoint.handler(request, await _parse(endpoint, endpoint.takes, body))
    if result is None:
        return Response(status_code=204, headers=HEADERS)
    if isinstance(result, Response):
        for name, value in HEADERS.items():
            result.headers.setdefault(name, value)
        return result
    return answer(result, endpoint.status)


async def _parse(endpoint: Endpoint, model: type[BaseModel], body: bytes) -> Any:
    if endpoint.read is not None:
        return await asyncio.to_thread(endpoint.read, body)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise ClientError("\n".join(_sentence(each) for each in error.errors(include_url=False))) from error


def _sentence(mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    words = {"missing": "is required", "extra_forbidden": "is not a field of this request"}
    said = words.get(mistake["type"])
    if said:
        return f"'{place}' {said}."
    message = str(mistake["msg"]).splitlines()[0]
    return f"'{place}': {message}." if place else f"The body is not what was wanted: {message}."


def _unknown(guard: Guard, site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.method in ("GET", "HEAD") and not request.url.path.startswith(API):
            page = await site.serve(request)
            if page is not None:
                return page
        if request.url.path.startswith(API):
            try:
                guard.check(request)
            except (ClientError, OverloadedError) as refusal:
                return refusal_of(refusal)
        if error.status_code == 405:
            return answer(
                {"errors": ["This address does not take that method."]}, 405, dict(error.headers or {})
            )
        return refuse(["There is nothing at this address."], error.status_code)

    return unknown


async def _incident(request: Request, error: Exception) -> Response:
    return refusal_of(error)


def _refusal_headers(status: int, more: dict[str, object]) -> dict[str, str]:
    if status == 401:
        return {"www-authenticate": "Bearer"}
    return {"retry-after": str(more["retry_after_s"])} if "retry_after_s" in more else {}
