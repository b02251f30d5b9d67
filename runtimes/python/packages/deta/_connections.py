"""Send requests over connections that stay open, for programs that wait.

Theory of operation
    Idle connections lie in one pool for the whole process, by origin, so that Bases made anew for every
    request share them; whoever takes one has it alone until the answer is read (a download: until its last
    byte). The pool knows the process it belongs to: a forked child starts with an empty one, and the
    descriptors that it inherited are closed unused.
    A connection that shows anything to read before we asked was closed, or is out of step: it is dropped.
    A request is sent a second time, on a new connection, only when the first try broke before an answer
    began, and only if it may be repeated or was not sent as a whole.
"""

from __future__ import annotations

import io
import os
import select
import socket
import time

from ._wire import (
    HEAD_BYTES,
    LINE_BYTES,
    BrokenAnswer,
    Head,
    is_interim,
    parse_chunk_size,
    parse_head,
    write_head,
)
from .errors import ConnectionFailed, TimedOut

CONNECT_TIMEOUT_S = 10.0
IDLE_PER_ORIGIN = 8
# A request that must not run twice takes no connection that the server may be closing at this moment:
# servers close idle ones after 5 s and more.
IDLE_FOR_UNREPEATABLE_S = 4.0
READ_BYTES = 64 * 1024
# A body up to this size goes out in one write with its head.
JOINED_BYTES = 64 * 1024


class Request:
    """Hold one request. `repeatable`: running it twice does what running it once does."""

    __slots__ = ("body", "headers", "method", "path", "repeatable")

    def __init__(self, method: str, path: str, headers: dict, body: bytes = b"", *, repeatable: bool = True):
        """Take the parts; `path` follows the endpoint's prefix, percent-encoded."""
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.repeatable = repeatable

    def head(self, endpoint) -> bytes:
        """Give the bytes before the body."""
        headers = {"Host": endpoint.authority, **self.headers}
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(self.body))
        return write_head(self.method, endpoint.prefix + self.path, headers)


class Connections:
    """Keep idle connections of this process. All of it may be called from any thread."""

    def __init__(self) -> None:
        """Begin empty."""
        self._pid = os.getpid()
        self._idle: dict[tuple, list[Connection]] = {}

    def take(self, origin: tuple, younger_than_s: float) -> Connection | None:
        """Take the connection that was used last, None when there is no good one."""
        if self._pid != os.getpid():
            self.__init__()
        idle = self._idle.get(origin, ())
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was faster
                return None
            if connection.is_good(younger_than_s):
                return connection
            connection.close()
        return None

    def give_back(self, origin: tuple, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        idle = self._idle.setdefault(origin, [])
        if self._pid != os.getpid() or len(idle) >= IDLE_PER_ORIGIN:
            connection.close()
            return
        connection.used_at = time.monotonic()
        idle.append(connection)

    def close(self, origin: tuple | None = None) -> None:
        """Close the idle connections, of one origin or of all."""
        for each in list(self._idle) if origin is None else [origin]:
            for connection in self._idle.pop(each, ()):
                connection.close()


# One for the process: programs make Bases and Drives per request, and each with connections of its own
# would connect anew for every request. It opens nothing itself.
POOL = Connections()
_contexts: dict = {}


class Connection:
    """Be one open connection; used by one thread at a time."""

    __slots__ = ("reader", "reused", "socket", "used_at")

    def __init__(self, endpoint, timeout_s: float) -> None:
        """Connect. Raises: ConnectionFailed, TimedOut."""
        self.reused = False
        self.used_at = time.monotonic()
        self.socket = _connect(endpoint)
        self.socket.settimeout(timeout_s)
        self.reader = Reader(self.socket)

    def is_good(self, younger_than_s: float) -> bool:
        """Tell whether it may be used once more."""
        if time.monotonic() - self.used_at >= younger_than_s:
            return False
        return not (self.reader.holds_more() or shows_input(self.socket))

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request as a whole. Raises: OSError."""
        if len(body) <= JOINED_BYTES:
            self.socket.sendall(head + body)
        else:
            self.socket.sendall(head)
            self.socket.sendall(body)

    def read_head(self) -> Head | None:
        """Read the head of the answer, None when the connection ended before it. Raises: OSError, BrokenAnswer."""
        while True:
            raw = b""
            while not raw.endswith((b"\r\n\r\n", b"\n\n")):
                line = self.reader.readline(LINE_BYTES)
                if not line:
                    if raw:
                        raise BrokenAnswer("the connection ended within the answer's head")
                    return None
                raw += line
                if len(raw) > HEAD_BYTES:
                    raise BrokenAnswer(f"the answer's head is longer than {HEAD_BYTES} bytes")
            head = parse_head(raw)
            if not is_interim(head):
                return head

    def close(self) -> None:
        """Close it; may be called twice."""
        try:
            self.socket.close()
        except OSError:
            return

    def __del__(self) -> None:
        """Close quietly what was forgotten, such as the parent's connections in a forked child."""
        if hasattr(self, "socket"):
            self.close()


class Reader:
    """Read lines and bytes from a socket, and know what was read ahead (`makefile` does not tell)."""

    __slots__ = ("_at", "_held", "_socket")

    def __init__(self, connected: socket.socket) -> None:
        """Begin with nothing read ahead."""
        self._socket, self._held, self._at = connected, b"", 0

    def holds_more(self) -> bool:
        """Tell whether bytes came that nobody read."""
        pending = getattr(self._socket, "pending", None)
        return self._at < len(self._held) or bool(pending and pending())

    def readline(self, bytes_max: int) -> bytes:
        """Read up to and with the next line feed; without one at the end of input or after `bytes_max`."""
        while True:
            end = self._held.find(b"\n", self._at, self._at + bytes_max) + 1
            if end or len(self._held) - self._at >= bytes_max:
                break
            piece = self._socket.recv(READ_BYTES)
            self._held, self._at = self._held[self._at :] + piece, 0
            if not piece:
                end = len(self._held)
                break
        start, self._at = self._at, end or self._at + bytes_max
        return self._held[start : self._at]

    def readinto(self, view: memoryview) -> int:
        """Read what is there, at least one byte; 0 at the end of input."""
        if self._at >= len(self._held):
            return self._socket.recv_into(view)
        count = min(len(view), len(self._held) - self._at)
        view[:count] = self._held[self._at : self._at + count]
        self._at += count
        return count


class Answer(io.RawIOBase):
    """Be an answer: its `head`, and its body as a stream that gives the connection back at its end."""

    def __init__(self, head: Head, connection: Connection, endpoint) -> None:
        """Begin with an unread body."""
        super().__init__()
        self.head = head
        self._connection: Connection | None = connection
        self._endpoint = endpoint
        self._left = head.length if not head.chunked else 0
        self._first_chunk = head.chunked
        if head.length == 0:
            self._finish()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer) -> int:
        """Read what is there, at least one byte; 0 at the end. Raises: ConnectionFailed, TimedOut, BrokenAnswer."""
        if self._connection is None or not len(buffer):
            return 0
        try:
            return self._read_into(memoryview(buffer).cast("B"))
        except (OSError, BrokenAnswer) as error:
            self._drop()
            raise explain(error, self._endpoint) from error

    def read_whole(self) -> bytes:
        """Read the rest of the body; then the connection is free for others."""
        whole = self.readall()
        self.close()
        return whole or b""

    def close(self) -> None:
        """Leave the rest unread: the connection is closed with it."""
        self._drop()
        super().close()

    def _read_into(self, view: memoryview) -> int:
        reader = self._connection.reader
        if self.head.chunked and not self._left and not self._next_chunk(reader):
            return 0
        if self._left is not None:
            view = view[: self._left]
        count = reader.readinto(view)
        if self._left is None:
            if not count:
                self._drop()
            return count
        if not count:
            raise BrokenAnswer("the connection ended within the answer's body")
        self._left -= count
        if not self._left and not self.head.chunked:
            self._finish()
        return count

    def _next_chunk(self, reader) -> bool:
        """Go to the next chunk's bytes; False after the last one."""
        if not self._first_chunk:
            reader.readline(LINE_BYTES)
        self._first_chunk = False
        self._left = parse_chunk_size(reader.readline(LINE_BYTES))
        if self._left:
            return True
        while reader.readline(LINE_BYTES).strip():  # trailers say nothing to us
            pass
        self._finish()
        return False

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if self.head.keeps_alive:
            POOL.give_back(self._endpoint.origin, connection)
        else:
            connection.close()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def exchange(endpoint, request: Request, *, timeout_s: float) -> Answer:
    """Send a request and read the head of its answer; `timeout_s` is for each wait on the network.

    Raises: ConnectionFailed, TimedOut.
    """
    head = request.head(endpoint)
    younger_than_s = float("inf") if request.repeatable else IDLE_FOR_UNREPEATABLE_S
    connection = POOL.take(endpoint.origin, younger_than_s)
    if connection is not None:
        connection.socket.settimeout(timeout_s)
    for last_try in (False, True):
        connection = connection or Connection(endpoint, timeout_s)
        try:
            sent, answered = _try(connection, head, request.body)
        except BaseException as error:
            connection.close()
            if isinstance(error, (OSError, BrokenAnswer)):
                raise explain(error, endpoint) from error
            raise
        if answered is not None:
            return Answer(answered, connection, endpoint)
        connection.close()
        connection = None
        if last_try or (sent and not request.repeatable):
            break
    raise ConnectionFailed(f"{endpoint} closed the connection before it answered.")


def _try(connection: Connection, head: bytes, body: bytes) -> tuple[bool, Head | None]:
    """Send and read the answer's head; tell whether all was sent, and None when no answer began.

    Raises: OSError for a timeout, BrokenAnswer.
    """
    sent = False
    try:
        connection.send(head, body)
        sent = True
    except socket.timeout:
        raise
    except OSError:
        pass  # the server may have answered and closed before it read all, as for a body too large
    try:
        return sent, connection.read_head()
    except socket.timeout:
        raise
    except OSError:
        return sent, None


def explain(error: Exception, endpoint) -> Exception:
    """Turn what the network raised into an error of ours, in one sentence."""
    if isinstance(error, (ConnectionFailed, TimedOut)):
        return error
    # `socket.timeout` is no TimeoutError before Python 3.10
    if isinstance(error, (socket.timeout, TimeoutError)):
        return TimedOut(f"{endpoint} did not answer in time.")
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ConnectionFailed(
            f"{endpoint} has a certificate that is not trusted here; name its authority in SSL_CERT_FILE. ({text})"
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower():
        return ConnectionFailed(
            f"{endpoint} does not speak TLS; write the host as 'http://{endpoint.authority}'."
        )
    return ConnectionFailed(f"{endpoint} cannot be reached: {text or type(error).__name__}.")


def shows_input(connected: socket.socket) -> bool:
    """Tell whether a connection has something to read, its end included."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connected.fileno(), select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([connected], [], [], 0)[0])
    except (OSError, ValueError):
        return True


def tls_context():
    """Make the TLS settings once for each set of trusted certificates: SSL_CERT_FILE counts, as always in Python."""
    import ssl

    trusted = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if trusted not in _contexts:
        _contexts[trusted] = ssl.create_default_context()
    return _contexts[trusted]


def _connect(endpoint) -> socket.socket:
    failure: OSError | None = None
    for address in endpoint.addresses:
        try:
            connected = socket.create_connection((address, endpoint.port), CONNECT_TIMEOUT_S)
        except OSError as error:
            failure = failure or error
            continue
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.scheme == "https":
                return tls_context().wrap_socket(connected, server_hostname=endpoint.host)
            return connected
        except (OSError, ValueError) as error:
            connected.close()
            raise explain(error, endpoint) from error
    raise explain(failure, endpoint) from failure
