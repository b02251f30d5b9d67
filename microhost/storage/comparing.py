"""Compare JSON values type by type, and say under which value an index keeps an item.

A boolean is not a number, 1 equals 1.0, null equals only null; lists and maps are compared whole, maps without
regard to the order of their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

INDEXED_BYTES = 512

# What an index stores: numbers as they are, the first bytes of strings as a blob, the rest as text. The engine
# sorts numbers before text and text before blobs, so that a range of one kind never meets another's.
Indexed = float | int | str | bytes


class Absent:
    """Mark that an item has no such attribute, which is not the same as null."""


ABSENT: Final = Absent()


def is_number(value: object) -> bool:
    """Tell whether `value` is a number, which a boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_same(left: object, right: object) -> bool:
    """Tell whether two JSON values are equal in kind and content."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    if is_number(left) and is_number(right):
        return bool(left == right)
    return type(left) is type(right) and left == right


def is_same_text(left: Any, right: Any) -> bool:
    """Tell the same of two JSON texts, for the engine."""
    return left is not None and is_same(msgspec.json.decode(left), msgspec.json.decode(right))


def is_inside(text: Any, needle: Any) -> bool:
    """Tell whether a text holds another, in linear time, for the engine."""
    return text is not None and needle in text


def find(item: Any, path: Sequence[str]) -> Any:
    """Follow `path` through maps; ABSENT when it leads nowhere."""
    for name in path:
        if not isinstance(item, dict) or name not in item:
            return ABSENT
        item = item[name]
    return item


def to_indexed(value: object) -> Indexed | None:
    """Give the value under which an index keeps an item; None when it keeps none (absent, list, map)."""
    if isinstance(value, str):
        return value.encode()[:INDEXED_BYTES]
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float) else None
