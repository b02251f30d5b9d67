"""Send a request to a Micro from within, as the console's HTTP client and replays do.

Theory of operation
    There is no network: the request becomes an execution of exactly one Micro and can reach nothing else, whatever its target says.
    It passes the pool as any other and is recorded as any other; only the visitor's connection is missing, and what
    would be written to it is dropped. What was answered is taken from the execution's capture.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast
from urllib.parse import urlsplit

from microhost.accounts.browsers import without_ours
from microhost.errors import ClientError, MicroError
from microhost.gateway.guard import PLATFORM_PREFIXES, SPECIAL, Head, Refusal
from microhost.gateway.hosts import Place
from microhost.gateway.protocol import GatewayProtocol
from microhost.gateway.relay import HttpExecution, meta_of
from microhost.limits import REQUEST_HEAD_BYTES, REQUEST_HEADERS, REQUEST_TARGET_BYTES, VISOR_BODY_BYTES
from microhost.micros.call import Call
from microhost.micros.capture import Capture
from microhost.micros.pool import Pools
from microhost.records import (
    Apart,
    Body,
    Event,
    Exchange,
    Execution,
    Micro,
    RawExchange,
    RequestSeen,
    ResponseSeen,
    Sent,
    Wanted,
)
from microhost.settings import Settings
from microhost.storage.exchanges import read_raw

METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
NAME = re.compile(r"[!#$%&'*+\-.^`|~0-9a-z]{1,256}")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
TARGET = re.compile(r"/(?!/)[\x21\x22\x24-\x7e]*")
REFUSED_METHODS = frozenset(("CONNECT", "TRACE"))
FORWARDED = frozenset((b"accept", b"cookie", b"authorization", b"x-api-key"))
BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))


class SentExecution(HttpExecution):
    """Carry a request that has no visitor through its execution."""

    __slots__ = ("outcome",)

    def __init__(self, connection: _Nobody, micro: Micro, head: Head, meta: bytes) -> None:
        super().__init__(cast(GatewayProtocol, connection), micro, head, meta, keep_alive=True)
        self.outcome: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        if self.capture is None:
            self.capture = Capture(self._pools.visor_room, meta)

    def refused(self, error: Exception) -> None:
        """Tell the caller; what the Micro did wrong at its start is recorded."""
        if isinstance(error, MicroError):
            super().refused(error)
        elif not self.outcome.done():
            self.outcome.set_exception(error)

    def recorded(self, execution: Execution, exchange: RawExchange | None) -> None:
        """Pass the record on, with the exchange only when Visor is on."""
        assert exchange is not None
        shown = self._pools.on_execution(execution, exchange if self.micro.visor else None) or execution
        if not self.outcome.done():
            self.outcome.set_result(Sent(shown, read_raw(exchange)))


class _Nobody:
    """Stand where a visitor's connection would."""

    def __init__(self, pools: Pools) -> None:
        self.gateway = self
        self.transport = self
        self.pools = pools
        self.date = b""

    def write(self, data: bytes) -> None:
        """Drop it."""

    def answered(self, exchange: object) -> None:
        """Nothing waits behind it."""

    def cut(self) -> None:
        """Nothing is open."""

    def executor_full(self, full: bool) -> None:
        """Everything has been read already."""


class Sender:
    """Make requests to Micros."""

    def __init__(self, pools: Pools, settings: Settings) -> None:
        """Send through these pools."""
        self._pools = pools
        self._settings = settings

    async def send(self, micro: Micro, wanted: Wanted, apart: Apart | None = None) -> Sent:
        """Make a request and wait for the end of its execution; `apart` is a revision that is not live, and its environment.

        Raises: ClientError for a request that cannot be made; OverloadedError, NotFoundError, HostError.
        """
        head = read_wanted(wanted)
        url = urlsplit(self._settings.public_url)
        name = f"{micro.path}.{self._settings.domain}".encode()
        port = str(url.port or "").encode()
        head.host = b"%b:%b" % (name, port) if port else name
        head.place = Place(name, port, label=micro.path)
        meta = meta_of(head, b"127.0.0.1\x000", scheme=url.scheme.encode(), port=port)
        execution = SentExecution(_Nobody(self._pools), micro, head, meta)
        try:
            execution.body_received(wanted.body)
        except Refusal as refusal:
            raise ClientError(refusal.message, status=refusal.status) from refusal
        execution.body_complete()
        try:
            if apart is None:
                self._pools.dispatch(execution)
            else:
                await self._pools.run_apart((micro, *apart), execution, execution.outcome)
            return await execution.outcome
        except asyncio.CancelledError:
            execution.client_gone()
            raise

    async def call(self, micro: Micro, event: Event, apart: Apart | None = None) -> Sent:
        """Give an event to its handler and wait for the end. Raises: OverloadedError, NotFoundError, HostError."""
        ended: list[Execution] = []

        def record(execution: Execution, exchange: RawExchange | None, /) -> Execution:
            ended.append(self._pools.on_execution(execution, exchange) or execution)
            return ended[0]

        call = Call(micro, event, record, self._pools.visor_room)
        result: bytes | None = None
        try:
            if apart is None:
                self._pools.dispatch(call)
            else:
                await self._pools.run_apart((micro, *apart), call, call.outcome)
            result = (await call.outcome).result.encode("utf-8", "replace")
        except MicroError:
            if not ended:
                raise
        except asyncio.CancelledError:
            self._pools.forget(call)
            raise
        body = event.body.encode("utf-8", "replace")
        request = RequestSeen(
            "", event.action, body=Body(body[:VISOR_BODY_BYTES], len(body)), time=event.time
        )
        response = None
        if result is not None:
            response = ResponseSeen(200, body=Body(result[:VISOR_BODY_BYTES], len(result)))
        return Sent(ended[0], Exchange(request, response))


def read_wanted(wanted: Wanted) -> Head:
    """Give the head of a request that may be made; headers that are ours to say are left out. Raises: ClientError."""
    method = wanted.method.upper()
    if not METHOD.fullmatch(method) or method in REFUSED_METHODS:
        raise ClientError(f"method is {wanted.method[:40]!r}; write one such as GET or POST.")
    if not TARGET.fullmatch(wanted.target) or len(wanted.target) > REQUEST_TARGET_BYTES:
        raise ClientError(
            f"target is {wanted.target[:60]!r}; write a path of this Micro that begins with one '/', percent-encoded."
        )
    head = Head(method.encode(), "1.1", [])
    head.target = wanted.target.encode()
    total = 0
    for given_name, value in wanted.headers:
        name = given_name.lower()
        total += len(name) + len(value)
        if not (NAME.fullmatch(name.replace("_", "-")) and VALUE.fullmatch(value)):
            raise ClientError(f"The header {given_name[:40]!r} is none that can be sent.")
        _add(head, name.encode(), value.strip(" \t").encode("latin-1"))
    if len(head.fields) > 2 * REQUEST_HEADERS or total > REQUEST_HEAD_BYTES:
        raise ClientError(f"The headers are too many; {REQUEST_HEADERS} may be sent.", status=431)
    if wanted.body or method in BODY_METHODS:
        head.length = len(wanted.body)
    return head


def _add(head: Head, name: bytes, value: bytes) -> None:
    if b"_" in name or name.startswith(PLATFORM_PREFIXES) or (name in SPECIAL and name not in FORWARDED):
        return
    if name == b"accept":
        head.accept = value
    elif name == b"cookie":
        value = without_ours(value)
        if not value:
            return
    head.fields += (name, value)
