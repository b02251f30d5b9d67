"""Send requests over connections that stay open, for programs that await.

Theory of operation
    Each event loop has a pool of its own, made at its first call and forgotten when another loop finds it
    closed, so that an AsyncBase may be made before any loop runs and used from several. A call takes a connection for itself
    and gives it back when its answer was read whole; a call that is cancelled, that fails or that waits too
    long aborts it. What is sent a second time is decided as in `deta._connections`.
"""

from __future__ import annotations

import asyncio
import os
import time

from .._connections import (
    CONNECT_TIMEOUT_S,
    IDLE_FOR_UNREPEATABLE_S,
    Request,
    explain,
    shows_input,
    tls_context,
)
from .._wire import HEAD_BYTES, BrokenAnswer, Head, is_interim, parse_chunk_size, parse_head
from ..errors import ConnectionFailed, TimedOut

# As many calls of one loop are on the wire at once; more wait for their turn. As many connections stay open,
# or a burst of calls would connect anew for most of them.
CALLS_AT_ONCE = 64
READ_BYTES = 64 * 1024


class Connection:
    """Be one open connection; used by one call at a time."""

    __slots__ = ("reader", "used_at", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open stream."""
        self.reader, self.writer = reader, writer
        self.used_at = time.monotonic()

    def is_good(self, younger_than_s: float) -> bool:
        """Tell whether it may be used once more."""
        if self.writer.is_closing() or time.monotonic() - self.used_at >= younger_than_s:
            return False
        # what came unasked; streams have no public way to tell
        if self.reader.at_eof() or getattr(self.reader, "_buffer", b""):
            return False
        connected = self.writer.get_extra_info("socket")
        return connected is not None and not shows_input(connected)

    def abort(self) -> None:
        """Close it at once; may be called twice, also when its loop is closed."""
        try:
            self.writer.transport.abort()
        except RuntimeError:
            return


class Pool:
    """Hold the idle connections of one event loop in one process."""

    def __init__(self) -> None:
        """Begin empty; a loop runs."""
        self.pid = os.getpid()
        self.idle: dict[tuple, list[Connection]] = {}
        self.turns = asyncio.Semaphore(CALLS_AT_ONCE)

    def take(self, origin: tuple, younger_than_s: float) -> Connection | None:
        """Take the connection that was used last, None when there is no good one."""
        idle = self.idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_good(younger_than_s):
                return connection
            connection.abort()
        return None

    def give_back(self, origin: tuple, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        idle = self.idle.setdefault(origin, [])
        if len(idle) >= CALLS_AT_ONCE:
            connection.abort()
            return
        connection.used_at = time.monotonic()
        idle.append(connection)


# By loop. Bases that programs make anew for every request share it. Weak keys would not do: connections know
# their loop.
_pools: dict[asyncio.AbstractEventLoop, Pool] = {}


def _pool() -> Pool:
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None or pool.pid != os.getpid():
        for closed in [each for each in list(_pools) if each.is_closed()]:
            _pools.pop(closed, None)
        pool = _pools[loop] = Pool()
    return pool


async def exchange(endpoint, request: Request, *, timeout_s: float) -> tuple[int, bytes]:
    """Send a request; give the answer's status and body. `timeout_s` is for the whole call once connected.

    Raises: ConnectionFailed, TimedOut.
    """
    pool = _pool()
    async with pool.turns:
        younger_than_s = float("inf") if request.repeatable else IDLE_FOR_UNREPEATABLE_S
        connection = pool.take(endpoint.origin, younger_than_s)
        for last_try in (False, True):
            connection = connection or await _connect(endpoint)
            answer = await _try(connection, endpoint, request, timeout_s)
            if answer is not None:
                head, body = answer
                if head.keeps_alive:
                    pool.give_back(endpoint.origin, connection)
                else:
                    connection.abort()
                return head.status, body
            connection = None
            if last_try or not request.repeatable:
                break
    raise ConnectionFailed(f"{endpoint} closed the connection before it answered.")


async def _try(
    connection: Connection, endpoint, request: Request, timeout_s: float
) -> tuple[Head, bytes] | None:
    """Send a request and read its answer; None when the connection ended before an answer began.

    The connection is aborted unless an answer was read. Raises: ConnectionFailed, TimedOut.
    """
    late = asyncio.Event()

    def expire() -> None:
        late.set()
        connection.abort()

    timer = asyncio.get_running_loop().call_later(timeout_s, expire)
    answer = None
    try:
        answer = await _ask(connection, endpoint, request)
    except (OSError, EOFError, ValueError, BrokenAnswer) as error:
        if not late.is_set():
            raise explain(error, endpoint) from error
    finally:
        timer.cancel()
        if answer is None:
            connection.abort()
    if late.is_set():
        raise TimedOut(f"{endpoint} did not answer in {timeout_s:g} s.")
    return answer


async def _ask(connection: Connection, endpoint, request: Request) -> tuple[Head, bytes] | None:
    try:
        connection.writer.write(request.head(endpoint) + request.body)
        await connection.writer.drain()
    except OSError:
        pass  # it may have answered and closed before it read all, as for a body too large
    head = await _read_head(connection.reader)
    return None if head is None else (head, await _read_body(connection.reader, head))


async def _read_head(reader: asyncio.StreamReader) -> Head | None:
    while True:
        try:
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise BrokenAnswer("the connection ended within the answer's head") from None
            return None
        except asyncio.LimitOverrunError:
            raise BrokenAnswer(f"the answer's head is longer than {HEAD_BYTES} bytes") from None
        except OSError:
            return None
        if not is_interim(head):
            return head


async def _read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    if head.length is not None:
        return await reader.readexactly(head.length)
    if not head.chunked:
        return await reader.read()
    parts = []
    while True:
        size = parse_chunk_size(await reader.readline())
        if not size:
            break
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():  # trailers say nothing to us
        pass
    return b"".join(parts)


async def _connect(endpoint) -> Connection:
    context = tls_context() if endpoint.scheme == "https" else None
    name = endpoint.host if context else None
    failure: Exception | None = None
    for address in endpoint.addresses:
        opening = asyncio.open_connection(
            address, endpoint.port, ssl=context, server_hostname=name, limit=HEAD_BYTES
        )
        try:
            return Connection(*await asyncio.wait_for(opening, CONNECT_TIMEOUT_S))
        except (OSError, asyncio.TimeoutError) as error:
            failure = failure or error
    if isinstance(failure, asyncio.TimeoutError) and not isinstance(failure, OSError):
        raise TimedOut(f"{endpoint} did not answer in time.") from failure
    raise explain(failure, endpoint) from failure


async def close_idle(endpoint) -> None:
    """Close the running loop's idle connections to a place, and wait until they are closed."""
    for connection in _pool().idle.pop(endpoint.origin, []):
        connection.writer.close()
        try:
            await connection.writer.wait_closed()
        except OSError:
            continue
