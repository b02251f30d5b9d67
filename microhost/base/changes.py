"""Read what the console saves as one step: items as they were seen, and what they are to become."""

from __future__ import annotations

from typing import Any

from microhost.base import items
from microhost.errors import ClientError
from microhost.limits import BASE_CHANGES
from microhost.storage.base_file import SeenItem


def parse_changes(raw: bytes) -> tuple[SeenItem, ...]:
    """Read `{"changes": [{"key": str, "was": {...} | null, "item": {...} | null}]}`; null: there is none.

    Raises: ClientError that names the item.
    """
    document = items.parse_json(raw)
    changes = document.get("changes") if isinstance(document, dict) else None
    if not isinstance(changes, list) or not changes:
        raise ClientError("'changes' must be a list of at least one change.")
    if len(changes) > BASE_CHANGES:
        raise ClientError(
            f"{len(changes):,} changes were sent; at most {BASE_CHANGES:,} can be saved at once."
        )
    items.refuse_equal_names(raw, document)
    read = tuple(_read(each) for each in changes)
    if len({each.key for each in read}) != len(read):
        raise ClientError("Two changes have the same key.")
    return read


def _read(change: Any) -> SeenItem:
    if not isinstance(change, dict) or set(change) != {"key", "was", "item"}:
        raise ClientError("A change has 'key', 'was' and 'item', and nothing else.")
    key, was, item = items.check_key(change["key"]), change["was"], change["item"]
    for each in (was, item):
        if each is not None and (not isinstance(each, dict) or each.get("key", key) != key):
            raise ClientError(f"'{key[:64]}': 'was' and 'item' are items with this key, or null.")
    try:
        stored = None if item is None else items.prepare(item, key)
    except ClientError as error:
        raise ClientError(f"'{key[:64]}': {error.message}") from error
    return SeenItem(key.encode(), None if was is None else items.encode({"key": key, **was}).decode(), stored)
