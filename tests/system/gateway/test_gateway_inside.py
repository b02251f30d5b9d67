"""What reaches the host through a sandbox's doors: two products, the same guards, bounded in number."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from microhost.gateway import inside as inside_module
from microhost.gateway.inside import Inside
from microhost.gateway.resolver import Resolver
from microhost.limits import INSIDE_REQUESTS
from microhost.settings import Settings
from sandbox import client as warden
from tests.certificate import make_certificate
from tests.system.gateway.host import PATIENCE, Answer, Client, Host, wait_until

NAMES = Settings().inside_names
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"a Micro ran"]
"""


class Doors:
    """Stand for the warden: sockets on free ports, four a sandbox."""

    def __init__(self) -> None:
        self.ports: dict[str, list[int]] = {}
        self.listeners: list[socket.socket] = []
        self.name_sockets: list[socket.socket] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def doors(self, sandbox: str) -> warden.Doors:
        await self.may_answer.wait()
        plain, secure = self._listen(), self._listen()
        self.ports[sandbox] = [plain.getsockname()[1], secure.getsockname()[1]]
        self.listeners += [plain, secure]
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        self.name_sockets += [self._listen(), datagrams]
        return warden.Doors(plain, secure, *self.name_sockets[-2:])

    async def permit(self, sandbox: str, addresses: list[str], ttl_s: int) -> None:
        raise AssertionError("nothing here has an allow-list")

    def _listen(self) -> socket.socket:
        listener = Listener(socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        return listener


class Listener(socket.socket):
    """Fail as often as `failures` says."""

    failures: list[int] = []

    def accept(self) -> Any:
        if self.failures:
            code = self.failures.pop()
            raise OSError(code, errno.errorcode[code])
        return super().accept()


class App:
    """Stand for the two products: tell what arrived. /hang never answers, /wait when it may."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.running = self.most = 0
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._answer(scope, receive, send)
        finally:
            self.running -= 1

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if scope["path"] == "/hang":
            assert (await receive())["type"] == "http.disconnect"
            return
        if scope["path"] == "/wait":
            await self.may_answer.wait()
        told = {
            "project": scope["state"]["inside_project"],
            "scheme": scope["scheme"],
            "path": scope["path"],
            "client": scope["client"][0],
            "size": size,
            "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        }
        self.seen.append(told)
        body = json.dumps(told).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Lobby:
    """Hold a host with one sandbox of project `project1`, without a sandbox."""

    def __init__(self, host: Host, tls: ssl.SSLContext | None, *, connections: int = 100) -> None:
        self.host = host
        self.app = App()
        self.warden, self.inside = host.call(self._make, tls, connections)
        self.open("sandbox1")

    def _make(self, tls: ssl.SSLContext | None, connections: int) -> tuple[Doors, Inside]:
        doors = Doors()
        inside = Inside(
            doors,
            self.app,
            tls=tls,
            project_of=lambda micro_id: None if micro_id == "gone" else "project1",
            resolver=Resolver(doors, egress_of=lambda micro_id: "none"),
            pools=self.host.pools,
            settings=self.host._settings,
            connections=connections,
            patience=PATIENCE,
        )
        return doors, inside

    def open(self, sandbox: str, micro: str = "micro1") -> None:
        self.host.run(self.inside.open(sandbox, micro))

    def connect(self, port: int = 0, sandbox: str = "sandbox1") -> Client:
        return Client(socket.create_connection(("127.0.0.1", self.warden.ports[sandbox][port]), 10))

    def get(self, name: str, target: str = "/v1/x", *headers: str) -> Answer:
        with self.connect() as client:
            client.send(head(name, target, "Connection: close", *headers))
            return client.answer()

    def held(self) -> int:
        return self.host.call(lambda: len(self.inside.connections))

    def wait_held(self, count: int) -> None:
        wait_until(lambda: self.held() == count, f"{count} connections to be held, not {self.held()}")


def head(name: str, target: str = "/v1/x", *headers: str) -> str:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {name}", *headers]) + "\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is its own authority, with its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), NAMES)


@pytest.fixture
def lobby(new_host: Callable[..., Host], authority: Path) -> Iterator[Lobby]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    made = Lobby(new_host(upstream_proxies="127.0.0.1"), context)
    yield made
    made.host.run(made.inside.stop())
    assert made.held() == 0
    assert made.app.running == 0


@pytest.mark.parametrize("name", [*NAMES, "DATABASE.deta.sh:80", "database.deta.sh."])
def test_a_product_sees_the_project_of_the_socket(lobby: Lobby, name: str) -> None:
    answer = lobby.get(name)
    assert answer.status == 200
    assert answer.header("date")
    told = json.loads(answer.body)
    assert (told["project"], told["scheme"], told["path"]) == ("project1", "http", "/v1/x")


@pytest.mark.parametrize("name", ["database.deta.sh", "drive.deta.sh"])
def test_it_does_so_over_https_with_a_certificate_that_holds(
    lobby: Lobby, authority: Path, name: str
) -> None:
    trusting = ssl.create_default_context(cafile=authority)
    with lobby.connect(1) as client:
        with Client(trusting.wrap_socket(client.sock, server_hostname=name)) as secure:
            for _ in range(2):
                secure.send(head(name))
                told = json.loads(secure.answer().body)
                assert (told["project"], told["scheme"]) == ("project1", "https")


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "127.0.0.1",
        "api.localhost",
        "m1.localhost",
        "example.org",
        "deta.sh",
        "x.database.deta.sh",
        "database.deta.sh.localhost",
    ],
)
def test_every_other_name_is_a_constant_404_that_runs_nothing(lobby: Lobby, name: str) -> None:
    micro = lobby.host.micro(WSGI)
    name = name.replace("m1", micro.path)
    answer = lobby.get(name, "/", "X-Api-Key: x", "Authorization: Bearer owner123_secret")
    assert answer.status == 404
    assert json.loads(answer.body) == {"errors": ["There is nothing here."]}
    assert lobby.app.seen == []
    assert lobby.host.get(micro).body == b"a Micro ran"
    assert len(lobby.host.wait_executions(1)) == 1


def test_a_target_cannot_name_another_host_than_the_header(lobby: Lobby) -> None:
    assert lobby.get("database.deta.sh", "http://localhost/api/v1/projects").status == 400
    assert lobby.get("database.deta.sh", "http://database.deta.sh/v1/y").status == 200


@pytest.mark.parametrize("hosts", [[], ["Host: database.deta.sh", "Host: drive.deta.sh"]])
def test_the_guard_is_the_visitors(lobby: Lobby, hosts: list[str]) -> None:
    with lobby.connect() as client:
        client.send("\r\n".join(["GET / HTTP/1.1", *hosts]) + "\r\n\r\n")
        assert client.answer().status == 400


def test_a_websocket_is_refused(lobby: Lobby) -> None:
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x")
    with lobby.connect() as client:
        client.send(head("database.deta.sh", "/", *upgrade))
        assert client.answer().status == 400


def test_a_sandbox_is_no_trusted_proxy_even_when_its_address_is(lobby: Lobby) -> None:
    headers = ("X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https", "X-Microhost-Project: other")
    told = json.loads(lobby.get("database.deta.sh", "/", *headers).body)
    assert (told["client"], told["scheme"], told["project"]) == ("127.0.0.1", "http", "project1")
    assert not [name for name, _ in told["headers"] if name.startswith("x-")]


def test_credentials_reach_the_product(lobby: Lobby) -> None:
    told = json.loads(lobby.get("drive.deta.sh", "/", "X-API-Key: a_b", "Authorization: c").body)
    assert ["x-api-key", "a_b"] in told["headers"]
    assert ["authorization", "c"] in told["headers"]


def test_a_slow_head_is_cut_off(lobby: Lobby) -> None:
    with lobby.connect() as client:
        client.send("GET / HTTP/1.1\r\nHost: data")
        assert client.answer().status == 408
    lobby.wait_held(0)


def test_a_request_whose_micro_was_cut_leaves_nothing(lobby: Lobby) -> None:
    with lobby.connect() as client:
        client.send(head("database.deta.sh", "/hang"))
        wait_until(lambda: lobby.app.running == 1, "the request to run")
    lobby.wait_held(0)
    wait_until(lambda: lobby.app.running == 0, "the request to end")


def test_all_of_a_sandbox_that_is_gone_is_closed(lobby: Lobby) -> None:
    with lobby.connect() as idle, lobby.connect() as busy, lobby.connect(1) as shaking:
        busy.send(head("database.deta.sh", "/hang"))
        wait_until(lambda: lobby.app.running == 1, "the request to run")
        lobby.wait_held(3)
        lobby.host.call(lobby.inside.close, "sandbox1")
        for each in (idle, busy, shaking):
            assert each.read_all() == b""
    with pytest.raises(ConnectionRefusedError):
        lobby.connect()
    lobby.wait_held(0)


def test_a_door_that_a_successor_has_is_left_without_losing_a_request(lobby: Lobby) -> None:
    kept = [each.dup() for each in lobby.warden.listeners]  # the warden's own
    with lobby.connect() as idle, lobby.connect() as busy:
        idle.send(head("database.deta.sh"))
        assert idle.answer().header("connection") is None
        busy.send(head("database.deta.sh", "/wait"))
        wait_until(lambda: lobby.app.running == 1, "the request to run")
        lobby.host.call(lobby.inside.leave, "sandbox1")
        with lobby.connect() as waiting:  # in the backlog, for the successor
            lobby.host.call(lobby.app.may_answer.set)
            assert busy.answer().header("connection") == "close"
            assert busy.read_all() == b""
            idle.send(head("database.deta.sh"))
            assert idle.answer().header("connection") == "close"
            assert idle.read_all() == b""
            lobby.wait_held(0)
            kept[0].settimeout(5)
            accepted, address = kept[0].accept()
            assert address == waiting.sock.getsockname()
            accepted.close()
    for each in kept:
        each.close()


def test_a_sandbox_that_ends_while_its_doors_are_asked_for_leaves_nothing(lobby: Lobby) -> None:
    lobby.host.call(lobby.warden.may_answer.clear)
    opening = asyncio.run_coroutine_threadsafe(lobby.inside.open("sandbox2", "micro1"), lobby.host._loop)
    wait_until(lambda: lobby.host.call(lambda: "sandbox2" in lobby.inside._doors), "the question")
    lobby.host.call(lobby.inside.close, "sandbox2")
    lobby.host.call(lobby.warden.may_answer.set)
    opening.result(5)
    assert [each.fileno() for each in lobby.warden.listeners[2:]] == [-1, -1]


def test_a_sandbox_of_a_deleted_micro_has_no_open_door(lobby: Lobby) -> None:
    lobby.open("sandbox2", "gone")
    assert "sandbox2" not in lobby.warden.ports


def test_the_doors_are_open_before_any_code_of_a_micro_runs(lobby: Lobby) -> None:
    lobby.host.call(lobby.warden.may_answer.clear)
    micro = lobby.host.define(WSGI)
    with lobby.host.connect() as client:
        client.send(head(f"{micro.path}.localhost", "/"))
        wait_until(lambda: lobby.host.call(lambda: len(lobby.inside._doors) == 2), "the door to be asked for")
        assert lobby.host.call(lambda: len(lobby.host.pools._templates)) == 0
        lobby.host.call(lobby.warden.may_answer.set)
        assert client.answer().body == b"a Micro ran"


def test_of_a_sandbox_at_its_limit_the_longest_silent_connection_is_closed(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside_module, "INSIDE_CONNECTIONS", 3)
    with lobby.connect() as first, lobby.connect() as second, lobby.connect() as third:
        for each in (first, second, third):
            each.send(head("database.deta.sh"))
            assert each.answer().status == 200
        assert lobby.get("database.deta.sh").status == 200
        assert first.read_all() == b""
        second.send(head("database.deta.sh"))
        assert second.answer().status == 200


def test_when_all_are_busy_the_new_one_is_closed_and_other_sandboxes_are_served(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside_module, "INSIDE_CONNECTIONS", 2)
    lobby.open("sandbox2")
    with lobby.connect() as one, lobby.connect() as other:
        for each in (one, other):
            each.send(head("database.deta.sh", "/hang"))
        wait_until(lambda: lobby.app.running == 2, "both to run")
        with lobby.connect() as third:
            assert third.read_all() == b""
        with lobby.connect(sandbox="sandbox2") as neighbour:
            neighbour.send(head("database.deta.sh"))
            assert neighbour.answer().status == 200
    lobby.wait_held(0)
    assert lobby.get("database.deta.sh").status == 200


def test_an_unfinished_handshake_holds_a_place_and_loses_it(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside_module, "INSIDE_CONNECTIONS", 5)
    monkeypatch.setattr(inside_module, "INSIDE_HANDSHAKE_S", 0.5)
    shaking = [lobby.connect(1) for _ in range(20)]
    try:
        wait_until(lambda: lobby.held() == 5, "five to be held")
        with lobby.connect() as refused:
            assert refused.read_all() == b""
        for each in shaking:
            assert each.read_all() == b""
    finally:
        for each in shaking:
            each.sock.close()
    lobby.wait_held(0)
    assert lobby.get("database.deta.sh").status == 200


def test_garbage_instead_of_a_handshake_is_cut_off(lobby: Lobby, capfd: pytest.CaptureFixture[str]) -> None:
    with lobby.connect(1) as client:
        client.send(head("database.deta.sh"))
        client.read_all()
    lobby.wait_held(0)
    assert "Traceback" not in capfd.readouterr().err


def test_ten_thousand_connections_hold_no_more_than_the_limit(lobby: Lobby) -> None:
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir()))
    kept: list[Client] = []
    for _ in range(10_000 // 50):
        kept += [lobby.connect() for _ in range(50)]
        assert lobby.held() <= 100
        while len(kept) > 150:
            kept.pop(0).sock.close()
    assert len(list(files.iterdir())) <= before + 100 + len(kept) + 50
    for each in kept:
        each.sock.close()
    lobby.wait_held(0)
    assert lobby.get("database.deta.sh").status == 200


def test_a_host_without_descriptors_accepts_again_after_a_moment(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [errno.EMFILE, errno.ENOBUFS]
    monkeypatch.setattr(Listener, "failures", failures)
    assert lobby.get("database.deta.sh").status == 200
    assert failures == []


def test_without_a_certificate_https_is_cut_off(new_host: Callable[..., Host]) -> None:
    lobby = Lobby(new_host(), None)
    with lobby.connect(1) as client:
        assert client.read_all() == b""
    assert lobby.get("database.deta.sh").status == 200
    lobby.host.run(lobby.inside.stop())


class TestTurns:
    """Of a sandbox's requests INSIDE_REQUESTS run at once, the others wait their turn."""

    def test_the_requests_of_a_sandbox_take_turns_and_a_neighbour_passes_them_by(self, lobby: Lobby) -> None:
        lobby.open("sandbox2")
        clients = [lobby.connect() for _ in range(4 * INSIDE_REQUESTS)]
        for number, client in enumerate(clients):
            client.send(head("database.deta.sh", "/wait" if number % 2 else f"/wait?{number}"))
        wait_until(lambda: lobby.app.running == INSIDE_REQUESTS, "as many as may to run")
        with lobby.connect(sandbox="sandbox2") as other:
            other.send(head("database.deta.sh"))
            assert other.answer().status == 200
        assert lobby.app.running == INSIDE_REQUESTS
        lobby.host.call(lobby.app.may_answer.set)
        for client in clients:
            assert client.answer().status == 200
            client.sock.close()
        assert lobby.app.most == INSIDE_REQUESTS + 1

    def test_what_waits_is_not_read_and_is_answered_in_order(self, lobby: Lobby) -> None:
        holders = [lobby.connect() for _ in range(INSIDE_REQUESTS)]
        for holder in holders:
            holder.send(head("database.deta.sh", "/wait"))
        wait_until(lambda: lobby.app.running == INSIDE_REQUESTS, "as many as may to run")
        with lobby.connect() as client:
            client.sock.setblocking(False)
            piece = "".join(head("database.deta.sh", f"/{number}") for number in range(1000)).encode()
            sent = 0
            with contextlib.suppress(BlockingIOError):
                for _ in range(10_000):
                    sent += client.sock.send(piece)
            assert sent < 10_000 * len(piece), "the network must hold it back"
            client.sock.setblocking(True)
            assert (
                lobby.host.call(lambda: max(len(each._waiting) for each in lobby.inside.connections)) < 1000
            )
            lobby.host.call(lobby.app.may_answer.set)
            for number in range(500):
                assert json.loads(client.answer().body)["path"] == f"/{number}"
        for holder in holders:
            assert holder.answer().status == 200
            holder.sock.close()

    def test_a_connection_that_ends_while_it_waits_leaves_its_place(self, lobby: Lobby) -> None:
        holders = [lobby.connect() for _ in range(INSIDE_REQUESTS)]
        for holder in holders:
            holder.send(head("database.deta.sh", "/wait"))
        wait_until(lambda: lobby.app.running == INSIDE_REQUESTS, "as many as may to run")
        for _ in range(3):
            with lobby.connect() as gone:
                gone.send(head("database.deta.sh", "/gone"))
                lobby.wait_held(INSIDE_REQUESTS + 1)
                gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            lobby.wait_held(INSIDE_REQUESTS)
        with lobby.connect() as last:
            last.send(head("database.deta.sh", "/last"))
            lobby.host.call(lobby.app.may_answer.set)
            assert json.loads(last.answer().body)["path"] == "/last"
        for holder in holders:
            holder.sock.close()
        lobby.wait_held(0)
        assert lobby.app.running == 0
