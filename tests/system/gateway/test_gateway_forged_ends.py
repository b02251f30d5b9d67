"""An end that a Micro forges while it still runs never lets its answer reach the next visitor (security.md ISO-17)."""

from __future__ import annotations

import json

import pytest

from microhost.errors import MicroError
from microhost.gateway.relay import HttpExecution
from microhost.micros.call import Call
from microhost.records import Event, Micro
from tests.system.gateway.host import Answer, Host, wait_until
from tests.system.gateway.test_gateway_websocket import handshake

# says `e` on the channel itself, then answers as if nothing had been
FORGER = """
import asyncio, os, struct, time

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        if scope["path"] == "/accepted":
            await send({"type": "websocket.accept"})
        forge()
        await asyncio.sleep(30)
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path.startswith("/forge"):
        if path == "/forge-in-the-middle":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        elif path == "/forge-after-a-bad-head":
            os.write(3, frame(b"h0\\x00200\\x00x a\\x00b"))
        forge()
        # blocking: the guest itself does not see the next request yet
        time.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": path.encode()})

def frame(meta):
    return struct.pack(">II", len(meta), 0) + meta

def forge():
    os.write(3, frame(b"e"))
"""

HANDLER = """
import os, struct, time
from deta import app

@app.lib.run(action="forge")
def forge(event):
    os.write(3, struct.pack(">II", 1, 0) + b"e")
    time.sleep(0.3)
    return "old"

@app.lib.run(action="honest")
def honest(event):
    return "new"
"""


def forge_then_visit(host: Host, micro: Micro, path: str) -> tuple[bytes, Answer]:
    """Give what came of a forged end, and the answer of whoever comes next."""
    with host.connect() as first:
        first.send(f"GET {path} HTTP/1.1\r\nHost: {micro.path}.localhost\r\nConnection: close\r\n\r\n")
        forged = first.read_all()
    return forged, host.get(micro, "/next")


@pytest.mark.parametrize("path", ["/forge", "/forge-after-a-bad-head"])
def test_an_end_without_a_whole_response_is_502_and_ends_the_executor(host: Host, path: str) -> None:
    micro = host.micro(FORGER)
    forged, following = forge_then_visit(host, micro, path)
    head, _, body = forged.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    assert json.loads(body)["cause"] == "bad_response"
    assert following.body == b"/next"
    record = host.record(path)
    assert (record.status, record.cause) == (502, "bad_response")


def test_an_end_in_the_middle_of_a_response_cuts_it_and_ends_the_executor(host: Host) -> None:
    micro = host.micro(FORGER)
    forged, following = forge_then_visit(host, micro, "/forge-in-the-middle")
    assert b"half" in forged
    assert not forged.endswith(b"0\r\n\r\n")
    assert following.body == b"/next"
    assert host.record("/forge-in-the-middle").cause == "bad_response"


def test_without_the_guard_the_next_visitor_gets_the_old_answer(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpExecution, "check_end", lambda self: None)
    micro = host.micro(FORGER)
    _, following = forge_then_visit(host, micro, "/forge")
    assert following.body == b"/forge"


def test_an_end_without_a_result_of_an_event_ends_the_executor(host: Host) -> None:
    micro = host.micro(HANDLER)
    with pytest.raises(MicroError) as caught:
        host.run(host.pools.invoke(micro.id, Event("one", "run", "forge")))
    assert caught.value.cause == "bad_result"
    assert host.run(host.pools.invoke(micro.id, Event("two", "run", "honest"))).result == '"new"'


def test_without_the_guard_the_next_event_gets_the_old_result(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Call, "check_end", lambda self: None)
    micro = host.micro(HANDLER)
    host.run(host.pools.invoke(micro.id, Event("one", "run", "forge")))
    assert host.run(host.pools.invoke(micro.id, Event("two", "run", "honest"))).result == '"old"'


@pytest.mark.parametrize(("target", "status"), [("/", b"502"), ("/accepted", b"101")])
def test_an_end_of_a_websocket_that_nobody_closed_ends_the_executor(
    host: Host, target: str, status: bytes
) -> None:
    micro = host.micro(FORGER)
    with host.connect() as client:
        client.send(handshake(f"{micro.path}.localhost", target))
        assert client.read_all().split(b" ")[1] == status
    wait_until(lambda: any(e.micro_id == micro.id for e in host.executions), "the record")
    assert host.record(target, micro).cause == "bad_response"
    assert host.get(micro, "/next").body == b"/next"
