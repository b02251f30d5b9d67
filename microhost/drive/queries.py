"""Read what stands in an address: the path's parts and the query, raw or encoded. Pure.

Source: `name`, `prefix` and `last` may arrive raw or encoded; `+` and `%20` are both a space.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from microhost.errors import ClientError
from microhost.limits import DRIVE_NAMES_PER_PAGE, DRIVE_PARTS

DIGITS = 9


def parse_query(query: bytes) -> dict[str, str]:
    """Give the parameters; of one that comes twice the first counts. Raises: ClientError for what is not UTF-8."""
    found: dict[str, str] = {}
    for field in query.split(b"&"):
        name, _, value = field.partition(b"=")
        found.setdefault(_decode(name), _decode(value))
    return found


def parse_path(raw_path: bytes) -> list[str]:
    """Give the decoded parts of a path; a `/` that came encoded stays inside its part. Raises: ClientError."""
    return [_decode(part, plus=b"+") for part in raw_path.split(b"/")]


def read_part(query: Mapping[str, str]) -> int:
    """Give a part's number. Raises: ClientError."""
    number = _number(query.get("part", ""))
    if number is None or not 1 <= number <= DRIVE_PARTS:
        raise ClientError(f"'part' must be a number from 1 to {DRIVE_PARTS}.")
    return number


def read_limit(query: Mapping[str, str]) -> int:
    """Give how many names a page may hold; more than the most is the most. Raises: ClientError."""
    text = query.get("limit", "")
    if text in ("", "null", "undefined"):
        return DRIVE_NAMES_PER_PAGE
    number = _number(text)
    if number is None or number < 1:
        raise ClientError(f"'limit' must be a number from 1 to {DRIVE_NAMES_PER_PAGE}.")
    return min(number, DRIVE_NAMES_PER_PAGE)


def read_recursive(query: Mapping[str, str]) -> bool:
    """Tell whether a listing goes below directories: it does unless told otherwise."""
    return query.get("recursive", "").lower() not in ("false", "0")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None


def _decode(text: bytes, *, plus: bytes = b" ") -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", plus)).decode()
    except UnicodeDecodeError as error:
        raise ClientError(
            "The address is not UTF-8. Encode names as UTF-8 before percent-encoding them."
        ) from error
