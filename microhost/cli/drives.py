"""Send files to a Drive and take them from it, with bounded memory, and list and delete them.

A file of up to 10 MB goes in one request. A larger one goes in parts of 10 MB, and becomes the Drive's file when the
last one has arrived; an upload that fails is given up, so that it leaves nothing there. Source: Deta docs, Drive > HTTP.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, Any

from microhost.cli.api import segment
from microhost.cli.failures import NOT_FOUND, CliError
from microhost.cli.products import Product

PART_BYTES = 10 * 1024 * 1024
PIECE_BYTES = 256 * 1024
NAMES_PER_DELETE = 1000
HASH = re.compile(r'"([0-9a-f]{64})"')
Heard = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Be what is sent: a stream, its size when it is known before, its type when the person says it."""

    stream: IO[bytes]
    size_bytes: int | None = None
    content_type: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Give the type's header; without one the server goes by the name."""
        return {"content-type": self.content_type} if self.content_type else {}


@dataclass(frozen=True, slots=True)
class Removal:
    """Say what was deleted, and what was not {name: reason}."""

    deleted: tuple[str, ...]
    failed: dict[str, str]


def send_file(drive: Product, name: str, source: Source, heard: Heard) -> int:
    """Make a stream the Drive's file `name`; gives its size. `heard` hears how many bytes go out.

    Raises: CliError; then the Drive is as it was before.
    """
    part = source.stream.read(PART_BYTES)
    following = source.stream.read(PART_BYTES) if len(part) == PART_BYTES else b""
    if following:
        return _send_parts(drive, name, source, _parts(part, following, source.stream), heard)
    _check_size(name, source, len(part))
    drive.send(
        "POST",
        "files",
        content=_pieces(part, heard),
        query={"name": name},
        headers={**source.headers, "content-length": str(len(part))},
    )
    return len(part)


def receive_file(drive: Product, name: str) -> contextlib.AbstractContextManager[Receiving]:
    """Ask for a file. Raises: CliError when there is none of this name."""
    return _receiving(drive, name)


class Receiving:
    """Be a file that arrives: its size, None when the server does not tell it, and its bytes."""

    def __init__(self, name: str, response: Any) -> None:
        """Read from `response`."""
        told = response.headers.get("content-length", "")
        self.size_bytes = int(told) if told.isdecimal() else None
        self._name = name
        self._response = response

    def parts(self) -> Iterator[bytes]:
        """Give the bytes. Raises: CliError at their end when they are not what the Drive holds."""
        digest, size = sha256(), 0
        for part in self._response.iter_bytes(PIECE_BYTES):
            digest.update(part)
            size += len(part)
            yield part
        if self.size_bytes not in (None, size):
            raise CliError(
                f"Of '{self._name}' came {size:,} bytes; it has {self.size_bytes:,}.", "Get it again."
            )
        told = HASH.fullmatch(self._response.headers.get("etag", ""))
        if told and told[1] != digest.hexdigest():
            raise CliError(f"'{self._name}' has not arrived as the Drive holds it.", "Get it again.")


def list_names(drive: Product, prefix: str = "", *, recursive: bool = True) -> Iterator[str]:
    """Give names in order, page after page. Raises: CliError."""
    last = None
    while True:
        query = {
            "prefix": prefix,
            "recursive": "true" if recursive else "false",
            **({"last": last} if last is not None else {}),
        }
        content = drive.call("GET", "files", query=query).content
        yield from content["names"]
        before, last = last, (content.get("paging") or {}).get("last")
        if not last:
            return
        if last == before:
            raise CliError(
                f"The server gives the page after {last!r} again and again.", "Not every name was read."
            )


def delete_files(drive: Product, names: Sequence[str]) -> Iterator[Removal]:
    """Delete files, 1000 a call; gives what each call has done. Raises: CliError."""
    for start in range(0, len(names), NAMES_PER_DELETE):
        content = drive.call(
            "DELETE", "files", body={"names": list(names[start : start + NAMES_PER_DELETE])}
        ).content
        yield Removal(tuple(content.get("deleted") or ()), dict(content.get("failed") or {}))


@contextlib.contextmanager
def _receiving(drive: Product, name: str) -> Iterator[Receiving]:
    with drive.open(
        "GET", "files/download", query={"name": name}, headers={"accept-encoding": "identity"}, also=(404,)
    ) as response:
        if response.status_code == 404:
            response.read()
            raise CliError(
                f"The Drive '{drive.name}' has no file '{name}'.",
                f"See which there are: deta drive ls {drive.name}",
                exit_code=NOT_FOUND,
                status=404,
            )
        yield Receiving(name, response)


def _send_parts(drive: Product, name: str, source: Source, parts: Iterator[bytes], heard: Heard) -> int:
    upload = segment(drive.send("POST", "uploads", query={"name": name}).content["upload_id"])
    size = 0
    try:
        for number, part in enumerate(parts, start=1):
            drive.send(
                "POST",
                f"uploads/{upload}/parts",
                content=_pieces(part, heard),
                query={"name": name, "part": str(number)},
                headers={**source.headers, "content-length": str(len(part))},
            )
            size += len(part)
        _check_size(name, source, size)
        drive.send("PATCH", f"uploads/{upload}", query={"name": name})
    except BaseException:
        # what cannot be given up now is swept by the host; the failure itself is what is told
        with contextlib.suppress(CliError):
            drive.send("DELETE", f"uploads/{upload}", query={"name": name})
        raise
    return size


def _parts(first: bytes, second: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    yield first
    part = second
    while part:
        yield part
        part = stream.read(PART_BYTES)


def _pieces(part: bytes, heard: Heard) -> Iterator[bytes]:
    view = memoryview(part)
    for start in range(0, len(part), PIECE_BYTES):
        piece = bytes(view[start : start + PIECE_BYTES])
        yield piece
        heard(len(piece))


def _check_size(name: str, source: Source, size: int) -> None:
    if source.size_bytes not in (None, size):
        raise CliError(
            f"'{name}' changed while it was read: {size:,} bytes came of {source.size_bytes:,}.",
            "Put it again when nobody writes to it.",
        )
