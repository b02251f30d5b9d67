"""ISO-15 for installs: what runs in one reaches the package indexes and nothing else."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import socketserver
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sandbox import index_proxy, interpreters
from sandbox.index import index_urls
from sandbox.index_proxy import Permit, is_public, links_of, place_of, proxy_of
from sandbox.install import InstallError, InstallPlace, InstallRequest, install

pytestmark = pytest.mark.root

UID = 213_400
BACKEND = """
import json, os, socket, zipfile
from urllib.parse import urlsplit

def direct(host, port):
    try:
        with socket.create_connection((host, port), 2) as one:
            one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            return one.recv(100).decode()
    except OSError as error:
        return type(error).__name__

def by_proxy(host, port):
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    with socket.create_connection((proxy.hostname, proxy.port), 5) as one:
        one.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n".encode())
        return one.recv(100).decode().split("\\r\\n")[0]

def get_requires_for_build_wheel(config=None):
    return []

def build_wheel(target, config=None, metadata=None):
    told = {
        "direct": [direct("127.0.0.1", PORT), direct("169.254.169.254", 80), direct("8.8.8.8", 53)],
        "proxy": [by_proxy("127.0.0.1", PORT), by_proxy("169.254.169.254", 80), by_proxy("localhost", PORT)],
    }
    info = "curious-1.0.dist-info"
    with zipfile.ZipFile(f"{target}/curious-1.0-py3-none-any.whl", "w") as packed:
        packed.writestr("curious.json", json.dumps(told))
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: curious\\nVersion: 1.0\\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        packed.writestr(f"{info}/RECORD", "")
    return "curious-1.0-py3-none-any.whl"
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "curious"
version = "1.0"
"""


def serve(pages: Mapping[str, bytes]) -> Iterator[int]:
    """Serve pages over HTTP on a free port of loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = pages.get(self.path)
            self.send_response(200 if found is not None else 404)
            self.send_header(
                "Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream"
            )
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


served = contextlib.contextmanager(serve)


def wheel(name: str) -> bytes:
    content = BytesIO()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr(f"{name}.py", "VALUE = 1\n")
        packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return content.getvalue()


def source(backend: str) -> bytes:
    content = BytesIO()
    files = {"backend.py": backend, "pyproject.toml": PROJECT}
    files["PKG-INFO"] = "Metadata-Version: 2.1\nName: curious\nVersion: 1.0\n"
    with tarfile.open(fileobj=content, mode="w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(f"curious-1.0/{name}")
            info.size = len(text)
            packed.addfile(info, BytesIO(text.encode()))
    return content.getvalue()


def set_up(tmp_path: Path, requirements: str, *, builds_allowed: bool = False, **environment: str) -> Path:
    data = tmp_path / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    place = InstallPlace(data, "1", uid=UID, environment=environment, deadline_s=60.0)
    request = InstallRequest(
        requirements.encode(), interpreters.default(interpreters.find()), builds_allowed=builds_allowed
    )
    with open(os.devnull, "wb") as log:
        return install(request, place, log=log.fileno()).path


def test_an_index_at_a_private_address_that_keeps_its_files_elsewhere_is_reached(tmp_path: Path) -> None:
    with served({"/files/tiny-1.0-py3-none-any.whl": wheel("tiny")}) as files:
        page = f'<a href="http://127.0.0.1:{files}/files/tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>'
        with served({"/simple/tiny/": page.encode()}) as index:
            made = set_up(tmp_path, "tiny", UV_DEFAULT_INDEX=f"http://127.0.0.1:{index}/simple")
    assert (made / "tiny.py").read_text() == "VALUE = 1\n"
    assert not children(), "the proxy is still there"


def curious(tmp_path: Path) -> dict[str, list[str]]:
    """Install a package whose build tries what it can reach; gives what it saw."""
    with served({"/": b"secret of the machine"}) as other:
        package = source(BACKEND.replace("PORT", str(other)))
        page = b'<a href="/files/curious-1.0.tar.gz">curious-1.0.tar.gz</a>'
        with served({"/simple/curious/": page, "/files/curious-1.0.tar.gz": package}) as index:
            at = f"http://127.0.0.1:{index}/simple"
            made = set_up(tmp_path, "curious", builds_allowed=True, UV_DEFAULT_INDEX=at)
    return dict(json.loads((made / "curious.json").read_text()))


def test_the_code_of_a_build_reaches_nothing_else(tmp_path: Path) -> None:
    told = curious(tmp_path)
    assert told["proxy"] == ["HTTP/1.1 403 Forbidden"] * 3
    assert not [each for each in told["direct"] if "HTTP" in each or "secret" in each], told


def test_with_a_careless_proxy_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def judge(self: Any, place: index_proxy.Place) -> index_proxy.Place:
        return place

    monkeypatch.setattr(index_proxy._Proxy, "_judge", judge)
    told = curious(tmp_path)
    assert told["proxy"][0] == "HTTP/1.1 200 Connection established"


def test_a_requirement_s_own_address_must_be_public(tmp_path: Path) -> None:
    with served({"/tiny-1.0-py3-none-any.whl": wheel("tiny")}) as near:
        own = f"https://127.0.0.1:{near}/tiny-1.0-py3-none-any.whl"
        with pytest.raises(InstallError, match="cannot be reached: installing reaches the package indexes"):
            set_up(
                tmp_path,
                f"tiny @ {own}",
                builds_allowed=True,
                UV_DEFAULT_INDEX=f"http://localhost:{near}/simple",
                UV_HTTP_RETRIES="0",
            )
        spelled = ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254"]
        permit = Permit([], urls=[f"https://{each}:{near}/" for each in spelled])
        assert len(permit.public_places) == len(spelled)
        with proxied(permit) as port:
            for each in spelled:
                said = say(port, f"CONNECT {each}:{near} HTTP/1.1\r\n\r\n".encode())
                assert said.startswith(b"HTTP/1.1 403 ") and b"at no public address" in said, said


@contextlib.contextmanager
def proxied(permit: Permit) -> Iterator[int]:
    """Run a proxy on loopback itself."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with index_proxy.running(listener, permit, uid=UID):
        yield port


def say(port: int, *parts: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        for each in parts:
            one.sendall(each)
        said = b""
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                said += data
        return said


def test_heads_that_are_none_are_refused_and_the_next_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_proxy, "HEAD_S", 0.5)
    with served({"/x": b"content"}) as index, proxied(Permit([f"http://127.0.0.1:{index}/simple"])) as port:
        for head in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"junk\r\n\r\n",
            b"CONNECT http://a/ HTTP/1.1\r\n\r\n",
            b"CONNECT user@127.0.0.1:22 HTTP/1.1\r\n\r\n",
            b"GET ftp://a/ HTTP/1.1\r\n\r\n",
            b"GET http://[::1 HTTP/1.1\r\n\r\n",
            b"GET http://a:99999/ HTTP/1.1\r\n\r\n",
        ):
            assert say(port, head).startswith(b"HTTP/1.1 400 "), head
        assert say(port, b"x" * 40_000) == b""
        assert say(port, b"GET http://127.0.0.1") == b"", "a head that does not end is cut off"
        own = f"GET http://127.0.0.1:{index}".encode()
        assert say(port, own + b"/x HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n").endswith(
            b"\r\ncontent"
        )
        for place in (b"127.0.0.1:22", b"127.0.0.2:%d" % index):
            said = say(port, b"CONNECT " + place + b" HTTP/1.1\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 403 ") and b"package indexes of this host only" in said, place


def test_a_client_that_goes_takes_nobody_with_it() -> None:
    """The caller's own worker is killed by SIGPIPE (slots.py, builds.py); the proxy must not be."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with (
            served({"/x": b"y" * 4_000_000}) as index,
            proxied(Permit([f"http://127.0.0.1:{index}/"])) as port,
        ):
            request = f"GET http://127.0.0.1:{index}/x HTTP/1.1\r\nHost: a\r\n\r\n".encode()
            signal.signal(signal.SIGPIPE, before)
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), 5) as one:
                    one.sendall(request)
            assert len(say(port, request)) > 4_000_000
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_all_goes_to_the_operators_proxy_when_there_is_one() -> None:
    heads: list[bytes] = []

    class Upstream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.rfile.readline()
            heads.append(head)
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nfrom upstream")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Upstream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"http://me:a%20b@127.0.0.1:{server.server_address[1]}"
        with proxied(Permit(["https://index.example/simple"], upstream=upstream)) as port:
            assert say(port, b"CONNECT index.example:443 HTTP/1.1\r\nHost: x\r\n\r\n").endswith(
                b"from upstream"
            )
            assert say(port, b"CONNECT other.example:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")
        server.shutdown()
    assert (
        b"CONNECT index.example:443 HTTP/1.1\r\nHost: x\r\nproxy-authorization: Basic bWU6YSBi\r\n\r\n"
        in heads
    )


def test_addresses_are_read() -> None:
    assert place_of("https://Index.Example/simple") == ("index.example", 443)
    assert place_of("http://u:p@a:81/x") == ("a", 81)
    for none in ("file:///x", "https://", "https://a:x/", "a", "https://[::1", "ssh://a/"):
        assert place_of(none) is None, none
    page = b'<a href="https://Files.example/a"> "url": "http://b.example:81/c" <a href="/local">'
    assert links_of(page) == {("files.example", 443), ("b.example", 81)}
    settings = {
        "UV_INDEX": "mine=https://u:p@a/simple http://b/",
        "UV_FIND_LINKS": "/x",
        "UV_INDEX_MINE_USERNAME": "http://c/",
    }
    assert index_urls(settings, "# x\n--index-url https://d/simple\n--find-links /y\n") == (
        "https://u:p@a/simple",
        "http://b/",
        "https://d/simple",
    )
    assert proxy_of({"http_proxy": "http://a", "HTTPS_PROXY": "http://b"}) == "http://b"
    assert is_public("8.8.8.8") and is_public("2606:4700::1111")
    for near in (
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "fd00:ec2::254",
    ):
        assert not is_public(near), near


def children() -> list[str]:
    """Name this process's children that are copies of it."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ours = Path("/proc/self/cmdline").read_bytes()
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes() == ours]
