"""Store and find items: `AsyncBase`, awaited. Source: Deta docs, Base > Async SDK."""

from __future__ import annotations

from .._connections import Request
from .._endpoints import escape, find_endpoint
from .._items import Util, runs_twice_alike, to_json, wrap_item, wrap_items, write_query, write_updates
from ..base import (
    BASE_TTL_ATTRIBUTE,
    BASE_TTL_ATTTRIBUTE,
    LIMIT,
    TIMEOUT_S,
    FetchResponse,
    found,
    insert_ttl,
    item_path,
    read_older_arguments,
    read_page,
    stored_item,
)
from ..errors import async_refusal
from ..service import AGENT, JSON_MIME, check
from ..utils import _get_project_key_id
from .connections import close_idle, exchange

__all__ = [
    "BASE_TTL_ATTRIBUTE",
    "BASE_TTL_ATTTRIBUTE",
    "AsyncBase",
    "FetchResponse",
    "Util",
    "_AsyncBase",
    "insert_ttl",
]


def AsyncBase(name: str, host: str | None = None) -> _AsyncBase:
    """Open a Base of the project that DETA_PROJECT_KEY names."""
    project_key, project_id = _get_project_key_id()
    return _AsyncBase(name, project_key, project_id, host)


class _AsyncBase:
    """Store and find items of one Base from any event loop, also one that does not run yet."""

    def __init__(self, name: str, project_key: str, project_id: str, host: str | None = None) -> None:
        """Open it; nothing is sent. Raises: AssertionError without a name."""
        if not name:
            raise AssertionError("No Base name provided")
        self.name = name
        self.project_key = project_key
        self.project_id = project_id
        self.util = Util()
        self._endpoint = find_endpoint("base", host)
        self._base_path = f"/v1/{escape(project_id)}/{escape(name)}"
        self._where = f"Base '{name}'"

    def __repr__(self) -> str:
        """Show the name and place, never the key."""
        return f"<AsyncBase '{self.name}' at {self._endpoint}>"

    async def __aenter__(self) -> _AsyncBase:
        """Give itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close the idle connections of the running loop. May be called twice; a later call connects again."""
        await close_idle(self._endpoint)

    async def get(self, key: str) -> dict | None:
        """Give the item, None when there is none. Raises: ValueError for an empty key, ServiceError."""
        _, item = await self._call("GET", item_path(key))
        return item

    async def delete(self, key: str) -> None:
        """Delete the item, if it is there. Raises: ValueError for an empty key, ServiceError."""
        await self._call("DELETE", item_path(key))

    async def put(self, data, key: str | None = None, *, expire_in=None, expire_at=None) -> dict:
        """Store an item, replacing the one with its key; give it whole. Raises: ServiceError."""
        item = wrap_item(data, key, expire_in=expire_in, expire_at=expire_at)
        return stored_item(self._where, await self._put({"items": [item]}), async_refusal)

    async def put_many(self, items, *, expire_in=None, expire_at=None) -> dict:
        """Store 1 to 25 items; give {"processed": {"items": [...]}}, with "failed" when some failed.

        Raises: AssertionError for more than 25, ValueError for none, ServiceError (then none is stored).
        """
        return await self._put({"items": wrap_items(items, expire_in=expire_in, expire_at=expire_at)})

    async def insert(self, data, key: str | None = None, *, expire_in=None, expire_at=None) -> dict:
        """Store an item whose key is not taken, and give it whole. Raises: ServiceError, 409 for a taken key."""
        item = wrap_item(data, key, expire_in=expire_in, expire_at=expire_at)
        return self._found(await self._call("POST", "/items", {"item": item}, repeatable=False))

    async def update(self, updates: dict | None, key: str, *, expire_in=None, expire_at=None) -> None:
        """Change attributes of an item that is there, see `util`.

        Raises: ValueError for an empty key, ServiceError: 404 when there is no such item.
        """
        body = write_updates(updates, expire_in=expire_in, expire_at=expire_at)
        self._found(await self._call("PATCH", item_path(key), body, repeatable=runs_twice_alike(body)))

    async def fetch(
        self, query=None, limit=LIMIT, last=None, *, desc: bool = False, **older
    ) -> FetchResponse:
        """Find items: all, those that match a query, or those that match one of a list of queries.

        `limit` items at most, after the key `last`, in the order of their keys (`desc`: reversed).

        Raises: ServiceError, "Bad query" for a malformed one.
        """
        limit, last, _ = read_older_arguments(limit, last, older)
        body = write_query(query, limit=limit, last=last, desc=desc)
        return read_page(self._found(await self._call("POST", "/query", body)))

    async def _put(self, body: dict) -> dict:
        return self._found(await self._call("PUT", "/items", body, repeatable=runs_twice_alike(body)))

    def _found(self, answer: tuple) -> dict:
        return found(self._where, answer, async_refusal)

    async def _call(self, method: str, path: str, document=None, *, repeatable: bool = True) -> tuple:
        body = b"" if document is None else to_json(document)
        # the first one sent it with every request, with a body or without
        headers = {"X-API-Key": self.project_key, "User-Agent": AGENT, "Content-Type": JSON_MIME}
        request = Request(method, self._base_path + path, headers, body, repeatable=repeatable)
        status, answer = await exchange(self._endpoint, request, timeout_s=TIMEOUT_S)
        return check(self._where, status, answer, async_refusal)
