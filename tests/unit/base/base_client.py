"""Speak to a Base over its ASGI application, as the clients in the wild do."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx


def encode(text: str) -> str:
    """Encode a key or a name once, dots too: clients take `..` for a step up."""
    return quote(text, safe="").replace(".", "%2E")


class BaseClient(httpx.AsyncClient):
    """Know the addresses of one Base."""

    def __init__(self, app: Any, path: str) -> None:
        super().__init__(
            transport=httpx.ASGITransport(app=app),
            base_url=f"http://database.localhost{path}",
            headers={"content-type": "application/json"},
        )

    async def put_items(self, *items: Any) -> httpx.Response:
        """Put items."""
        return await self.put("/items", content=json.dumps({"items": items}))

    async def insert(self, item: Any) -> httpx.Response:
        """Insert an item."""
        return await self.post("/items", content=json.dumps({"item": item}))

    async def find(self, key: str) -> httpx.Response:
        """Get an item."""
        return await self.get(f"/items/{encode(key)}")

    async def remove(self, key: str) -> httpx.Response:
        """Delete an item."""
        return await self.delete(f"/items/{encode(key)}")

    async def update(self, key: str, **sections: Any) -> httpx.Response:
        """Update an item."""
        return await self.patch(f"/items/{encode(key)}", content=json.dumps(sections))

    async def query(self, query: Any = None, **more: Any) -> httpx.Response:
        """Ask for a page."""
        return await self.post("/query", content=json.dumps({"query": query, **more}))

    async def fetch(self, query: Any = None, **more: Any) -> list[Any]:
        """Give all items of all pages."""
        items: list[Any] = []
        last: str | None = None
        while True:
            answer = await self.query(query, **more, last=last)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert page["paging"]["size"] == len(page["items"])
            items += page["items"]
            last = page["paging"].get("last")
            if last is None:
                return items
