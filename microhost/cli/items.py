"""Read and write items of Bases as JSON, exactly: what JSON's readers drop silently is refused here.

one item a line   {"key": "a", ...}\n{"key": "b", ...}
a list            [{"key": "a", ...}, ...]       the layout of the original's export
a wrapped list    {"items": [{...}, ...]}        and nothing else in it
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from microhost.cli.failures import CliError
from microhost.cli.output import INDENT

ITEMS_PER_CALL = 25  # Deta docs, Base > HTTP > Put Items
CALL_BYTES = 8 * 1024 * 1024  # the server takes 16 MiB
# may act on a terminal or cannot be written as UTF-8; JSON has another way to write them
UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SHAPES = "One JSON object a line, or one JSON list of objects."


@dataclass(frozen=True, slots=True)
class Item:
    """Be one item: where it stood, its fields, and its size as JSON."""

    place: str
    content: dict[str, Any]
    size_bytes: int

    @property
    def key(self) -> str | None:
        """Give its key when it is one."""
        key = self.content.get("key")
        return key if isinstance(key, str) else None

    @property
    def title(self) -> str:
        """Name it to a person."""
        return f"{self.place} (key {json.dumps(self.key)})" if self.key is not None else self.place


@dataclass(frozen=True, slots=True)
class Refused:
    """Be something that is no item, or that is not taken: where it stood or its name, and why."""

    title: str
    reason: str


Found = Item | Refused


def to_line(value: object) -> str:
    """Write a value as one line of JSON that does no harm to a terminal."""
    return _harmless(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def to_text(value: object) -> str:
    """Write a value as indented JSON that does no harm to a terminal."""
    return _harmless(json.dumps(value, ensure_ascii=False, indent=INDENT))


def read_json(text: str | bytes) -> Any:
    """Read JSON. Raises: ValueError with the reason, for equal names in one object and for what is no number, too."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"it is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError("it is no UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_items(stream: IO[bytes], source: str) -> Iterator[Found]:
    """Read items in any of the layouts. One a line is read line by line, everything else as a whole.

    Raises: CliError when it is none of them.
    """
    number, first = _first_line(stream)
    if not first:
        return
    try:
        value = None if first.lstrip().startswith(b"[") else read_json(first)
    except ValueError:
        value = None
    if isinstance(value, dict):
        second = _next_line(stream)
        if second or not is_wrapped(value):
            yield from _read_lines(number, _chain(first, second, stream))
            return
        yield from of_value(value)
        return
    yield from of_value(_read_whole(first + stream.read(), source))


def of_value(value: object) -> Iterator[Found]:
    """Give the items of a document: an item, a list of them, or a wrapped list."""
    if isinstance(value, dict) and not is_wrapped(value):
        yield _item("the item", value)
        return
    listed = value["items"] if isinstance(value, dict) else value
    if not isinstance(listed, list):
        yield Refused("the document", f"it is no item. {SHAPES}")
        return
    for number, each in enumerate(listed, start=1):
        yield _item(f"item {number:,}", each)


def is_wrapped(value: dict[str, Any]) -> bool:
    """Tell whether an object is a list of items in its wrapping."""
    listed = value.get("items")
    return len(value) == 1 and isinstance(listed, list) and all(isinstance(each, dict) for each in listed)


def batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Fold items into calls: at most 25 of at most 8 MB, no key twice. Their order stays."""
    batch: list[Item] = []
    keys: set[str] = set()
    size = 0
    for each in items:
        too_much = len(batch) == ITEMS_PER_CALL or size + each.size_bytes > CALL_BYTES
        if batch and (too_much or each.key in keys):
            yield batch
            batch, keys, size = [], set(), 0
        batch.append(each)
        size += each.size_bytes
        if each.key is not None:
            keys.add(each.key)
    if batch:
        yield batch


def _harmless(text: str) -> str:
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _first_line(stream: IO[bytes]) -> tuple[int, bytes]:
    """Give the first line with something in it, and its number."""
    for number, line in enumerate(stream, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if text.strip():
            return number, text
    return 0, b""


def _next_line(stream: IO[bytes]) -> list[bytes]:
    """Give the lines up to the next one with something in it, nothing when there is none."""
    lines = []
    for line in stream:
        lines.append(line)
        if line.strip():
            return lines
    return []


def _chain(first: bytes, second: list[bytes], stream: IO[bytes]) -> Iterator[bytes]:
    yield first
    yield from second
    if second:
        yield from stream


def _read_lines(first_number: int, lines: Iterable[bytes]) -> Iterator[Found]:
    for number, line in enumerate(lines, start=first_number):
        if not line.strip():
            continue
        try:
            value = read_json(line)
        except ValueError as error:
            yield Refused(f"line {number:,}", str(error))
            continue
        yield _item(f"line {number:,}", value)


def _read_whole(text: bytes, source: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise CliError(f"{source} holds no items: {error}.", SHAPES) from error


def _item(place: str, value: object) -> Found:
    if not isinstance(value, dict):
        return Refused(place, "it is no JSON object")
    return Item(place, value, len(json.dumps(value)))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the attribute {json.dumps(twice)} stands twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number
