"""A visitor who has sent a whole request and no more is answered; one who has gone ends what was asked for."""

from __future__ import annotations

import socket
import struct

import pytest

from microhost.gateway import protocol
from microhost.records import Micro
from tests.system.gateway.apps import ECHO, WEBSOCKET
from tests.system.gateway.conftest import NewHost
from tests.system.gateway.host import Client, Host, wait_until
from tests.system.gateway.test_gateway_websocket import handshake

CONSOLE = "GET /there HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def echo(host: Host) -> Micro:
    """Give a Micro that answers in many ways."""
    return host.micro(ECHO, timeout_s=5.0)


def get(micro: Micro, target: str, version: str = "1.1") -> str:
    """Give the bytes of a request."""
    return f"GET {target} HTTP/{version}\r\nHost: {micro.path}.localhost\r\n\r\n"


def say_and_stop(client: Client, data: str | bytes) -> bytes:
    """Send, close our half, and give everything that comes until the other closes."""
    client.send(data)
    client.sock.shutdown(socket.SHUT_WR)
    return client.read_all()


def count_answers(got: bytes, status: int = 200) -> int:
    """Count the status lines of one status."""
    return got.count(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_whole_request_is_answered_then_the_connection_closes(
    host: Host, echo: Micro, version: str
) -> None:
    for number in range(20):
        with host.connect() as client:
            got = say_and_stop(client, get(echo, f"/half{number}", version))
        assert got.endswith(f"hello /half{number}".encode())
        assert count_answers(got) == 1


def test_an_answer_that_takes_long_or_comes_in_pieces_is_given_whole(host: Host, echo: Micro) -> None:
    with host.connect() as client:
        assert say_and_stop(client, get(echo, "/sleep?1.2")).endswith(b"slept")
    with host.connect() as client:
        assert say_and_stop(client, get(echo, "/stream")).endswith(b"3\r\nend\r\n0\r\n\r\n")
    with host.connect() as client:
        head, _, body = say_and_stop(client, get(echo, "/big?3000000")).partition(b"\r\n\r\n")
        assert (b" 200 " in head, len(body)) == (True, 3_000_000)


def test_every_whole_request_of_a_pipeline_is_answered_and_half_a_one_is_not(host: Host, echo: Micro) -> None:
    whole = get(echo, "/sleep?0.2") + get(echo, "/one") + CONSOLE + get(echo, "/two")
    for rest in (
        "",
        "GET /three HTTP/1.1\r\nHost: x",
        f"POST /size HTTP/1.1\r\nHost: {echo.path}.localhost\r\nContent-Length: 9\r\n\r\nhalf",
        "POST /there HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
        f"POST /size HTTP/1.1\r\nHost: {echo.path}.localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf",
    ):
        with host.connect() as client:
            got = say_and_stop(client, whole + rest)
        assert count_answers(got) == 4, rest
        assert got.endswith(b"hello /two")


@pytest.mark.parametrize(
    "part",
    [
        "",
        "GET",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab",
    ],
)
def test_half_a_request_is_closed_without_an_answer(host: Host, part: str) -> None:
    with host.connect() as client:
        assert say_and_stop(client, part) == b""


def test_a_refusal_is_given_too(host: Host, echo: Micro) -> None:
    for bad, status in (("GET / HTTP/1.1\r\n\r\n", 400), (get(echo, "/x").replace(echo.path, "nobody"), 404)):
        with host.connect() as client:
            assert count_answers(say_and_stop(client, bad), status) == 1


def test_the_console_answers(host: Host) -> None:
    with host.connect() as client:
        got = say_and_stop(client, CONSOLE)
    assert (count_answers(got), b"console GET /there" in got) == (1, True)


def test_a_websocket_ends_when_the_visitor_stops_sending(host: Host) -> None:
    micro = host.micro(WEBSOCKET, timeout_s=5.0)
    with host.connect() as client:
        client.send(handshake(f"{micro.path}.localhost"))
        client.read_until(b"\r\n\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.closed_within(2) < 1.0
    assert "closed 1006" in host.record("/", micro).log


# waits for its visitor to go, and says when it heard of it
WAITER = """
import asyncio, time

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await receive()
    began = time.monotonic()
    message = await receive()
    print(message["type"], f"after {time.monotonic() - began:.2f} s")
"""


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_visitor_who_goes_is_noticed_within_a_moment(host: Host, way: str) -> None:
    micro = host.micro(WAITER, timeout_s=5.0)
    with host.connect() as client:
        client.send(get(micro, f"/{way}"))
        host.wait_running(f"/{way}")
        if way == "reset":
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    record = host.record(f"/{way}", micro)
    assert record.status == 499
    assert record.log.startswith("http.disconnect after")
    assert record.duration_s < 1.0


def test_without_the_look_a_visitor_who_went_is_not_noticed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol.GatewayProtocol, "_look_for_visitor", lambda self: None)
    micro = host.micro(WAITER, timeout_s=2.0)
    with host.connect() as client:
        client.send(get(micro, "/unseen"))
        host.wait_running("/unseen")
    assert host.record("/unseen", micro).cause == "timeout"


def test_a_visitor_who_goes_while_he_waits_in_the_queue_runs_nothing(new_host: NewHost) -> None:
    host = new_host(executors_per_micro=1)
    micro = host.micro(ECHO, timeout_s=5.0)

    def waiting() -> int:
        return host.call(lambda: len(host.pools._fleets[micro.id].queue))

    with host.connect() as first:
        first.send(get(micro, "/sleep?3"))
        host.wait_running("/sleep?3")
        with host.connect() as second:
            second.send(get(micro, "/unwanted"))
            wait_until(lambda: waiting() == 1, "a place in the queue")
        wait_until(lambda: waiting() == 0, "the place to be given up", 2.0)
        assert first.answer().body == b"slept"
    assert host.get(micro, "/wanted").body == b"hello /wanted"
    assert not any(each.path == "/unwanted" for each in host.executions)


def test_a_visitor_who_goes_in_the_middle_of_an_answer_is_noticed_by_what_he_does_not_take(
    host: Host, echo: Micro
) -> None:
    with host.connect() as client:
        client.send(get(echo, "/endless"))
        client.read_until(b"xxx")
    record = host.record("/endless", echo)
    assert record.duration_s < 1.5
