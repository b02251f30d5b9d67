"""Send files: whole or a range, piece by piece, as fast as the reader takes them.

Theory of operation
    A piece that is in memory already is read on the event loop (the system is told not to wait for the disk); any other
    one in a thread. A piece is read when the one before has been taken, so a slow reader costs one piece.
    The headers make a file harmless wherever it is opened: the type is never guessed from the content, nothing in it
    runs, and what could run is saved and not shown.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from microhost.drive import ranges
from microhost.drive.messages import Answer, Header, Receive, Scope, Send, find_header, in_thread, send_answer
from microhost.drive.names import disposition
from microhost.limits import DRIVE_SEND_BYTES
from microhost.storage.drive_records import Place, StoredFile
from microhost.storage.drives import Drives
from microhost.storage.project_drives import Opened, ProjectDrives


async def send_file(
    drives: Drives, project: ProjectDrives, place: Place, scope: Scope, channel: tuple[Receive, Send]
) -> None:
    """Answer GET or HEAD.

    Gives:   200, or 206 for one range, or 304 when `If-None-Match` names the file's ETag
    Refuses: 404, 416
    Source:  Deta docs, Drive > HTTP > Download File; RFC 9110
    """
    opened = await in_thread(drives.threads, project.open, place)
    try:
        await _send_opened(drives, opened, scope, channel)
    finally:
        await in_thread(drives.threads, project.release, opened)


async def _send_opened(drives: Drives, opened: Opened, scope: Scope, channel: tuple[Receive, Send]) -> None:
    receive, send = channel
    file, asked = opened.file, scope["headers"]
    etag = f'"{file.sha256.hex()}"'
    headers = _headers(file, etag)
    if ranges.matches(find_header(asked, b"if-none-match"), etag):
        await _send_head(send, 304, headers)
        return
    try:
        span = _choose(asked, etag, file.size_bytes)
    except ranges.UnsatisfiableError:
        await _refuse_range(send, file.size_bytes)
        return
    status = 200 if span is None else 206
    if span is None:
        span = ranges.Span(0, file.size_bytes)
    else:
        last = span.start + span.size_bytes - 1
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, last, file.size_bytes)))
    headers.append((b"content-length", b"%d" % span.size_bytes))
    if scope["method"] == "HEAD":
        await _send_head(send, status, headers)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if opened.whole is not None:
        body = opened.whole[span.start : span.start + span.size_bytes]
        await send({"type": "http.response.body", "body": body})
        return
    await _send_span(drives, opened, span, receive, send)


def _choose(asked: list[Header], etag: str, size: int) -> ranges.Span | None:
    if_range = find_header(asked, b"if-range")
    if if_range is not None and if_range.strip() != etag:
        return None
    return ranges.choose(find_header(asked, b"range"), size)


async def _send_span(drives: Drives, opened: Opened, span: ranges.Span, receive: Receive, send: Send) -> None:
    """Send the bytes; stop when the reader is gone."""
    gone = asyncio.ensure_future(_wait_until_gone(receive))
    offset, end = span.start, span.start + span.size_bytes
    try:
        while offset < end and not gone.done():
            size = min(DRIVE_SEND_BYTES, end - offset)
            piece = opened.reader.read_cached(offset, size)
            if not piece:
                piece = await in_thread(drives.threads, opened.reader.read, offset, size)
            offset += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": offset < end})
            await asyncio.sleep(0)  # others get their turn even while this reader takes all that is sent
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(file: StoredFile, etag: str) -> list[Header]:
    return [
        (b"content-type", file.content_type.encode("ascii")),
        (b"accept-ranges", b"bytes"),
        (b"etag", etag.encode()),
        (b"content-disposition", disposition(file.place.name, file.content_type).encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cache-control", b"private, no-cache"),
    ]


async def _send_head(send: Send, status: int, headers: list[Header]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse_range(send: Send, size: int) -> None:
    message = f"The file has {size} bytes; the range asks for none of them."
    await send_answer(send, Answer(416, {"errors": [message]}, [(b"content-range", b"bytes */%d" % size)]))
