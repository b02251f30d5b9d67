"""Store and find items: `Base`, blocking. Source: Deta docs, Base > SDK."""

from __future__ import annotations

from ._endpoints import escape
from ._items import (
    BASE_TTL_ATTRIBUTE,
    Util,
    insert_ttl,
    runs_twice_alike,
    wrap_item,
    wrap_items,
    write_query,
    write_updates,
)
from .errors import refusal
from .service import _Service

__all__ = [
    "BASE_TTL_ATTRIBUTE",
    "BASE_TTL_ATTTRIBUTE",
    "Base",
    "FetchResponse",
    "Util",
    "_Base",
    "insert_ttl",
]

# Written so in the first SDK, and imported so.
BASE_TTL_ATTTRIBUTE = BASE_TTL_ATTRIBUTE

TIMEOUT_S = 60.0
LIMIT = 1000
PAGES = 10


class FetchResponse:
    """Be what `fetch` gives: `items`, their `count`, and `last`, the key to go on from (None at the end).

    Older programs take it for a generator of pages, `next(db.fetch(q))` and `for page in db.fetch(q)`: each
    page is a list of items, the first is `items`, further ones are fetched when they are asked for.
    """

    def __init__(self, count: int = 0, last: str | None = None, items=None, *, further=None) -> None:
        """Take a page, and `further`, which gives the pages after it."""
        self.items: list = [] if items is None else items
        self.count = count
        self.last = last
        self._further = further
        self._pages = None

    def __iter__(self) -> FetchResponse:
        """Give the pages, going on where the last `next` ended."""
        return self

    def __next__(self) -> list:
        """Give the next page."""
        if self._pages is None:
            self._pages = self._give_pages()
        return next(self._pages)

    def _give_pages(self):
        yield self.items
        if self._further is not None:
            yield from self._further()

    def __eq__(self, other: object) -> bool:
        """Compare what was fetched."""
        if not isinstance(other, FetchResponse):
            return NotImplemented
        return (self.count, self.last, self.items) == (other.count, other.last, other.items)

    __hash__ = None

    def __repr__(self) -> str:
        """Show what was fetched."""
        return f"FetchResponse(count={self.count!r}, last={self.last!r}, items={self.items!r})"


class _Base(_Service):
    """Store and find items of one Base."""

    def __init__(self, name: str, project_key: str, project_id: str, host: str | None = None) -> None:
        """Open it; nothing is sent. Raises: AssertionError without a name."""
        super().__init__("Base", name, project_key, project_id, host)
        self.util = Util()

    def get(self, key: str) -> dict | None:
        """Give the item, None when there is none. Raises: ValueError for an empty key, ServiceError."""
        _, item = self._call(self._json_request("GET", item_path(key)), TIMEOUT_S)
        return item

    def delete(self, key: str) -> None:
        """Delete the item, if it is there. Raises: ValueError for an empty key, ServiceError."""
        self._call(self._json_request("DELETE", item_path(key)), TIMEOUT_S)

    def put(self, data, key: str | None = None, *, expire_in=None, expire_at=None) -> dict:
        """Store an item, replacing the one with its key; the host makes a key when there is none. Give it whole.

        Anything but a dict is stored as {"value": data}. It expires in `expire_in` seconds, or at
        `expire_at` (a datetime or unix time).

        Raises: ServiceError.
        """
        item = wrap_item(data, key, expire_in=expire_in, expire_at=expire_at)
        return stored_item(self._where, self._put({"items": [item]}), refusal)

    def put_many(self, items, *, expire_in=None, expire_at=None) -> dict:
        """Store 1 to 25 items; give {"processed": {"items": [...]}}, with "failed" when some failed.

        Raises: AssertionError for more than 25, ValueError for none, ServiceError (then none is stored).
        """
        return self._put({"items": wrap_items(items, expire_in=expire_in, expire_at=expire_at)})

    def insert(self, data, key: str | None = None, *, expire_in=None, expire_at=None) -> dict:
        """Store an item whose key is not taken, and give it whole. Raises: ServiceError, 409 for a taken key."""
        item = wrap_item(data, key, expire_in=expire_in, expire_at=expire_at)
        request = self._json_request("POST", "/items", {"item": item}, repeatable=False)
        return found(self._where, self._call(request, TIMEOUT_S), refusal)

    def update(self, updates: dict | None, key: str, *, expire_in=None, expire_at=None) -> None:
        """Change attributes of an item that is there, see `util`.

        Raises: ValueError for an empty key, ServiceError: 404 when there is no such item.
        """
        body = write_updates(updates, expire_in=expire_in, expire_at=expire_at)
        request = self._json_request("PATCH", item_path(key), body, repeatable=runs_twice_alike(body))
        found(self._where, self._call(request, TIMEOUT_S), refusal)

    def fetch(self, query=None, limit=LIMIT, last=None, *, desc: bool = False, **older) -> FetchResponse:
        """Find items: all, those that match a query, or those that match one of a list of queries.

        `limit` items at most, after the key `last`, in the order of their keys (`desc`: reversed).
        Older programs say `buffer` for `limit`, and take up to `pages` pages from what this gives.

        Raises: ServiceError, "Bad query" for a malformed one.
        """
        limit, last, pages = read_older_arguments(limit, last, older)
        first = self._fetch_page(query, limit, last, desc)

        def further():
            page, count = first, 1
            while page.last and count < pages:
                page, count = self._fetch_page(query, limit, page.last, desc), count + 1
                yield page.items

        return FetchResponse(first.count, first.last, first.items, further=further)

    def _fetch_page(self, query, limit, last, desc: bool) -> FetchResponse:
        body = write_query(query, limit=limit, last=last, desc=desc)
        answer = self._call(self._json_request("POST", "/query", body), TIMEOUT_S)
        return read_page(found(self._where, answer, refusal))

    def _put(self, body: dict) -> dict:
        request = self._json_request("PUT", "/items", body, repeatable=runs_twice_alike(body))
        return found(self._where, self._call(request, TIMEOUT_S), refusal)


# The class had this name before version 1.0.
Base = _Base


def item_path(key: str) -> str:
    """Give an item's path. Raises: ValueError for an empty key, TypeError for none."""
    if key == "":
        raise ValueError("Key is empty")
    return "/items/" + escape(key)


def found(where: str, answer: tuple, refuse) -> dict:
    """Give the document of an answer that must not be 404. Raises: what `refuse` makes."""
    status, document = answer
    if status == 404:
        raise refuse(where, 404, {"errors": ["Key not found"]})
    return document


def stored_item(where: str, document: dict, refuse) -> dict:
    """Give the one item of a put's answer. Raises: ServiceError when it failed."""
    stored = (document.get("processed") or {}).get("items")
    if stored:
        return stored[0]
    raise refuse(where, 207, {"errors": ["the item was not stored; an attribute cannot have an empty name"]})


def read_page(document: dict) -> FetchResponse:
    """Read a query's answer."""
    items = document.get("items") or []
    paging = document.get("paging") or {}
    return FetchResponse(paging.get("size", len(items)), paging.get("last"), items)


def read_older_arguments(limit, last, older: dict) -> tuple:
    """Give limit, last and the number of pages; `fetch(query, buffer, pages)` was the first SDK's order."""
    pages = older.pop("pages", None)
    if "buffer" in older:
        limit = older.pop("buffer")
    if older:
        raise TypeError(f"fetch() got an unexpected keyword argument '{next(iter(older))}'")
    if isinstance(last, int):
        # True was the first SDK's word for "from the begin"
        last, pages = None, (pages if isinstance(last, bool) else last)
    return limit, last, PAGES if pages is None else pages
