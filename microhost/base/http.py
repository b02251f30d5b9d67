"""Serve Base over HTTP: one ASGI application, which trusts the project in its path (the door has checked the key).

    PUT    /v1/{project_id}/{base_name}/items         POST   /v1/{project_id}/{base_name}/items
    GET    /v1/{project_id}/{base_name}/items/{key}   PATCH, DELETE the same
    POST   /v1/{project_id}/{base_name}/query

A body is parsed where the method has one, never because of its Content-Type: clients send that with every request.
Items are kept as JSON texts and sent as they are kept. Every answer is JSON; every refusal `{"errors": [...]}`.

Source: Deta docs, Base > HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import msgspec
import structlog

from microhost.base import items, query, updates
from microhost.base.query_sql import compile_query
from microhost.errors import ClientError, NotFoundError, OverloadedError, StorageFullError
from microhost.intake import Intake, Share
from microhost.limits import (
    BASE_BODY_BYTES,
    BASE_QUERY_BYTES,
    BODIES_PARSED_AT_ONCE,
    BODY_FREE_BYTES,
)
from microhost.storage.base_file import Change, StoredItem
from microhost.storage.base_pages import Page, Wanted

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SENT_AT_ONCE_BYTES = 64 * 1024
LIMIT_UNSET = 1_000_000
DONE, CREATED, MULTI_STATUS = 200, 201, 207

log = structlog.get_logger("base")


class Store(Protocol):
    """Keep items (storage/bases.py says what each raises)."""

    async def find(self, project_id: str, base: str, key: bytes) -> str | None:
        """Give an item's JSON text."""

    async def put(self, project_id: str, base: str, items: tuple[StoredItem, ...]) -> None:
        """Store items."""

    async def insert(self, project_id: str, base: str, item: StoredItem) -> None:
        """Store an item under a free key."""

    async def update(self, project_id: str, base: str, key: bytes, change: Change) -> None:
        """Change an item."""

    async def delete(self, project_id: str, base: str, key: bytes) -> None:
        """Delete an item."""

    async def query(self, project_id: str, base: str, wanted: Wanted) -> Page:
        """Read a page."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Hold what all requests share: the store, and what bounds their bodies."""

    store: Store
    intake: Intake
    parsing: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Asking:
    """Hold one request as it came: `share` is closed when it is answered."""

    scope: MutableMapping[str, Any]
    receive: Receive
    share: Share
    parsing: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class Call:
    """Hold what a request names, and how its body is read."""

    store: Store
    project_id: str
    base: str
    key: str
    asking: Asking


Answer = tuple[int, bytes]
Handler = Callable[[Call], Awaitable[Answer]]


def create_app(bases: Store, intake: Intake | None = None) -> App:
    """Make the ASGI application that serves `bases`; `intake` bounds its bodies, and others' with it."""
    desk = Desk(bases, intake or Intake(), asyncio.Semaphore(BODIES_PARSED_AT_ONCE))

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"Base speaks no {scope['type']}")
        extra: tuple[tuple[bytes, bytes], ...] = ()
        asking = Asking(scope, receive, Share(desk.intake), desk.parsing)
        try:
            try:
                status, body, extra = await _serve(desk.store, asking)
            except Exception as error:  # the edge: every failure becomes an answer of the docs' shape
                status, body, extra = _refuse(error)
            await _send(send, status, body, extra)
        finally:
            asking.share.close()

    return app


Headers = tuple[tuple[bytes, bytes], ...]


async def _serve(bases: Store, asking: Asking) -> tuple[int, bytes, Headers]:
    scope = asking.scope
    parts = scope["raw_path"].split(b"/", 5)
    if len(parts) < 5 or parts[0] or parts[1] != b"v1":
        raise _nowhere()
    kind = "/".join(part.decode("latin-1") for part in parts[4:5]) + ("/{key}" if len(parts) > 5 else "")
    handlers = HANDLERS.get(kind)
    if handlers is None:
        raise _nowhere()
    handler = handlers.get(scope["method"])
    if handler is None:
        allowed = (b"allow", ", ".join(handlers).encode())
        return 405, _errors("This address does not take that method."), (allowed,)
    base = items.check_base(_decode(parts[3], "name of the Base"))
    key = _decode(parts[5], "key") if len(parts) > 5 else ""
    if len(parts) > 5:
        items.check_key(key)
    status, body = await handler(Call(bases, _decode(parts[2], "project's id"), base, key, asking))
    return status, body, ()


async def put_items(call: Call) -> Answer:
    """Store up to 25 items, replacing those with equal keys.

    Takes:   {"items": [{"key"?: str, ...}, ...]}
    Gives:   207 {"processed": {"items": [...]}, "failed": {"items": [...]}}, either only when it holds something
    Refuses: 400, and then nothing is stored
    """
    batch = await _parsed(call, BASE_BODY_BYTES, items.too_large, items.parse_put)
    if batch.items:
        await call.store.put(call.project_id, call.base, batch.items)
    parts = []
    if batch.items:
        parts.append(f'"processed":{{"items":[{",".join([item.body for item in batch.items])}]}}')
    if batch.failed:
        parts.append(f'"failed":{{"items":[{",".join(batch.failed)}]}}')
    return MULTI_STATUS, f"{{{','.join(parts)}}}".encode()


async def insert_item(call: Call) -> Answer:
    """Store an item under a key that is free.

    Takes:   {"item": {"key"?: str, ...}}
    Gives:   201 and the item
    Refuses: 400; 409 `Key already exists`
    """
    item = await _parsed(call, BASE_BODY_BYTES, items.too_large, items.parse_insert)
    await call.store.insert(call.project_id, call.base, item)
    return CREATED, item.body.encode()


async def get_item(call: Call) -> Answer:
    """Give an item. Gives: 200 and the item, or 404 {"key": key}."""
    body = await call.store.find(call.project_id, call.base, call.key.encode())
    return (404, _named(call.key)) if body is None else (DONE, body.encode())


async def delete_item(call: Call) -> Answer:
    """Delete an item, if there is one. Gives: 200 {"key": key}."""
    await call.store.delete(call.project_id, call.base, call.key.encode())
    return DONE, _named(call.key)


async def update_item(call: Call) -> Answer:
    """Change an item.

    Takes:   {"set"?: {path: value}, "increment"?, "append"?, "prepend"?: {path: value}, "delete"?: [path]}
    Gives:   200 {"key": key} and what was sent
    Refuses: 400; 404 `Key not found`; then the item stays as it is
    """

    def parse(raw: bytes) -> updates.Updates:
        document = items.parse_json(raw)
        items.refuse_equal_names(raw, document)
        return updates.parse(document)

    changes = await _parsed(call, BASE_BODY_BYTES, items.too_large, parse)

    def change(body: str) -> StoredItem:
        return items.prepare(updates.apply(changes, msgspec.json.decode(body)), call.key)

    await call.store.update(call.project_id, call.base, call.key.encode(), change)
    return DONE, items.encode({"key": call.key, **changes.sent})


async def query_items(call: Call) -> Answer:
    """Give a page of the items that match.

    Takes:   {"query"?: [...], "limit"?: int >= 1, "last"?: str, "sort"?: "desc"}; null, "" and [] are unset
    Gives:   200 {"paging": {"size": int, "last"?: str}, "items": [...]}
    Refuses: 400, for a malformed query with `Bad query`
    """
    wanted = await _parsed(call, BASE_QUERY_BYTES, query.bad_query, read_query)
    page = await call.store.query(call.project_id, call.base, wanted)
    paging: dict[str, object] = {"size": page.count}
    if page.last is not None:
        paging["last"] = page.last.decode()
    return DONE, b'{"paging":%b,"items":[%b]}' % (msgspec.json.encode(paging), page.items.encode())


def read_query(raw: bytes) -> Wanted:
    """Read the body of a query. Raises: ClientError."""
    document = items.parse_json(raw) if raw.strip() else {}
    if not isinstance(document, dict):
        raise query.bad_query()
    limit, last, sort = document.get("limit"), document.get("last"), document.get("sort")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ClientError("'limit' must be a whole number of at least 1.")
    if last is not None and not isinstance(last, str):
        raise ClientError("'last' must be a key.")
    if sort not in (None, "", "asc", "desc"):
        raise ClientError("'sort' can only be 'desc'.")
    return Wanted(
        compile_query(query.parse(document.get("query"))),
        limit=min(limit or LIMIT_UNSET, LIMIT_UNSET),
        last=last.encode() if last else None,
        descending=sort == "desc",
    )


HANDLERS: dict[str, dict[str, Handler]] = {
    "items": {"PUT": put_items, "POST": insert_item},
    "items/{key}": {"GET": get_item, "PATCH": update_item, "DELETE": delete_item},
    "query": {"POST": query_items},
}


async def _parsed(call: Call, most_bytes: int, too_large: Callable[[], ClientError], parse: Any) -> Any:
    """Read the body and parse it, a large one in a thread."""
    raw = await _read(call, most_bytes, too_large)
    if len(raw) <= BODY_FREE_BYTES:
        return parse(raw)
    async with call.asking.parsing:  # more at once would only fight for the interpreter, and for memory
        return await asyncio.to_thread(parse, raw)


async def _read(call: Call, most_bytes: int, too_large: Callable[[], ClientError]) -> bytes:
    announced = _announced(call.asking.scope["headers"])
    if announced is not None:
        if announced > most_bytes:
            raise too_large()
        await call.asking.share.take(call.project_id, announced)
    parts: list[bytes] = []
    total = 0
    more = True
    while more:
        message = await call.asking.receive()
        if message["type"] == "http.disconnect":
            raise ClientError("The request ended before its body.")
        part = message.get("body", b"")
        total += len(part)
        if total > most_bytes:
            raise too_large()
        parts.append(part)
        more = message.get("more_body", False)
        if more and announced is None and total > BODY_FREE_BYTES:
            await call.asking.share.take(call.project_id, most_bytes)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _decode(part: bytes, what: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise ClientError(f"The {what} is not valid UTF-8.") from error


def _named(key: str) -> bytes:
    return msgspec.json.encode({"key": key})


def _errors(*messages: str) -> bytes:
    return msgspec.json.encode({"errors": messages})


def _nowhere() -> ClientError:
    return NotFoundError("There is nothing at this address.")


def _refuse(error: Exception) -> tuple[int, bytes, Headers]:
    if isinstance(error, ClientError):
        return error.status, _errors(error.message), ()
    if isinstance(error, OverloadedError):
        return 503, _errors(error.message), ((b"retry-after", str(error.retry_after_s).encode()),)
    if isinstance(error, StorageFullError):
        log.error("disk_full")
        return 507, _errors(error.message), ()
    incident = secrets.token_hex(4)
    log.error("incident", incident=incident, exc_info=error)
    return 500, _errors(f"The host failed. Its log tells why under incident {incident}."), ()


async def _send(send: Send, status: int, body: bytes, extra: Headers) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    # piece by piece: what a slow reader has not taken is not kept twice, nor after its share was given back
    rest = memoryview(body)
    while len(rest) > SENT_AT_ONCE_BYTES:
        piece, rest = rest[:SENT_AT_ONCE_BYTES], rest[SENT_AT_ONCE_BYTES:]
        await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
    await send({"type": "http.response.body", "body": bytes(rest)})
