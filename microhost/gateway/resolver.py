"""Answer the DNS queries of sandboxes, through the sockets that stand inside their networks.

Theory of operation
    A sandbox's only name server is a door (sandbox/doors.py): the socket proves whose query it is. A query is parsed, asked anew
    of the machine's own name servers with an id and a port of ours, and the answer is given in the sandbox's
    words; nothing of its bytes is passed on. What an allow-list does not name does not exist (NXDOMAIN, with RFC 8914's
    "blocked" for who understands it): a program fails at once and for good. The addresses of a name that it does
    list are permitted in the router (sandbox/networks.py) before the answer goes out; so the first connection succeeds.

    This is no guard: a sandbox that asks elsewhere, or knows an address, is held by the router all the same.

    A sandbox asks QUERIES_MAX at a time and about READS_PER_TURN each REST_S; what is more waits in its own kernel buffer, and
    is lost there when that is full, as a datagram may be.

Sources: RFC 1035, RFC 2308, RFC 6891, RFC 7766, RFC 8914; dnspython's documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from microhost.errors import HostError
from microhost.records import Egress
from sandbox.client import WardenError

QUERIES_MAX = 32  # of one sandbox at a time
STREAMS_MAX = 8
READS_PER_TURN = 16
REST_S = 0.05
UPSTREAM_S = 2.0
STREAM_IDLE_S = 10.0
DATAGRAM_BYTES = 4096
PAYLOAD_BYTES = 1232  # what passes everywhere unfragmented
ANSWER_ADDRESSES = 32
RESOLV_CONF = Path("/etc/resolv.conf")

_log = logging.getLogger("microhost.resolver")


class Warden(Protocol):
    """See of the warden what is needed here."""

    async def permit(self, sandbox: str, addresses: list[str], ttl_s: int) -> None:
        """Let a sandbox reach addresses for a while."""


class Resolver:
    """Answer for every sandbox. `open` and `close` may meet in any order."""

    def __init__(
        self, warden: Warden, *, egress_of: Callable[[str], Egress | None], upstreams: str = ""
    ) -> None:
        """Ask `egress_of` for a Micro's policy; `upstreams` are addresses with commas, empty for /etc/resolv.conf's."""
        self.warden = warden
        self._egress_of = egress_of
        self._upstreams = Upstreams(upstreams)
        self._desks: dict[str, _Desk] = {}

    def open(self, sandbox: str, micro_id: str, stream: socket.socket, datagrams: socket.socket) -> None:
        """Take a sandbox's sockets over and answer; a Micro that is gone gets no names."""
        egress = self._egress_of(micro_id) or "none"
        self.close(sandbox)
        self._desks[sandbox] = _Desk(self, sandbox, egress, stream, datagrams)

    def close(self, sandbox: str) -> None:
        """Answer no more; calling twice changes nothing."""
        desk = self._desks.pop(sandbox, None)
        if desk is not None:
            desk.close()

    def leave(self, sandbox: str) -> None:
        """Let a successor read from now on, and answer what was asked."""
        if sandbox in self._desks:
            self._desks[sandbox].leave()

    def stop(self) -> None:
        """Close all."""
        for sandbox in list(self._desks):
            self.close(sandbox)

    async def forward(self, query: dns.message.Message) -> dns.message.Message:
        """Ask the machine's name servers, one after the other; SERVFAIL when none answers."""
        question = query.question[0]
        asked = dns.message.make_query(question.name, question.rdtype, use_edns=0, payload=PAYLOAD_BYTES)
        for address in self._upstreams.addresses():
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(asked, address, timeout=UPSTREAM_S)
            except (OSError, EOFError, dns.exception.DNSException) as error:
                _log.debug("name server %s: %s", address, error)
                continue
            return answer
        return _refusal(query, dns.rcode.SERVFAIL)


class Upstreams:
    """Know the machine's name servers, also when they change."""

    def __init__(self, chosen: str) -> None:
        """Take the operator's, or watch RESOLV_CONF. Raises: HostError for what is no address."""
        try:
            self._chosen = [str(ip_address(each.strip())) for each in chosen.split(",") if each.strip()]
        except ValueError as error:
            raise HostError(f"settings: name_servers: {error}") from error
        self._read_at = -1
        self._found: list[str] = []

    def addresses(self) -> list[str]:
        """Give them in their order."""
        if self._chosen:
            return self._chosen
        with contextlib.suppress(OSError):
            changed_at = RESOLV_CONF.stat().st_mtime_ns
            if changed_at != self._read_at:
                words = [each.split() for each in RESOLV_CONF.read_text(errors="replace").splitlines()]
                self._found = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
                self._read_at = changed_at
        return self._found


def is_listed(name: str, listed: tuple[str, ...]) -> bool:
    """Tell whether a name, in lower case and without its last dot, is one of a list; `*.x` lists every name below `x`."""
    parents = [name[at + 1 :] for at, character in enumerate(name) if character == "."]
    return name in listed or any(f"*.{each}" in listed for each in parents)


class _Desk:
    """Answer one sandbox."""

    def __init__(
        self,
        resolver: Resolver,
        sandbox: str,
        egress: Egress,
        stream: socket.socket,
        datagrams: socket.socket,
    ) -> None:
        self._resolver = resolver
        self._sandbox = sandbox
        self._egress = egress
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._streams: set[asyncio.StreamWriter] = set()
        self._datagrams = datagrams
        self._is_reading = True
        self._server: asyncio.Server | None = None
        self._loop.add_reader(datagrams.fileno(), self._read)
        self._spawn(self._serve(stream))

    def leave(self) -> None:
        """Read no more."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._datagrams.fileno())
        if self._server is not None:
            self._server.close()

    def close(self) -> None:
        """End at once."""
        self.leave()
        for each in self._streams:
            each.transport.abort()
        for task in self._tasks:
            task.cancel()
        self._datagrams.close()

    # --- datagrams

    def _read(self) -> None:
        for _ in range(READS_PER_TURN):
            if self._count >= QUERIES_MAX:
                break
            try:
                wire, client = self._datagrams.recvfrom(DATAGRAM_BYTES)
            except OSError:  # none is left, or the network is ending
                return
            self._spawn(self._answer_datagram(wire, client))
        self._loop.remove_reader(self._datagrams.fileno())
        self._loop.call_later(REST_S, self._go_on)

    def _go_on(self) -> None:
        if self._is_reading:
            self._loop.add_reader(self._datagrams.fileno(), self._read)

    async def _answer_datagram(self, wire: bytes, client: Any) -> None:
        answer = await self._answer(wire, is_datagram=True)
        if answer is not None:
            with contextlib.suppress(OSError):
                self._datagrams.sendto(answer, client)

    # --- streams

    async def _serve(self, stream: socket.socket) -> None:
        server = await asyncio.start_server(self._converse, sock=stream)
        if self._is_reading:
            self._server = server
        else:
            server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._streams) >= STREAMS_MAX:
            writer.transport.abort()
            return
        self._streams.add(writer)
        try:
            while self._is_reading:
                async with asyncio.timeout(STREAM_IDLE_S):
                    (size,) = struct.unpack(">H", await reader.readexactly(2))
                    wire = await reader.readexactly(size)
                    answer = await self._answer(wire, is_datagram=False)
                    if answer is None:
                        break
                    writer.write(struct.pack(">H", len(answer)) + answer)
                    await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # the tenant's business
        finally:
            self._streams.discard(writer)
            writer.transport.abort() if not self._is_reading else writer.close()

    # --- answers

    async def _answer(self, wire: bytes, *, is_datagram: bool) -> bytes | None:
        """Give the answer to a query as it is sent; None to what deserves none."""
        try:
            query = dns.message.from_wire(wire)
        except Exception:  # whatever a tenant's bytes do to the parser, it was no query
            return None
        if query.flags & dns.flags.QR:
            return None
        answer = await self._decide(query)
        answer.id = query.id
        size = min(max(query.payload, 512), PAYLOAD_BYTES) if is_datagram else 65_535
        try:
            return answer.to_wire(max_size=size, prefer_truncation=True)
        except dns.exception.DNSException as error:
            _log.debug("an answer could not be written: %s", error)
            return _refusal(query, dns.rcode.SERVFAIL).to_wire()

    async def _decide(self, query: dns.message.Message) -> dns.message.Message:
        if query.opcode() != dns.opcode.QUERY:
            return _refusal(query, dns.rcode.NOTIMP)
        if len(query.question) != 1 or query.question[0].rdclass != dns.rdataclass.IN:
            return _refusal(query, dns.rcode.REFUSED)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        if self._egress == "none" or (
            not isinstance(self._egress, str) and not is_listed(name, self._egress)
        ):
            return _refusal(query, dns.rcode.NXDOMAIN)
        found = await self._resolver.forward(query)
        if not isinstance(self._egress, str):
            await self._permit(found)
        return _reply(query, found)

    async def _permit(self, found: dns.message.Message) -> None:
        sets = [each for each in found.answer if each.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)]
        addresses = [str(record.address) for each in sets for record in each][:ANSWER_ADDRESSES]
        if addresses:
            try:
                await self._resolver.warden.permit(self._sandbox, addresses, min(each.ttl for each in sets))
            except WardenError as error:
                _log.warning("addresses could not be permitted: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._count += 1
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._count -= 1
        self._tasks.discard(task)


def _reply(query: dns.message.Message, found: dns.message.Message) -> dns.message.Message:
    """Put what an upstream said into an answer to the sandbox's own query."""
    reply = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD_BYTES)
    reply.set_rcode(found.rcode())
    reply.answer, reply.authority = found.answer, found.authority
    return reply


def _refusal(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD_BYTES)
    reply.set_rcode(code)
    if code == dns.rcode.NXDOMAIN and query.edns >= 0:
        blocked = dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, "the Micro's egress does not list this name")
        reply.use_edns(0, payload=PAYLOAD_BYTES, options=[blocked])
    return reply
