"""Store and read files: `Drive`. Source: Deta docs, Drive > SDK, Drive > HTTP."""

from __future__ import annotations

import io

from ._connections import Answer, Request
from ._endpoints import escape
from ._items import from_json
from .errors import ConnectionFailed, DetaError, refusal
from .service import _Service

__all__ = ["UPLOAD_CHUNK_SIZE", "Drive", "DriveStreamingBody", "_Drive"]

# Bytes of each part but the last one.
UPLOAD_CHUNK_SIZE = 10 * 1024 * 1024
TIMEOUT_S = 180.0
NAMES_MAX = 1000
READ_BYTES = 64 * 1024


class DriveStreamingBody:
    """Read a file while it comes. Raises ConnectionFailed when it ends before its end, never a part as a whole."""

    def __init__(self, stream) -> None:
        """Take any binary stream."""
        self._stream = io.BufferedReader(stream, READ_BYTES) if isinstance(stream, io.RawIOBase) else stream

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._stream.closed

    def read(self, size: int | None = None) -> bytes:
        """Read all, or up to `size` bytes; b"" at the end."""
        return self._stream.read(-1 if size is None else size)

    def iter_chunks(self, chunk_size: int = 1024):
        """Give chunks of `chunk_size` bytes, the last one shorter."""
        while True:
            chunk = self._stream.read(chunk_size)
            if not chunk:
                return
            yield chunk

    def iter_lines(self, chunk_size: int = 1024):
        """Give lines with their b"\\n"; `chunk_size` bytes at least are held for one that is longer."""
        while True:
            line = self._stream.readline()
            if not line:
                return
            yield line

    def close(self) -> None:
        """Stop reading."""
        self._stream.close()

    def __iter__(self):
        """Give chunks."""
        return self.iter_chunks()

    def __enter__(self) -> DriveStreamingBody:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self.close()


class _Drive(_Service):
    """Store and read files of one Drive."""

    def __init__(self, name: str, project_key: str, project_id: str, host: str | None = None) -> None:
        """Open it; nothing is sent. Raises: AssertionError without a name."""
        super().__init__("Drive", name, project_key, project_id, host)

    def get(self, name: str) -> DriveStreamingBody | None:
        """Open a file to read, None when there is none. Raises: AssertionError without a name, ServiceError."""
        _must(name, "No name provided")
        answer = self._send(self._json_request("GET", f"/files/download?name={escape(name)}"), TIMEOUT_S)
        if answer.head.status == 200:
            return DriveStreamingBody(answer)
        return self._not_sent(answer)

    def put(self, name: str, data=None, *, path: str | None = None, content_type: str | None = None) -> str:
        """Store a file, replacing the one with its name; give the name.

        Takes `data` (text, bytes, or an open file, which is closed then) or the `path` of a local file.
        Without `content_type` the host goes by the name.

        Raises: AssertionError for neither or both, ServiceError, and what reading the file raises.
        """
        _must(name, "No name provided")
        _must(path is not None or data is not None, "No data or path provided")
        _must(path is None or data is None, "Both path and data provided")
        with open(path, "rb") if path is not None else _open(data) as stream:
            self._upload(name, stream, content_type)
        return name

    def delete(self, name: str) -> str:
        """Delete a file, if it is there; give its name. Raises: ServiceError."""
        _must(name, "Name not provided or empty")
        failed = self.delete_many([name]).get("failed") or {}
        if failed:
            said = next(iter(failed.values()))
            raise refusal(self._where, 200, {"errors": [f"Failed to delete '{name}': {said}"]})
        return name

    def delete_many(self, names: list[str]) -> dict:
        """Delete 1 to 1000 files; give {"deleted": [name], "failed": {name: reason}}. Raises: ServiceError."""
        _must(names, "Names is empty")
        names = list(names)
        _must(len(names) <= NAMES_MAX, f"More than {NAMES_MAX} names to delete")
        document = self._document(self._json_request("DELETE", "/files", {"names": names}))
        return {"deleted": [], "failed": {}, **{k: v for k, v in document.items() if v is not None}}

    def list(self, limit: int = 1000, prefix: str | None = None, last: str | None = None) -> dict:
        """Give {"names": [...], "paging": {"size", "last"}}, in the order of the names; no "last" at the end.

        Raises: ServiceError.
        """
        path = f"/files?limit={limit}"
        path += f"&prefix={escape(prefix)}" if prefix else ""
        path += f"&last={escape(last)}" if last else ""
        return self._document(self._json_request("GET", path))

    def _upload(self, name: str, stream, content_type: str | None) -> None:
        query = f"?name={escape(name)}"
        # begun twice, the first one is only never finished
        begun = self._document(self._json_request("POST", "/uploads" + query))
        upload = f"/uploads/{escape(begun['upload_id'])}"
        try:
            for number, part in enumerate(_split(stream), start=1):
                target = f"{self.base_path}{upload}/parts{query}&part={number}"
                self._document(Request("POST", target, self._headers(content_type), part))
            self._document(self._json_request("PATCH", upload + query, repeatable=False))
        except BaseException:
            self._abort(upload + query)
            raise

    def _abort(self, path: str) -> None:
        try:
            self._call(self._json_request("DELETE", path), TIMEOUT_S)
        except DetaError:
            return  # what failed before is what the program should hear

    def _document(self, request: Request) -> dict:
        status, document = self._call(request, TIMEOUT_S)
        if status == 404:
            raise refusal(self._where, 404, {"errors": ["Not found"]})
        return document

    def _not_sent(self, answer: Answer) -> None:
        """Read why a download was not sent; None for a file that is not there."""
        status, document = answer.head.status, from_json(answer.read_whole())
        if status == 404 and isinstance(document, dict):
            return
        if status < 300:
            raise ConnectionFailed(f"{self._where}: the answer ({status}) is no file.")
        raise refusal(self._where, status, document)


# The class had this name before version 1.0.
Drive = _Drive


def _must(held: object, words: str) -> None:
    # not an `assert`, which `python -O` leaves out
    if not held:
        raise AssertionError(words)


def _open(data):
    """Give a stream of what was given. Raises: TypeError."""
    if isinstance(data, str):
        data = data.encode("utf-8")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return io.BytesIO(data)
    read = getattr(data, "read", None)
    if read is None or getattr(getattr(read, "__code__", None), "co_flags", 0) & 0x80:
        raise TypeError(
            f"data is text, bytes or an open file, not {type(data).__name__}; of an upload, pass its '.file'."
        )
    return _Closing(data)


class _Closing:
    """Close a program's stream after its upload, also one that is no context manager."""

    def __init__(self, stream) -> None:
        self._stream = stream

    def __enter__(self):
        return self._stream

    def __exit__(self, *_: object) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


def _split(stream):
    """Give a stream's bytes in parts of 10 MiB, the last one shorter; none of an empty stream. Text becomes UTF-8."""
    held = bytearray()
    while True:
        piece = stream.read(UPLOAD_CHUNK_SIZE)
        if piece is None:
            raise BlockingIOError("data is a non-blocking stream that has nothing to read now")
        if not piece:
            break
        piece = piece.encode("utf-8") if isinstance(piece, str) else piece
        if not held and len(piece) == UPLOAD_CHUNK_SIZE:
            yield piece
            continue
        held += piece
        while len(held) >= UPLOAD_CHUNK_SIZE:
            yield bytes(held[:UPLOAD_CHUNK_SIZE])
            del held[:UPLOAD_CHUNK_SIZE]
    if held:
        yield bytes(held)
