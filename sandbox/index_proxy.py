"""Let an install reach the package indexes of the operator and nothing else: an HTTP proxy in a network of its own.

Theory of operation
    Installing runs programs of others (uv, and where builds are allowed the code of packages), so it gets a network with
    a loopback and nothing else. One socket listens there (`open_network`); whoever is accepted on it is served by a
    process that lives in the machine's network, with the installer's rights (`start`). An index may be at a private
    address: it is the operator's word that counts, so hosts are compared by name and port, before a name is looked up.
    A host that a requirement's own URL names is reached at public addresses only (router.py), since a tenant wrote it.

    Indexes keep their files at other hosts, too. When one is asked for that is not listed, the pages of the wanted
    packages are fetched from the indexes, once; the hosts of their links are let through from then on.

    A client's bytes are parsed up to the end of one head, then only passed on. With an HTTP proxy of the operator's
    everything goes to that one.

Sources: RFC 9110 sections 9.3.6 (CONNECT) and 7.2, RFC 9112 section 3.2.2 (absolute form), PEP 503.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import encodings.idna  # noqa: F401  the process that needs it may not read the interpreter's files any more
import os
import re
import signal
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import NoReturn
from urllib.parse import unquote, urljoin, urlsplit

from sandbox import addresses, kernel, plumbing, router, users

HEAD_BYTES = 16_384
HEAD_S = 10.0
CONNECT_S = 10.0
CONNECTIONS = 128
PAGE_BYTES = 4 * 1024 * 1024
PAGE_S = 10.0
PAGES = 8
CHUNK = 65_536
COMPLAINT_BYTES = 512
FORBIDDEN, UNREACHABLE = "403 Forbidden", "502 Bad Gateway"
PORTS = {"http": 80, "https": 443}
_LINK = re.compile(rb"""(https?)://([A-Za-z0-9.-]+)(?::(\d{1,5}))?/""")
_HOP_BY_HOP = re.compile(rb"(?i)^(proxy-[a-z-]+|connection|keep-alive):")

Place = tuple[str, int]  # a host's name, in lower case, and a port


@dataclass
class Permit:
    """Say what may be reached: `indexes` are URLs, `names` the packages whose pages name further hosts."""

    indexes: Sequence[str]
    names: Sequence[str] = ()
    urls: Sequence[str] = ()  # that requirements name: a tenant's word
    upstream: str = ""  # the operator's proxy, as a URL
    places: frozenset[Place] = field(init=False)
    public_places: frozenset[Place] = field(init=False)

    def __post_init__(self) -> None:
        """Find the places of the addresses."""
        self.places, self.public_places = (
            frozenset(place for each in urls if (place := place_of(each)))
            for urls in (self.indexes, self.urls)
        )


def place_of(url: str) -> Place | None:
    """Give a URL's host and port; None when it has none. Pure."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname.lower(), port) if parts.hostname and port and parts.scheme in PORTS else None


def links_of(page: bytes) -> set[Place]:
    """Give the places that a page's absolute links lead to. Pure."""
    return {
        (host.decode().lower(), int(port) if port else PORTS[scheme.decode()])
        for scheme, host, port in _LINK.findall(page)
    }


def proxy_of(environment: Mapping[str, str]) -> str:
    """Give the operator's proxy for the index, empty without one. Pure."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        if environment.get(name):
            return environment[name]
    return ""


def open_network() -> tuple[int, socket.socket]:
    """Make a network with a loopback alone; gives its namespace and a socket that listens on a port of it.

    A process of its own makes them and hands them over: whoever is root of a user namespace alone could not return
    to the machine's network. Raises: OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        pid = os.fork()
        if pid == 0:
            _hand_over_network(theirs)
        theirs.close()
        try:
            said, descriptors, _, _ = socket.recv_fds(ours, COMPLAINT_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        finally:
            os.waitpid(pid, 0)
    if len(descriptors) != 2:
        raise OSError(said.decode(errors="replace") or "the process that makes it ended early")
    network, listener = descriptors
    return network, socket.socket(fileno=listener)


def _hand_over_network(to: socket.socket) -> NoReturn:
    try:
        kernel.leave_network()
        plumbing.run_ip(["link set lo up"])
        with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener:
            socket.send_fds(to, [b"."], [plumbing.own_network(), listener.fileno()])
    except OSError as error:
        to.send(str(error).encode()[:COMPLAINT_BYTES])
    finally:
        os._exit(0)


@contextlib.contextmanager
def running(listener: socket.socket, permit: Permit, *, uid: int | None) -> Iterator[None]:
    """Serve `listener` in a process of user `uid` until the end, or until the thread that called ends."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(uid, parent)
            asyncio.run(_serve(listener, permit))
        finally:
            os._exit(1)
    listener.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _become(uid: int | None, parent: int) -> None:
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(each, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that goes must not take the proxy with it
    if uid is not None:
        users.change_user(uid)
    kernel.die_with_parent(parent)


async def _serve(listener: socket.socket, permit: Permit) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONNECTIONS // 8))
    proxy = _Proxy(permit)
    server = await asyncio.start_server(proxy.converse, sock=listener, limit=HEAD_BYTES)
    await server.serve_forever()


class RefusedError(Exception):
    """Tell a client, by a status, why nothing is passed on."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Proxy:
    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self._count = 0
        self._learning: asyncio.Task[set[Place]] | None = None

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._count >= CONNECTIONS:
            writer.transport.abort()
            return
        self._count += 1
        try:
            await self._pass_on(reader, writer)
        except RefusedError as error:
            body = f"{error}\n".encode()
            writer.write(
                f"HTTP/1.1 {error.status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                + body
            )
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # one of the two has gone
        finally:
            self._count -= 1
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise RefusedError("400 Bad Request", "This is no request of HTTP/1.1.")
        method, target = words[0], words[1].decode("latin-1")
        is_tunnel = method == b"CONNECT"
        if is_tunnel and not re.fullmatch(r"[^/@?#]+:\d+", target):
            raise RefusedError("400 Bad Request", "CONNECT is for a host and a port.")
        place = place_of(f"https://{target}" if is_tunnel else target)
        if place is None:
            raise RefusedError(
                "400 Bad Request", "A proxy is asked for a host with CONNECT or by a whole address."
            )
        other_reader, other = await self._connect(await self._judge(place))
        try:
            if self._permit.upstream:
                other.write(_add_credentials(head, self._permit.upstream))
            elif is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                other.write(_to_origin_form(method, target, fields))
            await _relay(reader, writer, other_reader, other)
        finally:
            other.close()

    async def _judge(self, place: Place) -> Place:
        """Give where a place may be reached. Raises: RefusedError."""
        if place in self._permit.places:
            return place
        if place in self._permit.public_places:
            return await self._find_public(place)
        if self._learning is None:
            self._learning = asyncio.create_task(asyncio.to_thread(learn, self._permit))
        if place in await asyncio.shield(self._learning):
            return place
        raise RefusedError(
            FORBIDDEN, f"Installing reaches the package indexes of this host only, not {place[0]}."
        )

    async def _find_public(self, place: Place) -> Place:
        host, port = place
        if self._permit.upstream:
            raise RefusedError(FORBIDDEN, f"Behind the operator's proxy {host} cannot be told to be public.")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise RefusedError(UNREACHABLE, f"{host} cannot be found: {error}") from error
        for *_, address in found:
            if is_public(str(address[0])):
                return (str(address[0]), port)
        raise RefusedError(FORBIDDEN, f"{host} is at no public address.")

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        upstream = self._permit.upstream
        if upstream:
            found = place_of(upstream)
            if found is None or urlsplit(upstream).scheme != "http":
                raise RefusedError(UNREACHABLE, "The operator's proxy is not at an http:// address.")
            place = found
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(*place)
        except (OSError, TimeoutError) as error:
            raise RefusedError(UNREACHABLE, f"{place[0]} cannot be reached: {error}") from error


def is_public(address: str) -> bool:
    """Tell whether an address is one that a Micro with `public` egress reaches."""
    found = ip_address(address.partition("%")[0])
    barred = router.BARRED4 if found.version == 4 else router.BARRED6
    return found not in addresses.own_addresses() and not any(found in ip_network(each) for each in barred)


def learn(permit: Permit) -> set[Place]:
    """Fetch the pages of the wanted packages and give the places that their links lead to; blocks."""
    found: set[Place] = set()
    proxies = {"http": permit.upstream, "https": permit.upstream} if permit.upstream else {}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    )
    for index in permit.indexes:
        for name in permit.names[:PAGES]:
            with contextlib.suppress(OSError, ValueError):
                request = _request_for(urljoin(f"{index.rstrip('/')}/", f"{name}/"))
                with opener.open(request, timeout=PAGE_S) as page:
                    found |= links_of(page.read(PAGE_BYTES))
    return found


def _request_for(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    headers = {"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5"}
    if parts.username is not None:
        headers["Authorization"] = _basic(url)
        url = parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]).geturl()
    return urllib.request.Request(url, headers=headers)  # noqa: S310  of http and https alone: `index_urls`


def _basic(url: str) -> str:
    parts = urlsplit(url)
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _add_credentials(head: bytes, upstream: str) -> bytes:
    if urlsplit(upstream).username is None:
        return head
    return head[:-2] + f"proxy-authorization: {_basic(upstream)}\r\n\r\n".encode()


def _to_origin_form(method: bytes, target: str, fields: bytes) -> bytes:
    """Write a head as the origin server expects it, for one request alone."""
    parts = urlsplit(target)
    path = parts._replace(scheme="", netloc="").geturl() or "/"
    kept = [each for each in fields.split(b"\r\n") if each and not _HOP_BY_HOP.match(each)]
    lines = [b"%s %s HTTP/1.1" % (method, path.encode("latin-1")), *kept, b"connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other_reader: asyncio.StreamReader,
    other: asyncio.StreamWriter,
) -> None:
    """Pass bytes on in both ways until the answering side ends."""
    sending = asyncio.create_task(_copy(reader, other))
    try:
        await _copy(other_reader, writer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
