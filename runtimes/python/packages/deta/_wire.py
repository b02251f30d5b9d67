"""Write a request and read an answer's head, as HTTP/1.1 has them. Pure.

Our own and not `http.client`, because both the blocking and the awaited client need it, and because
`http.client` loads the whole `email` package: 20 ms that every process of a Micro would pay at its first call.
Source: RFC 9112.
"""

from __future__ import annotations

HEAD_BYTES = 64 * 1024
LINE_BYTES = 8 * 1024


class BrokenAnswer(Exception):
    """Say why bytes are no HTTP answer."""


class Head:
    """Hold an answer's status and headers (names in lower case), and how its body ends.

    `length` counts the body's bytes; None when it is `chunked`, or ends with the connection.
    """

    __slots__ = ("chunked", "headers", "keeps_alive", "length", "status")

    def __init__(self, status: int, headers: dict[str, str], version: str) -> None:
        """Take the parsed parts. Raises: BrokenAnswer when the length is no number."""
        self.status, self.headers = status, headers
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.length = None if self.chunked else _length(status, headers)
        connection = headers.get("connection", "").lower()
        framed = self.chunked or self.length is not None
        self.keeps_alive = framed and "close" not in connection and (version != "HTTP/1.0")


def write_head(method: str, target: str, headers: dict[str, str]) -> bytes:
    """Give a request's head. Raises: ValueError when a part would break out of its line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a host, key or content type cannot hold line breaks")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_head(raw: bytes) -> Head:
    """Read an answer's head, up to and with its empty line. Raises: BrokenAnswer."""
    first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\n")
    version, _, status = first.strip().partition(" ")
    code = status.strip()[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
        raise BrokenAnswer(f"the answer begins with {first.strip()[:60]!r}, which is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(code), headers, version)


def parse_chunk_size(line: bytes) -> int:
    """Read the line before a chunk. Raises: BrokenAnswer."""
    try:
        return int(line.split(b";", 1)[0].strip(), 16)
    except ValueError:
        raise BrokenAnswer(f"a chunk begins with {line[:40]!r}, which is no size") from None


def is_interim(head: Head) -> bool:
    """Tell whether another head follows this one."""
    return 100 <= head.status < 200 and head.status != 101


def _length(status: int, headers: dict[str, str]) -> int | None:
    if status in (204, 304) or 100 <= status < 200:
        return 0
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise BrokenAnswer(f"the answer's length is {text[:40]!r}")
    return int(text)
