"""What a sandbox hears when it asks for a name: through its own two sockets, from real name servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from microhost.errors import HostError
from microhost.gateway import resolver as resolver_module
from microhost.gateway.resolver import QUERIES_MAX, STREAMS_MAX, Resolver, Upstreams, is_listed
from microhost.records import Egress

pytestmark = [pytest.mark.anyio, pytest.mark.root]  # port 53

SERVER, DEAD = "127.87.0.1", "127.87.0.2"
RECORDS = {
    "example.org.": ["8.8.8.8", "2606:4700::1111"],
    "api.example.org.": ["1.1.1.1"],
    "inside.example.org.": ["192.168.7.1"],
    "big.example.org.": [f"8.8.{each}.1" for each in range(200)],
}


class Upstream(asyncio.DatagramProtocol):
    """Be a name server: RECORDS, a time to live of 77 s, and nothing that does not fit into a datagram."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting = self.most = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.may_answer.wait()
        self.waiting -= 1
        self.transport.sendto(self.reply(data).to_wire(max_size=1232, prefer_truncation=True), addr)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack(">H", await reader.readexactly(2))
        wire = self.reply(await reader.readexactly(size)).to_wire(max_size=65_535)
        writer.write(struct.pack(">H", len(wire)) + wire)
        writer.close()

    def reply(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text().lower()
        self.asked.append(name)
        reply = dns.message.make_response(query, recursion_available=True)
        if name not in RECORDS:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        kind = {dns.rdatatype.A: "A", dns.rdatatype.AAAA: "AAAA"}.get(question.rdtype)
        found = [each for each in RECORDS.get(name, []) if (":" in each) == (kind == "AAAA")]
        if kind and found:
            reply.answer.append(dns.rrset.from_text(question.name, 77, "IN", kind, *found))
        return reply


class Warden:
    """Note what is permitted."""

    def __init__(self) -> None:
        self.permitted: list[tuple[str, list[str], int]] = []

    async def permit(self, sandbox: str, addresses: list[str], ttl_s: int) -> None:
        self.permitted.append((sandbox, addresses, ttl_s))


class Sandbox:
    """Be the two sockets of a sandbox, and who asks there."""

    def __init__(self) -> None:
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        for each in (self.stream, self.datagrams):
            each.setblocking(False)
        self.stream_port = self.stream.getsockname()[1]
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(self.datagrams.getsockname())
        self.client.setblocking(False)

    async def send(self, wire: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, wire)

    async def hear(self, within_s: float = 5.0) -> dns.message.Message:
        async with asyncio.timeout(within_s):
            return dns.message.from_wire(await asyncio.get_running_loop().sock_recv(self.client, 65_535))

    async def ask(self, name: str, kind: str = "A", **more: Any) -> dns.message.Message:
        query = dns.message.make_query(name, kind, **more)
        await self.send(query.to_wire())
        answer = await self.hear()
        assert answer.id == query.id and answer.question == query.question
        return answer

    async def ask_stream(self, name: str) -> dns.message.Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.stream_port)
        wire = dns.message.make_query(name, "A").to_wire()
        writer.write(struct.pack(">H", len(wire)) + wire)
        (size,) = struct.unpack(">H", await reader.readexactly(2))
        answer = dns.message.from_wire(await reader.readexactly(size))
        writer.close()
        return answer


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Upstream, (SERVER, 53))
    streams = await asyncio.start_server(server.converse, SERVER, 53)
    yield server
    streams.close()
    transport.close()


@contextlib.asynccontextmanager
async def serving(
    egress: Egress | None, upstreams: str = SERVER
) -> AsyncIterator[tuple[Resolver, Sandbox, Warden]]:
    warden, sandbox = Warden(), Sandbox()
    resolver = Resolver(warden, egress_of=lambda micro_id: egress, upstreams=upstreams)
    resolver.open("s1", "m1", sandbox.stream, sandbox.datagrams)
    try:
        yield resolver, sandbox, warden
    finally:
        resolver.stop()
        sandbox.client.close()


def addresses(answer: dns.message.Message) -> list[str]:
    return [record.address for each in answer.answer for record in each]


async def test_a_name_is_resolved_by_datagram_and_by_stream(upstream: Upstream) -> None:
    async with serving("public") as (_, sandbox, warden):
        assert addresses(await sandbox.ask("Example.ORG")) == ["8.8.8.8"]
        assert addresses(await sandbox.ask("example.org", "AAAA")) == ["2606:4700::1111"]
        assert addresses(await sandbox.ask_stream("example.org")) == ["8.8.8.8"]
        missing = await sandbox.ask("nobody.example.org")
        assert missing.rcode() == dns.rcode.NXDOMAIN and not missing.options
        empty = await sandbox.ask("example.org", "MX")
        assert empty.rcode() == dns.rcode.NOERROR and not empty.answer
        assert not warden.permitted


async def test_what_does_not_fit_into_a_datagram_is_had_by_stream(upstream: Upstream) -> None:
    async with serving("public") as (_, sandbox, _):
        cut = await sandbox.ask("big.example.org")
        assert cut.flags & dns.flags.TC
        assert len(addresses(await sandbox.ask_stream("big.example.org"))) == 200


async def test_names_off_the_list_do_not_exist_and_nobody_is_asked(upstream: Upstream) -> None:
    async with serving(("api.example.org",)) as (_, sandbox, warden):
        refused = await sandbox.ask("example.org", use_edns=0)
        assert refused.rcode() == dns.rcode.NXDOMAIN
        (option,) = refused.options
        assert isinstance(option, dns.edns.EDEOption) and option.code == dns.edns.EDECode.BLOCKED
        assert (await sandbox.ask("api.example.org.evil.net")).rcode() == dns.rcode.NXDOMAIN
        assert (await sandbox.ask("notapi.example.org")).rcode() == dns.rcode.NXDOMAIN
        assert upstream.asked == [] and warden.permitted == []
        assert addresses(await sandbox.ask("API.example.org")) == ["1.1.1.1"]
        assert warden.permitted == [("s1", ["1.1.1.1"], 77)]


async def test_a_micro_with_no_egress_or_none_at_all_is_told_no_name(upstream: Upstream) -> None:
    for egress in ("none", None):
        async with serving(egress) as (_, sandbox, _):
            assert (await sandbox.ask("example.org")).rcode() == dns.rcode.NXDOMAIN
    assert upstream.asked == []


async def test_bytes_that_are_no_question_change_nothing(upstream: Upstream) -> None:
    async with serving("public") as (_, sandbox, _):
        good = dns.message.make_query("example.org", "A")
        pointers = good.to_wire()[:12] + b"\xc0\x0c" * 8
        for junk in (b"", b"\0", b"\xff" * 512, good.to_wire()[:20], pointers, good.to_wire() + b"tail"):
            await sandbox.send(junk)
        answer = dns.message.make_response(good)
        await sandbox.send(answer.to_wire())
        assert addresses(await sandbox.ask("example.org")) == ["8.8.8.8"]
        update = dns.message.make_query("example.org", "A")
        update.set_opcode(dns.opcode.NOTIFY)
        await sandbox.send(update.to_wire())
        assert (await sandbox.hear()).rcode() == dns.rcode.NOTIMP
        twice = dns.message.make_query("example.org", "A")
        twice.question = twice.question * 2
        await sandbox.send(twice.to_wire())
        assert (await sandbox.hear()).rcode() in (dns.rcode.REFUSED, dns.rcode.FORMERR)
        chaos = dns.message.make_query("version.bind", "TXT", "CH")
        await sandbox.send(chaos.to_wire())
        assert (await sandbox.hear()).rcode() == dns.rcode.REFUSED
        assert set(upstream.asked) == {"example.org."}


async def test_a_name_server_that_is_silent_is_passed_over(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "UPSTREAM_S", 0.2)
    async with serving("public", f"{DEAD},{SERVER}") as (_, sandbox, _):
        assert addresses(await sandbox.ask("example.org")) == ["8.8.8.8"]
    async with serving("public", DEAD) as (_, sandbox, _):
        assert (await sandbox.ask("example.org")).rcode() == dns.rcode.SERVFAIL


async def test_a_flood_is_answered_a_bounded_number_at_a_time(upstream: Upstream) -> None:
    upstream.may_answer.clear()
    async with serving("public") as (_, sandbox, _):
        for number in range(1_000):
            with contextlib.suppress(BlockingIOError):
                sandbox.client.send(dns.message.make_query(f"x{number}.example.org", "A").to_wire())
        await asyncio.sleep(0.5)
        assert 0 < upstream.most <= QUERIES_MAX
        upstream.may_answer.set()
        heard = 0
        with contextlib.suppress(TimeoutError):
            while True:
                await sandbox.hear(within_s=1.0)
                heard += 1
        assert heard >= QUERIES_MAX
        assert addresses(await sandbox.ask("example.org")) == ["8.8.8.8"]


async def test_idle_streams_are_bounded_and_do_not_shut_others_out_for_good(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "STREAM_IDLE_S", 0.5)
    async with serving("public") as (_, sandbox, _):
        held = [await asyncio.open_connection("127.0.0.1", sandbox.stream_port) for _ in range(STREAMS_MAX)]
        await asyncio.sleep(0.1)
        with pytest.raises((EOFError, OSError)):
            await sandbox.ask_stream("example.org")
        await asyncio.sleep(0.8)
        assert addresses(await sandbox.ask_stream("example.org")) == ["8.8.8.8"]
        for _, writer in held:
            writer.close()


async def test_a_successor_answers_after_a_handover(upstream: Upstream) -> None:
    async with serving("public") as (resolver, sandbox, _):
        successor_sockets = sandbox.stream.dup(), sandbox.datagrams.dup()
        assert addresses(await sandbox.ask("example.org")) == ["8.8.8.8"]
        resolver.leave("s1")
        resolver.leave("s1")
        other = Resolver(Warden(), egress_of=lambda micro_id: "public", upstreams=SERVER)
        other.open("s1", "m1", *successor_sockets)
        assert addresses(await sandbox.ask("example.org")) == ["8.8.8.8"]
        assert addresses(await sandbox.ask_stream("example.org")) == ["8.8.8.8"]
        other.close("s1")
        other.close("s1")


def test_a_list_names_itself_and_with_a_star_what_is_below() -> None:
    listed = ("api.example.org", "*.example.net")
    assert is_listed("api.example.org", listed)
    assert is_listed("a.example.net", listed) and is_listed("b.a.example.net", listed)
    for name in ("example.org", "x.api.example.org", "example.net", "badexample.net", "", "net"):
        assert not is_listed(name, listed), name


def test_name_servers_are_addresses(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Upstreams(" 1.1.1.1, ::1 ").addresses() == ["1.1.1.1", "::1"]
    with pytest.raises(HostError, match=r"name_servers.*dns\.example"):
        Upstreams("1.1.1.1,dns.example")
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(resolver_module, "RESOLV_CONF", file)
    following = Upstreams("")
    assert following.addresses() == []
    file.write_text("# nameserver 9.9.9.9\nnameserver 8.8.8.8\nsearch a\nnameserver 8.8.4.4\n")
    assert following.addresses() == ["8.8.8.8", "8.8.4.4"]
