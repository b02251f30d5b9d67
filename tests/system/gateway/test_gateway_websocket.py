"""WebSockets pass the same guard, access check and deadline as a request (security.md HTTP-14)."""

from __future__ import annotations

import base64
import os

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from microhost.limits import WEBSOCKET_MESSAGE_BYTES
from microhost.records import Micro
from tests.system.gateway.apps import ECHO, WEBSOCKET
from tests.system.gateway.host import Answer, Client, Host


@pytest.fixture(scope="module")
def talker(host: Host) -> Micro:
    """Give a Micro that talks."""
    return host.micro(WEBSOCKET, timeout_s=2.0)


def handshake(name: str, target: str = "/", *headers: str, key: str = "", version: str = "13") -> bytes:
    """Give the bytes of a handshake."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1", f"Host: {name}", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
        f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Version: {version}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Talk:
    """Speak WebSocket over a raw connection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.wire = Connection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    def send(self, event: Event) -> None:
        """Send one event."""
        self.client.send(self.wire.send(event))

    def next(self) -> Event:
        """Give the next whole event."""
        text, data = "", b""
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        return TextMessage(data=text)
                elif isinstance(event, BytesMessage):
                    data += event.data
                    if event.message_finished:
                        return BytesMessage(data=data)
                else:
                    return event
            more = self.client.read_some()
            if not more:
                raise EOFError
            self.wire.receive_data(more)
            self._events.extend(self.wire.events())


def open_talk(host: Host, micro: Micro, target: str = "/", *headers: str) -> tuple[Client, Talk, Answer]:
    """Shake hands."""
    client = host.connect()
    client.send(handshake(f"{micro.path}.localhost", target, *headers))
    answer = client.answer()
    return client, Talk(client), answer


def test_text_and_bytes_go_both_ways(host: Host, talker: Micro) -> None:
    client, talk, answer = open_talk(host, talker, "/", "Sec-WebSocket-Protocol: chat, other")
    with client:
        assert answer.status == 101
        assert answer.header("sec-websocket-protocol") == "chat"
        talk.send(TextMessage(data="h\u00e9llo"))
        assert talk.next() == TextMessage(data="you said h\u00e9llo")
        talk.send(BytesMessage(data=b"abc"))
        assert talk.next() == BytesMessage(data=b"cba")


def test_the_accept_value_is_right_and_headers_are_sanitised(host: Host, talker: Micro) -> None:
    with host.connect() as client:
        client.send(handshake(f"{talker.path}.localhost", key="dGhlIHNhbXBsZSBub25jZQ=="))
        answer = client.answer()
    assert answer.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.header("x-mine") == "1"
    assert [v for n, v in answer.headers if n == "connection"] == ["Upgrade"]


def test_messages_sent_with_the_handshake_are_not_lost(host: Host, talker: Micro) -> None:
    with host.connect() as client:
        talk = Talk(client)
        client.send(handshake(f"{talker.path}.localhost") + talk.wire.send(TextMessage(data="early")))
        assert client.answer().status == 101
        assert talk.next() == TextMessage(data="you said early")


def test_fragments_are_joined(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker)
    with client:
        talk.send(TextMessage(data="one ", message_finished=False))
        talk.send(Ping(payload=b"between"))
        talk.send(TextMessage(data="two"))
        assert talk.next() == Pong(payload=b"between")
        assert talk.next() == TextMessage(data="you said one two")


def test_a_message_at_the_limit_passes_and_one_over_it_is_1009(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker)
    with client:
        talk.send(BytesMessage(data=b"x" * WEBSOCKET_MESSAGE_BYTES))
        assert talk.next() == BytesMessage(data=b"x" * WEBSOCKET_MESSAGE_BYTES)
        talk.send(BytesMessage(data=b"x" * (WEBSOCKET_MESSAGE_BYTES + 1)))
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1009


def test_a_close_of_the_visitor_reaches_the_micro(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker, "/close-me")
    with client:
        talk.send(CloseConnection(code=3001, reason="bye"))
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 3001
    record = host.record("/close-me")
    assert (record.status, record.cause, record.log) == (101, None, "closed 3001\n")


def test_a_visitor_that_vanishes_is_1006(host: Host, talker: Micro) -> None:
    client, _, answer = open_talk(host, talker, "/vanish")
    assert answer.status == 101
    client.sock.close()
    assert host.record("/vanish").log == "closed 1006\n"


def test_a_close_of_the_micro_reaches_the_visitor(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker, "/close")
    with client:
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert (event.code, event.reason) == (4001, "enough")
        talk.send(event.response())
        assert client.closed_within(3.0) < 2.5


@pytest.mark.parametrize("code", [-1, 999, 1004, 2999, 5000, 70000])
def test_a_close_code_that_is_none_becomes_1011(host: Host, talker: Micro, code: int) -> None:
    client, talk, _ = open_talk(host, talker, f"/close-with?{code}")
    with client:
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1011
    assert host.record(f"/close-with?{code}").cause is None


def test_a_refusal_of_the_micro_is_403(host: Host, talker: Micro) -> None:
    client, _, answer = open_talk(host, talker, "/refuse")
    client.sock.close()
    assert answer.status == 403


def test_the_deadline_holds_for_the_connection(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker, "/sleep")
    with client:
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert (event.code, event.reason) == (1011, "timeout")
    assert host.record("/sleep").cause == "timeout"


def test_a_malformed_frame_closes_the_connection(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker)
    with client:
        client.send(b"\xff\xff\xff\xff")
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1002


def test_text_that_is_not_utf8_is_1007(host: Host, talker: Micro) -> None:
    client, talk, _ = open_talk(host, talker)
    with client:
        client.send(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
        event = talk.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1007


def test_without_access_there_is_no_websocket(host: Host) -> None:
    micro = host.define(WEBSOCKET, http_auth=True, keys=["a.key"])
    client, _, answer = open_talk(host, micro)
    client.sock.close()
    assert answer.status == 401
    assert host.pools.state(micro.id) == "cold"


def test_forged_platform_headers_do_not_reach_the_micro(host: Host) -> None:
    micro = host.micro(WEBSOCKET, http_auth=True, keys=["a.key"])
    client, talk, _ = open_talk(
        host, micro, "/headers", "X-API-Key: a.key", "X-Forwarded-For: 6.6.6.6", "X-Deta-X: 1"
    )
    with client:
        event = talk.next()
    assert isinstance(event, TextMessage)
    assert "6.6.6.6" not in event.data
    assert "x-deta" not in event.data
    assert "a.key" not in event.data


@pytest.mark.parametrize("version", ["8", ""])
def test_another_version_is_426(host: Host, talker: Micro, version: str) -> None:
    with host.connect() as client:
        client.send(handshake(f"{talker.path}.localhost", version=version))
        assert client.answer().status == 426


@pytest.mark.parametrize("key", ["short", "not base64 at all!!!!!!!", "caf\xe9"])
def test_a_bad_key_is_400(host: Host, talker: Micro, key: str) -> None:
    with host.connect() as client:
        client.send(handshake(f"{talker.path}.localhost", key=key))
        assert client.answer().status == 400


def test_the_console_has_no_websockets(host: Host) -> None:
    with host.connect() as client:
        client.send(handshake("localhost"))
        assert client.answer().status == 400


@pytest.mark.parametrize("name", ["micro", "localhost"])
def test_h2c_is_not_spoken_and_no_tunnel_opens(host: Host, name: str) -> None:
    micro = host.micro(ECHO)
    place = f"{micro.path}.localhost" if name == "micro" else name
    with host.connect() as client:
        client.send(
            f"GET /x HTTP/1.1\r\nHost: {place}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            f"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {place}\r\n\r\n"
        )
        answer = client.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert client.read_all() == b""


def test_an_upgrade_with_a_body_is_refused(host: Host, talker: Micro) -> None:
    with host.connect() as client:
        client.send(
            f"POST /x HTTP/1.1\r\nHost: {talker.path}.localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            "Content-Length: 5\r\n\r\nhello"
        )
        assert client.answer().status == 400
