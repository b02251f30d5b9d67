"""Hold the guest to WebSockets over ASGI."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from tests.contract.conftest import StartGuest
from tests.contract.harness import Executor


def serving(start_guest: StartGuest, body: str) -> Executor:
    """Give a ready executor of an application whose WebSocket part is `body`."""
    indented = "".join("    " + line + "\n" for line in dedent(body).splitlines())
    guest = start_guest(
        "import asyncio, json\nasync def app(scope, receive, send):\n"
        "    assert scope['type'] == 'websocket'\n    message = await receive()\n"
        "    assert message == {'type': 'websocket.connect'}\n" + indented
    )
    guest.attach()
    return guest.ready_executor()


def open_socket(executor: Executor, headers: tuple[tuple[str, str], ...] = ()) -> None:
    executor.begin(target="/chat?x=1", headers=headers, kind=b"W", complete=False, scheme="ws")


ECHO = """
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print(json.dumps(message))
            return
        await send({**message, "type": "websocket.send"})
"""


def test_messages_travel_both_ways_until_the_client_closes(start_guest: StartGuest) -> None:
    executor = serving(start_guest, ECHO)
    for _ in range(2):
        open_socket(executor)
        assert executor.read_frame() == (b"a\0", b"")
        executor.send(b"Mt", "grüß".encode())
        executor.send(b"Mb", b"\xff\0")
        assert executor.read_frame() == (b"mt", "grüß".encode())
        assert executor.read_frame() == (b"mb", b"\xff\0")
        executor.send(b"C" + json.dumps({"code": 1001, "reason": "bye"}).encode())
        assert executor.read_frame() == (b"e", b"")
        assert json.loads(executor.stdout_so_far()) == {
            "type": "websocket.disconnect",
            "code": 1001,
            "reason": "bye",
        }


def test_the_scope_is_that_of_the_specification(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        scope["headers"] = len(scope["headers"])
        scope["raw_path"], scope["query_string"] = scope["raw_path"].decode(), scope["query_string"].decode()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(scope)})
        """,
    )
    open_socket(executor, (("sec-websocket-protocol", "chat, superchat"), ("sec-websocket-protocol", "x")))
    executor.read_frame()
    scope = json.loads(executor.read_frame()[1])
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/chat",
        "raw_path": "/chat",
        "query_string": "x=1",
        "root_path": "",
        "headers": 2,
        "client": ["203.0.113.7", 4711],
        "server": ["app.localhost", 8000],
        "subprotocols": ["chat", "superchat", "x"],
        "state": {},
    }


def test_accept_carries_subprotocol_and_headers(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        'await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"X-A", b"1")]})',
    )
    open_socket(executor, (("sec-websocket-protocol", "chat"),))
    assert executor.read_frame() == (b"a\0chat\0x-a\x001", b"")
    meta, _ = executor.read_frame()
    assert (meta[:1], json.loads(meta[1:])) == (b"c", {"code": 1000, "reason": ""})
    assert executor.read_frame() == (b"e", b"")


def test_close_before_accept_refuses(start_guest: StartGuest) -> None:
    executor = serving(start_guest, 'await send({"type": "websocket.close", "code": 4000})')
    open_socket(executor)
    assert executor.finish().frames == [b"c", b"e"]


def test_close_carries_code_and_reason(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        print((await receive())["type"])
        """,
    )
    open_socket(executor)
    executor.read_frame()
    meta, _ = executor.read_frame()
    assert json.loads(meta[1:]) == {"code": 4001, "reason": "enough"}
    assert executor.finish().frames == [b"e"]
    assert executor.stdout_so_far() == "websocket.disconnect\n"


def test_an_exception_before_accept_is_a_fault_alone(start_guest: StartGuest) -> None:
    executor = serving(start_guest, "1 / 0")
    open_socket(executor)
    answer = executor.finish()
    assert answer.frames == [b"f", b"e"]
    assert answer.fault is not None and answer.fault["kind"] == "exception"


def test_an_exception_after_accept_closes_with_1011(start_guest: StartGuest) -> None:
    executor = serving(start_guest, 'await send({"type": "websocket.accept"})\n1 / 0')
    open_socket(executor)
    executor.read_frame()
    meta, _ = executor.read_frame()
    assert json.loads(meta[1:])["code"] == 1011
    assert executor.finish().frames == [b"f", b"e"]
    assert "ZeroDivisionError" in executor.stderr_so_far()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{"type": "websocket.send", "text": "x"}', "before 'websocket.accept'"),
        ('{"type": "http.response.start"}', "before 'websocket.accept'"),
        ('{"type": "websocket.accept", "subprotocol": "x"}', "did not offer"),
        ('{"type": "websocket.accept", "headers": [("a", "b")]}', "pairs of bytes"),
        ('{"type": "websocket.accept", "headers": [(b"a", b"b\\n")]}', "line break"),
    ],
)
def test_malformed_messages_are_faults(start_guest: StartGuest, message: str, said: str) -> None:
    executor = serving(start_guest, f"await send({message})")
    open_socket(executor)
    fault = executor.finish().fault
    assert fault is not None and said in fault["message"]


def test_a_message_longer_than_a_frame_is_refused_to_the_application(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        """
        await send({"type": "websocket.accept"})
        try:
            await send({"type": "websocket.send", "bytes": bytes(1024 * 1024 + 1)})
        except ValueError as error:
            print(error)
        """,
    )
    open_socket(executor)
    executor.finish()
    assert "at most 1048576" in executor.stdout_so_far()


def test_frames_that_cross_the_end_are_dropped(start_guest: StartGuest) -> None:
    executor = serving(
        start_guest,
        'await send({"type": "websocket.accept"})\nawait send({"type": "websocket.close"})',
    )
    for _ in range(2):
        open_socket(executor)
        assert executor.finish().frames == [b"a", b"c", b"e"]
        executor.send(b"Mt", b"late")
        executor.send(b'C{"code": 1000, "reason": ""}')


def test_a_client_that_vanishes_is_a_disconnect(start_guest: StartGuest) -> None:
    executor = serving(start_guest, ECHO)
    open_socket(executor)
    executor.read_frame()
    executor.send(b"X")
    assert executor.finish().frames == [b"e"]
    assert json.loads(executor.stdout_so_far())["code"] == 1006
