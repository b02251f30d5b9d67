"""TLS: which certificate a name gets, when it is renewed, and what an unfinished handshake may cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509

from microhost.errors import HostError
from microhost.gateway.tls import CONTEXTS_KEPT, Certificates, SecureListener, read_custom
from microhost.limits import CERTIFICATE_DAYS, CERTIFICATE_RENEW_DAYS
from microhost.storage.authority import Authority, Identity, open_authority

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run on the loop that the host runs on."""
    return "asyncio", {"loop_factory": uvloop.new_event_loop}


class Clock:
    """Tell the real time and so many days more."""

    days = 0.0

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock) -> Authority:
    return open_authority(tmp_path / "data", "localhost", clock=clock)


def names_served(certificates: Certificates, roots: bytes, name: str | None) -> set[str]:
    """Shake hands in memory; give the names of the certificate that was shown."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cadata=roots.decode())
    context.check_hostname = False
    client = context.wrap_bio(client_in, client_out, server_hostname=name)
    server = certificates.context.wrap_bio(client_out, client_in, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return set(names.value.get_values_for_type(x509.DNSName))


def test_each_name_gets_a_certificate_that_clients_accept_for_it(authority: Authority, clock: Clock) -> None:
    certificates = Certificates(authority, domain="localhost", clock=clock)
    roots = authority.certificate
    for name in (None, "localhost", "database.deta.sh", "127.0.0.1", "unknown.example", "a.b.localhost"):
        assert {"localhost", "database.deta.sh", "drive.deta.sh"} <= names_served(certificates, roots, name)
    assert names_served(certificates, roots, "Blog.localhost") == {"blog.localhost"}


def test_a_domain_with_a_dot_gets_one_certificate_for_all(tmp_path: Path, clock: Clock) -> None:
    authority = open_authority(tmp_path, "example.org", clock=clock)
    certificates = Certificates(authority, domain="example.org", clock=clock)
    assert certificates.find("a.example.org") is certificates.find("b.example.org") is certificates.find(None)


def test_a_certificate_is_kept_until_its_renewal(authority: Authority, clock: Clock) -> None:
    certificates = Certificates(authority, domain="localhost", clock=clock)
    for name in ("localhost", "blog.localhost"):
        clock.days = 0
        first = certificates.find(name)
        clock.days = CERTIFICATE_DAYS - CERTIFICATE_RENEW_DAYS - 1
        assert certificates.find(name) is first
        clock.days += 2
        assert certificates.find(name) is not first


def test_many_names_are_not_remembered_for_ever(authority: Authority, clock: Clock) -> None:
    certificates = Certificates(authority, domain="localhost", clock=clock)
    for number in range(CONTEXTS_KEPT + 20):
        certificates.find(f"m{number}.localhost")
    assert len(certificates._kept) == CONTEXTS_KEPT


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a.localhost", "a b.localhost", "x" * 300 + ".localhost", "\u00e9"]
)
def test_any_name_gets_some_certificate(authority: Authority, clock: Clock, name: str) -> None:
    certificates = Certificates(authority, domain="localhost", clock=clock)
    assert certificates.find(name) is certificates.find(None)


# The operator's own


def custom_of(tmp_path: Path, clock: Clock) -> tuple[Authority, Identity]:
    theirs = open_authority(tmp_path / "theirs", "example.net", clock=clock)
    return theirs, theirs.issue(["example.net", "*.example.net"])


def test_the_operators_certificate_is_for_its_names_and_ours_for_the_others(
    tmp_path: Path, authority: Authority, clock: Clock
) -> None:
    theirs, pair = custom_of(tmp_path, clock)
    custom = read_custom(pair.chain, pair.key)
    certificates = Certificates(authority, domain="localhost", clock=clock, custom=custom)
    for name in ("example.net", "WWW.example.net"):
        assert names_served(certificates, theirs.certificate, name) == {"example.net", "*.example.net"}
    for name in ("localhost", None, "a.b.example.net", "notexample.net"):
        assert "localhost" in names_served(certificates, authority.certificate, name)


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(
    tmp_path: Path, authority: Authority, clock: Clock
) -> None:
    theirs, pair = custom_of(tmp_path, clock)
    for key in (theirs.issue(["example.net"]).key, b"", b"nonsense"):
        with pytest.raises(HostError, match="belong together"):
            Certificates(authority, domain="localhost", clock=clock, custom=read_custom(pair.chain, key))
    with pytest.raises(HostError, match="PEM"):
        read_custom(b"nonsense", pair.key)


# Accepting


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Served:
    """An echo behind TLS on a free port."""

    def __init__(self, authority: Authority, clock: Clock, **limits: float) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        context = Certificates(authority, domain="localhost", clock=clock).context
        self.listener = SecureListener(listener, context, Echo, **limits)  # type: ignore[arg-type]
        self.roots = ssl.create_default_context(cadata=authority.certificate.decode())

    async def echo(self, text: bytes) -> bytes:
        """Connect, send, read and close."""
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.roots, server_hostname="localhost"
            )
            writer.write(text)
            answer = await reader.readexactly(len(text))
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
            return answer

    async def silent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and say nothing."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def served(authority: Authority, clock: Clock) -> AsyncIterator[Served]:
    served = Served(authority, clock, handshake_s=0.3, handshakes=5)
    yield served
    served.listener.close()
    await served.listener.wait_closed()


async def test_it_serves_and_a_failed_handshake_costs_nobody_anything(served: Served) -> None:
    assert await served.echo(b"x" * 100_000) == b"x" * 100_000
    reader, writer = await served.silent()
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    writer.close()
    assert await served.echo(b"hello") == b"hello"


async def test_a_slow_handshake_is_cut_off(served: Served) -> None:
    begun = time.monotonic()
    reader, writer = await served.silent()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert time.monotonic() - begun < 3
    writer.close()


async def test_unfinished_handshakes_make_way_and_leave_no_descriptor(
    authority: Authority, clock: Clock
) -> None:
    served = Served(authority, clock, handshake_s=60.0, handshakes=5)
    before = len(os.listdir("/proc/self/fd"))
    silent = [await served.silent() for _ in range(40)]
    assert await served.echo(b"hello") == b"hello"
    async with asyncio.timeout(5):
        for reader, _ in silent[:30]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    for _, writer in silent:
        writer.close()
    served.listener.close()
    await served.listener.wait_closed()
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_closing_twice_changes_nothing(served: Served) -> None:
    served.listener.close()
    served.listener.close()
    await served.listener.wait_closed()
    with pytest.raises(OSError):
        await served.silent()
