"""Check items before they are stored: what cannot be kept exactly is refused.

msgspec parses: it refuses NaN, Infinity, numbers beyond a float's range, lone surrogates, control characters and
trailing data by itself. What it lets through is checked here: integers of more than 16 digits, deep nesting, equal
names in one object (it would keep the last), empty names.
"""

from __future__ import annotations

import json
import math
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from microhost.errors import ClientError
from microhost.limits import (
    BASE_BODY_BYTES,
    BASE_ITEM_BYTES,
    BASE_KEY_BYTES,
    BASE_KEY_CHARACTERS,
    BASE_NAME_BYTES,
    BASE_NESTING,
    BASE_NUMBER_DIGITS,
    BASE_PUT_ITEMS,
)
from microhost.storage.base_file import StoredItem

LETTERS = string.digits + string.ascii_lowercase
INTEGER_LIMIT = 10**BASE_NUMBER_DIGITS
EXPIRES = "__expires"


class EmptyNameError(ClientError):
    """Report an attribute with an empty name: it fails its item, not the request."""

    def __init__(self) -> None:
        super().__init__("An attribute has an empty name. Give every attribute a name.")


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold a checked put: what is to be stored, and the items that failed, as JSON texts."""

    items: tuple[StoredItem, ...]
    failed: tuple[str, ...]


def parse_json(raw: bytes) -> Any:
    """Parse a body. Raises: ClientError for what is not JSON that can be kept."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise ClientError(f"The body holds a number that cannot be kept: {_reason(error)}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientError(f"The body is not valid JSON: {_reason(error)}.") from error
    except RecursionError as error:
        raise _too_deep() from error


def parse_put(raw: bytes) -> Batch:
    """Read the body of a put, `{"items": [{"key"?: str, ...}, ...]}`.

    Raises: ClientError; then nothing is to be stored. Source: Deta docs, Base > HTTP > Put Items.
    """
    if len(raw) > BASE_BODY_BYTES:
        raise too_large()
    document = parse_json(raw)
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or not items:
        raise ClientError("'items' must be a list of at least one item.")
    if len(items) > BASE_PUT_ITEMS:
        raise ClientError(f"{len(items)} items were sent; at most {BASE_PUT_ITEMS} can be put at once.")
    keys = [_key_of(item) for item in items]
    if len(set(keys)) != len(keys):
        raise ClientError("Two items have the same key.")
    refuse_equal_names(raw, document)
    stored: list[StoredItem] = []
    failed: list[str] = []
    for key, item in zip(keys, items, strict=True):
        try:
            stored.append(prepare(item, key))
        except EmptyNameError:
            failed.append(msgspec.json.encode(item).decode())
    return Batch(tuple(stored), tuple(failed))


def parse_insert(raw: bytes) -> StoredItem:
    """Read the body of an insert, `{"item": {"key"?: str, ...}}`. Raises: ClientError."""
    if len(raw) > BASE_BODY_BYTES:
        raise too_large()
    document = parse_json(raw)
    item: Any = document.get("item") if isinstance(document, dict) else None
    key = _key_of(item)
    refuse_equal_names(raw, document)
    return prepare(item, key)


def prepare(item: dict[str, Any], key: str) -> StoredItem:
    """Check an item and make it ready to be stored under `key`. Raises: ClientError."""
    check_value(item)
    whole = item if "key" in item else {"key": key, **item}
    body = encode(whole)
    if len(body) > BASE_ITEM_BYTES:
        raise ClientError(
            f"The item {_named(key)} has {len(body):,} bytes; at most {BASE_ITEM_BYTES:,} can be stored."
        )
    return StoredItem(key.encode(), body.decode(), _expires_of(item))


def encode(value: object) -> bytes:
    """Write a value as compact JSON. Raises: ClientError for text that is not Unicode."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise ClientError("A text holds a lone surrogate, which is not valid Unicode.") from error


def check_value(value: object) -> None:
    """Check a value and all in it.

    Raises: EmptyNameError; ClientError for integers of more than 16 digits, floats that are not finite, nesting
    deeper than BASE_NESTING, names with a NUL.
    """
    _check(value, BASE_NESTING)


def _check(value: Any, depth: int) -> None:
    kind = type(value)
    if kind is dict or kind is list:
        if depth == 0:
            raise _too_deep()
        if kind is dict:
            _check_names(value)
        for each in value.values() if kind is dict else value:
            _check(each, depth - 1)
    elif kind is int:
        if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
            raise ClientError(
                f"A number has more than {BASE_NUMBER_DIGITS} digits. Store it as a string instead."
            )
    elif kind is float and not math.isfinite(value):
        raise ClientError("A number is not finite.")


def _check_names(value: dict[str, Any]) -> None:
    if "" in value:
        raise EmptyNameError
    for name in value:
        if "\0" in name:
            raise ClientError("The name of an attribute holds a NUL character.")


def check_base(name: str) -> str:
    """Check the name of a Base and give it back. Raises: ClientError."""
    if not name or len(name.encode()) > BASE_NAME_BYTES or any(ord(each) < 32 for each in name):
        raise ClientError(f"The name of a Base has 1 to {BASE_NAME_BYTES} bytes and no control characters.")
    return name


def check_key(key: object) -> str:
    """Check a key and give it back. Raises: ClientError."""
    if not isinstance(key, str):
        raise ClientError("A key must be a string.")
    if not key:
        raise ClientError("A key must not be empty.")
    if len(key) * 4 > BASE_KEY_BYTES and len(key.encode()) > BASE_KEY_BYTES:
        raise ClientError(f"A key may have at most {BASE_KEY_BYTES:,} bytes.")
    return key


def new_key() -> str:
    """Make a random key of 12 lower-case letters and digits."""
    number = secrets.randbits(64)
    letters = []
    for _ in range(BASE_KEY_CHARACTERS):
        number, place = divmod(number, len(LETTERS))
        letters.append(LETTERS[place])
    return "".join(letters)


def refuse_equal_names(raw: bytes, document: object) -> None:
    """Refuse a body in which an object names an attribute twice: one of the two values would be lost.

    Every name stands before a colon, so equal counts of colons mean that nothing was dropped. Only when they
    differ, or a colon may be written as an escape, is the body parsed once more with an eye on the pairs.
    """
    try:
        if b"\\u003" not in raw and raw.count(b":") == _count_colons(document):
            return
        json.loads(raw, object_pairs_hook=_unique)
    except RecursionError as error:
        raise _too_deep() from error


def too_large() -> ClientError:
    """Make the refusal of a body that is too large."""
    return ClientError(f"The request is larger than {BASE_BODY_BYTES:,} bytes.")


def _count_colons(value: object) -> int:
    if isinstance(value, str):
        return value.count(":")
    if isinstance(value, dict):
        return sum(1 + name.count(":") + _count_colons(each) for name, each in value.items())
    return sum(map(_count_colons, value)) if isinstance(value, list) else 0


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ClientError(f"The attribute {_named(name)} stands twice in one object.")
        found[name] = value
    return found


def _key_of(item: object) -> str:
    if not isinstance(item, dict):
        raise ClientError("An item must be an object.")
    return check_key(item["key"]) if "key" in item else new_key()


def _expires_of(item: dict[str, Any]) -> float | None:
    value = item.get(EXPIRES)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClientError(f"'{EXPIRES}' must be a number: the Unix time at which the item expires.")
    return float(value)


def _too_deep() -> ClientError:
    return ClientError(f"Values are nested deeper than {BASE_NESTING} levels.")


def _named(text: str) -> str:
    return f"'{text}'" if len(text) <= 64 else f"'{text[:64]}...'"


def _reason(error: Exception) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return text[:200]
