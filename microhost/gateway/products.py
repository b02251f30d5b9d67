"""Open Base and Drive to whoever holds a key of the project that the address names: one ASGI callable.

Theory of operation
    The product is told by the host name (`database.`, `drive.`) or, on the console's own names, by the path
    (`/base/...`, `/drive/...`); everything else is the console's. A product's application gets `path` and `raw_path` as
    `/v1/{project_id}/{name}/...`, whatever prefix was sent, and believes the project: it is checked here. The key's
    project and the path's are compared as they were sent; nothing is decoded before. A connection out of a sandbox
    (`scope["state"]["inside_project"]`, set by whoever accepted it) is of that project without a key, and reaches
    nothing but the products. On the console's own names, and only there, the console's page gets by with its session, and
    what it gets is marked so that it does nothing when it is opened as a page: it would be one of the console's.
    A refusal tells nothing: a key that is missing, wrong, deleted or of another project and a project that does not exist
    give the same bytes. It stands in the way of every request, hence no routing table.
    Source: Deta docs, Base > HTTP and Drive > HTTP, General; Fetch standard, CORS protocol.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

import structlog

from microhost.accounts.browsers import NotSentByUsError, read_session
from microhost.gateway.access import CREDENTIAL_BYTES_MAX
from microhost.gateway.hosts import Names
from microhost.limits import CORS_MAX_AGE_S
from microhost.micros.throttle import MINUTE_S, Throttle, client_of
from microhost.records import Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_PREFIX = re.compile(rb"/(base|drive)(?=/|\Z)")
_PATH = re.compile(rb"(?:/v1(?=/|\Z))?+/([^/]+)/([^/]+(?:/.*)?)", re.DOTALL)
_BEARER = "bearer "

# A key is sent by hand, never by the browser: without credentials any origin may be let in.
_SHARED = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
# Opened as a page, what a project holds would be one of the console's own.
_OWN = [
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_PREFLIGHT = [
    *_SHARED,
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"X-API-Key, Authorization, Content-Type"),
    (b"access-control-max-age", b"%d" % CORS_MAX_AGE_S),
]

log = structlog.get_logger("products")


class Keys(Protocol):
    """Know projects, their keys and the owner's access tokens."""

    def has_project(self, project_id: str) -> bool:
        """Tell whether there is this project."""

    def find_project_of(self, key: str) -> str | None:
        """Give the project that a key opens, in a time that tells nothing."""

    def is_access_token(self, token: str) -> bool:
        """Compare in constant time."""


class Sessions(Protocol):
    """Know the sessions of browsers."""

    def find_session(self, secret: str) -> Session | None:
        """Find the session of a cookie's secret."""


class Answer(NamedTuple):
    """Be an answer of ours."""

    status: int
    headers: Headers
    body: bytes = b""


class Call(NamedTuple):
    """Hold what is read of a request's headers. `credential` is None when there is none, '' when it cannot be right."""

    host: bytes
    credential: str | None


class Products:
    """Hand each request to the product that it names, or to the console."""

    def __init__(
        self,
        products: Mapping[str, App],
        *,
        console: App,
        keys: Keys,
        sessions: Sessions,
        names: Names,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `products`, by the names 'base' and 'drive'; `clock` counts seconds."""
        self._products = products
        self._console = console
        self._keys = keys
        self._sessions = sessions
        self._names = names
        self._wrong = Throttle(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._console(scope, receive, send)
            return
        call = read_call(scope["headers"])
        product, raw_path, is_consoles = self._find_product(call.host, scope["raw_path"])
        if not product and not _inside_project(scope):
            await self._console(scope, receive, send)
            return
        match = _PATH.fullmatch(raw_path)
        by_session = is_consoles and call.credential is None and not _inside_project(scope)
        answer = self._answer(scope, call, product, match[1] if match else b"", by_session=by_session)
        if answer is not None or match is None:
            await _send_answer(answer or NOT_FOUND, send)
            return
        raw_path = b"/v1/%b/%b" % match.groups()
        passed = {**scope, "path": unquote(raw_path.decode("latin-1")), "raw_path": raw_path, "root_path": ""}
        await _serve(self._products[product], passed, receive, send, added=_OWN if by_session else _SHARED)

    def _find_product(self, host: bytes, raw_path: bytes) -> tuple[str, bytes, bool]:
        """Give the product, the path below its prefix, and whether it is reached by the console's own name."""
        place = self._names.find(host)
        if place is None:
            return "", raw_path, False
        if place.product:
            return place.product, raw_path, False
        match = _PREFIX.match(raw_path) if place.is_console else None
        return (match[1].decode("ascii"), raw_path[match.end() :], True) if match else ("", raw_path, False)

    def _answer(
        self, scope: Scope, call: Call, product: str, segment: bytes, *, by_session: bool
    ) -> Answer | None:
        """Give the answer that is ours to give, None when the product's is wanted."""
        if product and scope["method"] == "OPTIONS":
            return Answer(204, _PREFLIGHT)
        if not segment or not product:
            return NOT_FOUND
        project_id = segment.decode("latin-1")
        refusal = (
            self._refuse_page(scope, project_id)
            if by_session
            else self._refuse(scope, call.credential, project_id)
        )
        return refusal or (None if product in self._products else NOT_FOUND)

    def _refuse_page(self, scope: Scope, project_id: str) -> Answer | None:
        """Give the refusal of a request without a key that no page of the console sent, None when one did."""
        try:
            secret = read_session(scope)
        except NotSentByUsError as error:
            return _refusal(error.status, error.message)
        if not secret or self._sessions.find_session(secret) is None:
            return UNAUTHORIZED
        return None if self._keys.has_project(project_id) else NO_PROJECT

    def _refuse(self, scope: Scope, credential: str | None, project_id: str) -> Answer | None:
        """Give the refusal of a request that may not reach the project, None when it may."""
        inside = _inside_project(scope)
        if credential is None:
            is_own = inside == project_id and self._keys.has_project(project_id)
            return None if is_own else UNAUTHORIZED
        if credential:
            if self._keys.find_project_of(credential) == project_id:
                return None
            if self._keys.is_access_token(credential):
                return None if self._keys.has_project(project_id) else NO_PROJECT
        client = inside or client_of(scope["client"][0] if scope.get("client") else "")
        if self._wrong.is_full(client):
            return TOO_MANY
        self._wrong.add(client)
        return UNAUTHORIZED


def read_call(headers: Iterable[tuple[bytes, bytes]]) -> Call:
    """Read host and credential. A lone `X-API-Key` counts, else a lone `Authorization`, with `Bearer` or raw."""
    host = b""
    api_keys: list[bytes] = []
    authorizations: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"x-api-key":
            api_keys.append(value)
        elif name == b"authorization":
            authorizations.append(value)
    presented = api_keys or authorizations
    if not presented:
        return Call(host, None)
    if len(presented) > 1 or len(presented[0]) > CREDENTIAL_BYTES_MAX or not presented[0].isascii():
        return Call(host, "")
    credential = presented[0].decode("ascii")
    if not api_keys and credential[: len(_BEARER)].lower() == _BEARER:
        credential = credential[len(_BEARER) :].strip()
    return Call(host, credential)


def _inside_project(scope: Scope) -> str | None:
    project_id: str | None = scope.get("state", {}).get("inside_project")
    return project_id


def _refusal(status: int, message: str, *more: tuple[bytes, bytes]) -> Answer:
    body = json.dumps({"errors": [message]}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *more,
        *_SHARED,
    ]
    return Answer(status, headers, body)


UNAUTHORIZED = _refusal(401, "Unauthorized")
NOT_FOUND = _refusal(404, "There is nothing at this address.")
NO_PROJECT = _refusal(404, "There is no such project.")
TOO_MANY = _refusal(
    429, "Too many wrong keys. Try again in a minute.", (b"retry-after", b"%d" % int(MINUTE_S))
)


async def _serve(app: App, scope: Scope, receive: Receive, send: Send, *, added: Headers) -> None:
    started = False

    async def send_shared(message: MutableMapping[str, Any]) -> None:
        nonlocal started
        if message["type"] == "http.response.start":
            started = True
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    try:
        await app(scope, receive, send_shared)
    except Exception as error:  # the edge: a product's failure becomes an answer in the API's own shape
        if started:
            raise
        incident = secrets.token_hex(4)
        log.error("incident", incident=incident, exc_info=error)
        message = f"The host failed. Its log tells why under incident {incident}."
        await _send_answer(_refusal(500, message), send)


async def _send_answer(answer: Answer, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})
