"""Carry one HTTP request through a WSGI application. Source: PEP 3333."""

from __future__ import annotations

import io
import re
import sys
from time import perf_counter
from typing import Callable, Optional
from urllib.parse import unquote_to_bytes

from .asgi import NUL, REQUEST_FIELDS, join_head
from .faults import Fault, fault_frame, from_exception
from .frames import BODY_BYTES, COMPLETE, END, ENDED, MORE, BrokenChannel, frame
from .output import flush_output

STATUS = re.compile(r"[2-9][0-9][0-9]( |$)")
BASE_ENVIRON = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}
SPECIAL = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_variables: dict = dict(SPECIAL)


def make_environ(fields: list, stream) -> dict:
    """Build the environ of a `Q` meta that was split at NUL.

    Raises: BrokenChannel when the fields are not those of the contract.
    """
    if len(fields) < REQUEST_FIELDS or len(fields) % 2 == 0:
        raise BrokenChannel("a request has the wrong number of fields")
    path, _, query = fields[2].partition(b"?")
    environ = BASE_ENVIRON.copy()
    environ["REQUEST_METHOD"] = fields[1].decode("latin-1")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["REQUEST_URI"] = environ["RAW_URI"] = fields[2].decode("latin-1")
    environ["wsgi.url_scheme"] = fields[3].decode("latin-1")
    environ["SERVER_PROTOCOL"] = "HTTP/" + fields[4].decode("latin-1")
    environ["REMOTE_ADDR"] = fields[5].decode("latin-1")
    environ["REMOTE_PORT"] = fields[6].decode("latin-1")
    environ["SERVER_NAME"] = fields[7].decode("latin-1")
    environ["SERVER_PORT"] = fields[8].decode("latin-1")
    environ["wsgi.input"] = stream
    environ["wsgi.errors"] = sys.stderr
    _add_headers(environ, fields)
    return environ


def _add_headers(environ: dict, fields: list) -> None:
    for index in range(REQUEST_FIELDS, len(fields), 2):
        name = fields[index]
        variable = _variables.get(name) or _name_variable(name)
        value = fields[index + 1].decode("latin-1")
        if variable in environ:
            separator = "; " if variable == "HTTP_COOKIE" else ","
            value = environ[variable] + separator + value
        environ[variable] = value


def _name_variable(name: bytes) -> str:
    variable = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    # names come from visitors: remember a bounded number of them
    if len(_variables) < 500:
        _variables[name] = variable
    return variable


class BodyStream(io.RawIOBase):
    """Read a request's body from `D` frames as they come."""

    def __init__(self, read_frame: Callable[[], tuple], body: bytes) -> None:
        self._read_frame = read_frame
        self._chunk = memoryview(body)
        self._complete = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer) -> int:
        """Fill `buffer` with what has come; waits when there is nothing."""
        while not self._chunk and not self._complete:
            meta, body = self._read_frame()
            if meta[:1] == b"D":
                self._chunk = memoryview(body)
                self._complete = meta == b"D1"
            elif meta == b"X":
                self._complete = True
                raise ConnectionResetError("the client went away before its request was complete")
            else:
                raise BrokenChannel(f"a frame {meta[:1]!r} does not belong to this request")
        count = min(len(buffer), len(self._chunk))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count


class WsgiExecution:
    """Be `start_response` and `write` of one request, and its end."""

    def __init__(self, executor, meta: bytes, body: bytes) -> None:
        fields = meta.split(NUL)
        if fields[0] == b"Q1":
            stream: io.IOBase = io.BytesIO(body)
        else:
            stream = io.BufferedReader(BodyStream(executor.reader.read, body), 64 * 1024)  # type: ignore[type-var]
        self._app = executor.app
        self._write = executor.writer.write
        self._holding = executor.holding
        self._environ = make_environ(fields, stream)
        self._head: Optional[bytes] = None
        self._length: Optional[int] = None
        self._started = False
        self._sent_bytes = 0
        self._held: Optional[tuple] = None
        self._completed_at = 0.0

    def run(self) -> None:
        """Call the application, send its answer and the execution's end.

        Raises: BrokenChannel when the host is gone.
        """
        fault: Optional[Fault] = None
        try:
            self._answer()
        except BrokenChannel:
            raise
        except BaseException as error:  # the executor lives on; the host hears of it
            fault = from_exception(error, "a request")
        flush_output()
        if self._completed_at:
            self._holding.learn(self._completed_at)
        if fault is not None:
            self._end_with_fault(fault)
        elif self._held is not None:
            self._write(self._take_held(ENDED))
        else:
            self._write(END)

    def _end_with_fault(self, fault: Fault) -> None:
        if self._started:
            print(fault.traceback or fault.message, file=sys.stderr, flush=True)
        data = self._take_held(COMPLETE) if self._held is not None else b""
        self._write(data + fault_frame("execution", fault) + END)

    def _answer(self) -> None:
        parts = self._app(self._environ, self._start_response)
        try:
            self._send_parts(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def _send_parts(self, parts) -> None:
        single = isinstance(parts, (list, tuple)) and len(parts) == 1
        for part in parts:
            if type(part) is not bytes:
                raise Fault(
                    "bad_response",
                    f"The application gave a piece of type '{type(part).__name__}', not bytes.",
                )
            if not part and not single:
                continue
            if single or self._completes(part):
                self._hold_last(part)
            else:
                self._send_piece(part)
        if not self._completed_at:
            self._hold_last(b"")

    def _completes(self, part: bytes) -> bool:
        return (
            self._length is not None
            and self._sent_bytes + len(part) >= self._length
            and not self._completed_at
        )

    def _start_response(self, status: str, headers: list, exc_info: Optional[tuple] = None) -> Callable:
        if exc_info is not None:
            try:
                if self._started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None or self._started:
            raise RuntimeError("start_response() was called twice without exc_info.")
        self._head = _make_head(status, headers)
        self._length = _find_length(headers)
        return self._write_piece

    def _write_piece(self, data: bytes) -> None:
        if type(data) is not bytes:
            raise Fault("bad_response", f"write() was given '{type(data).__name__}', not bytes.")
        self._send_piece(data)

    def _meta(self, flag: bytes) -> bytes:
        if self._started:
            return b"d" + flag
        if self._head is None:
            raise Fault("no_response", "The application returned without calling start_response().")
        self._started = True
        return b"h" + flag + self._head

    def _send_piece(self, data: bytes) -> None:
        if self._completed_at:
            raise Fault("bad_response", "The application sent more than its Content-Length.")
        self._sent_bytes += len(data)
        for start in range(0, len(data) or 1, BODY_BYTES):
            self._write(frame(self._meta(MORE), data[start : start + BODY_BYTES]))

    def _hold_last(self, data: bytes) -> None:
        if len(data) > BODY_BYTES:
            last = (len(data) - 1) // BODY_BYTES * BODY_BYTES
            self._send_piece(data[:last])
            data = data[last:]
        self._sent_bytes += len(data)
        self._held = (self._meta(b""), data)
        self._completed_at = perf_counter()
        if not self._holding.allowed:
            self._write(self._take_held(COMPLETE))

    def _take_held(self, flag: bytes) -> bytes:
        meta, body = self._held  # type: ignore[misc]
        self._held = None
        return frame(meta[:1] + flag + meta[1:], body)


def _make_head(status: object, headers: object) -> bytes:
    if not isinstance(status, str) or not STATUS.match(status):
        raise Fault("bad_response", f"The response's status is {status!r}; it must look like '200 OK'.")
    try:
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]  # type: ignore[attr-defined]
    except (TypeError, ValueError, AttributeError):
        raise Fault("bad_response", "The response's headers must be pairs of text (Latin-1).") from None
    return join_head(int(status[:3]), pairs)


def _find_length(headers: list) -> Optional[int]:
    for name, value in headers:
        if name.lower() == "content-length" and value.isdigit():
            return int(value)
    return None
