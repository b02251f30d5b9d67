"""Decide which bytes a request for a range gets. Pure, and linear in the length of the header.

Source: RFC 9110, 13.1.5, 14.1.2, 14.2: what is malformed, or asks for several ranges, may be answered whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
HEADER_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Hold the first byte and the number of bytes."""

    start: int
    size_bytes: int


class UnsatisfiableError(Exception):
    """Report a range that has no byte of the file: 416."""


def choose(header: str | None, size: int) -> Span | None:
    """Give what a Range header asks of a file of `size` bytes, None for the whole file. Raises: UnsatisfiableError."""
    match = RANGE.fullmatch(header) if header and len(header) <= HEADER_CHARACTERS else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        count = min(int(last), size)
        if count == 0:
            raise UnsatisfiableError
        return Span(size - count, count)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise UnsatisfiableError
    return Span(start, min(int(last), size - 1) - start + 1 if last else size - start)


def matches(header: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match header names this ETag (the weak comparison)."""
    if header is None:
        return False
    return header.strip() == "*" or any(tag.strip().removeprefix("W/") == etag for tag in header.split(","))
