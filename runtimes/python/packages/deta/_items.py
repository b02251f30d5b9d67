"""Turn what a program says into what Base takes, and back. Pure.

Source: Deta docs, Base > HTTP, Base > SDK, Expiring Items.
"""

from __future__ import annotations

import json
import time

BASE_TTL_ATTRIBUTE = "__expires"
ITEMS_MAX = 25


class Util:
    """Make the values that `update` understands as more than "set to this"."""

    class Trim:
        """Remove the attribute."""

    class Increment:
        """Add a number to the attribute."""

        def __init__(self, value=None) -> None:
            """Take the number, 1 unless given."""
            self.val = 1 if value is None else value

    class Append:
        """Add to the end of the list."""

        def __init__(self, value) -> None:
            """Take a value, or a list of values."""
            self.val = value if isinstance(value, list) else [value]

    class Prepend(Append):
        """Add before the begin of the list."""

    def trim(self) -> Trim:
        """Remove the attribute."""
        return self.Trim()

    def increment(self, value=None) -> Increment:
        """Add `value`, 1 unless given; may be negative."""
        return self.Increment(value)

    def append(self, value) -> Append:
        """Add a value, or a list of values, to the end of the list."""
        return self.Append(value)

    def prepend(self, value) -> Prepend:
        """Add a value, or a list of values, before the begin of the list."""
        return self.Prepend(value)


def insert_ttl(item: dict, ttl_attribute: str, expire_in=None, expire_at=None) -> None:
    """Write the time at which an item expires into it: `expire_in` seconds from now, or `expire_at`.

    A datetime without time zone is local time, as everywhere in Python.
    Raises: ValueError for both, TypeError for anything but numbers and datetimes.
    """
    if expire_in is None and expire_at is None:
        return
    if expire_in is not None and expire_at is not None:
        raise ValueError("'expire_in' and 'expire_at' are mutually exclusive parameters")
    if expire_in is not None:
        item[ttl_attribute] = int(time.time() + _number("expire_in", expire_in))
    elif hasattr(expire_at, "timestamp"):
        item[ttl_attribute] = int(expire_at.timestamp())
    else:
        item[ttl_attribute] = int(_number("expire_at", expire_at))


def _number(name: str, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        more = " or a datetime" if name == "expire_at" else ""
        raise TypeError(f"'{name}' is a number{more}, not {type(value).__name__}")
    return value


def wrap_item(data, key: str | None, *, expire_in=None, expire_at=None) -> dict:
    """Give the item to store: a copy of a dict, `{"value": data}` for anything else. `key` wins over data["key"]."""
    item = dict(data) if isinstance(data, dict) else {"value": data}
    if key:
        item["key"] = key
    insert_ttl(item, BASE_TTL_ATTRIBUTE, expire_in, expire_at)
    return item


def wrap_items(items, *, expire_in=None, expire_at=None) -> list[dict]:
    """Give the items to store. Raises: AssertionError for more than 25, ValueError for none."""
    items = list(items)
    if len(items) > ITEMS_MAX:
        raise AssertionError(f"We can't put more than {ITEMS_MAX} items at a time.")
    if not items:
        raise ValueError(f"put_many takes 1 to {ITEMS_MAX} items; the list is empty.")
    return [wrap_item(each, None, expire_in=expire_in, expire_at=expire_at) for each in items]


def write_updates(updates: dict | None, *, expire_in=None, expire_at=None) -> dict:
    """Give the body of an update; its five sections are always there."""
    body: dict = {"set": {}, "increment": {}, "append": {}, "prepend": {}, "delete": []}
    # Prepend before Append: it is one, too
    kinds = ((Util.Increment, "increment"), (Util.Prepend, "prepend"), (Util.Append, "append"))
    for attribute, value in (updates or {}).items():
        if isinstance(value, Util.Trim):
            body["delete"].append(attribute)
            continue
        section = next((name for kind, name in kinds if isinstance(value, kind)), "set")
        body[section][attribute] = value if section == "set" else value.val
    insert_ttl(body["set"], BASE_TTL_ATTRIBUTE, expire_in, expire_at)
    return body


def write_query(query, *, limit=None, last=None, desc: bool = False) -> dict:
    """Give the body of a query; what is unset is absent."""
    body: dict = {}
    if query:
        body["query"] = list(query) if isinstance(query, (list, tuple)) else [query]
    if limit is not None:
        body["limit"] = limit
    if last:
        body["last"] = last
    if desc:
        body["sort"] = "desc"
    return body


def runs_twice_alike(body: dict) -> bool:
    """Tell whether a put or an update may be repeated: every item has its key, nothing is added to."""
    if "items" in body:
        return all(each.get("key") for each in body["items"])
    return not (body.get("increment") or body.get("append") or body.get("prepend"))


def to_json(document: object) -> bytes:
    """Write JSON. Paths become text. Raises: TypeError, ValueError for what JSON cannot hold, NaN included."""
    return json.dumps(document, default=_path_as_text, allow_nan=False, separators=(",", ":")).encode()


def _path_as_text(value: object) -> str:
    if hasattr(value, "__fspath__") and hasattr(value, "as_posix"):
        return value.resolve().as_posix()
    raise TypeError(f"An item cannot hold a {type(value).__name__}: store text, numbers, lists and dicts.")


def from_json(body: bytes) -> object:
    """Read JSON; what is no JSON is given as text."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")
