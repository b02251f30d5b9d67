"""Visor keeps what was asked and answered, without its credentials, and only while it is on."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microhost.limits import STREAMS_OF_ONE
from tests.driving import Host, Micro, open_websocket, parse_events, wait_until, zip_app, zip_files

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]

MIRROR = """
import json
import os

async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = scope["path"]
    if path == "/boom":
        raise RuntimeError("on purpose")
    if path == "/big":
        body = b"x" * 200_000
    elif path == "/pieces":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3000):
            await send({"type": "http.response.body", "body": b"0123456789" * 4, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    elif path == "/seen":
        body = json.dumps({
            "method": scope["method"],
            "target": (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in scope["headers"]],
            "body": body.decode("latin-1"),
        }).encode()
    headers = [(b"content-type", b"text/plain"), (b"set-cookie", b"sid=cookie-of-the-micro"), (b"x-fine", b"yes")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
SECRETS = {
    "Authorization": "Bearer planted-authorization",
    "Cookie": "session=planted-cookie",
    "X-API-Key": "planted-api-key",
    "Proxy-Authorization": "Basic planted-proxy",
    "X-Access-Token": "planted-access-token",
    "X-Client-Secret": "planted-client-secret",
    "X-Odd": "Bearer planted-odd",
    "Referer": "https://planted-user:planted-password@example.org/?api_key=planted-referer",
}


def exchange_of(micro: Micro, path: str) -> dict[str, Any]:
    """Wait for the only event of a path and give its exchange."""
    event = event_of(micro, path)
    assert event["visor"] is True
    return dict(micro.host.get(f"{micro.at}/events/{event['id']}/exchange"))


def event_of(micro: Micro, path: str) -> dict[str, Any]:
    """Wait for the newest event of a path."""
    return wait_until(lambda: [each for each in micro.events() if each["path"] == path], path)[0]


def stored_bytes(host: Host) -> bytes:
    """Give everything that events and exchanges have on the disk."""
    return b"".join(
        file.read_bytes() for name in ("visor.db", "events.db") for file in host.data.glob(f"{name}*")
    )


@pytest.fixture
def mirror(new_micro: MakeMicro) -> Micro:
    """A Micro with Visor on that answers with what it was sent."""
    micro = new_micro(visor=True)
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    return micro


def test_an_exchange_is_kept_with_headers_and_bodies(mirror: Micro) -> None:
    mirror.call(
        "/a?q=1&empty=", "POST", content="héllo", headers={"X-Mine": "mine", "Content-Type": "text/x"}
    )
    shown = exchange_of(mirror, "/a")
    request, response = shown["request"], shown["response"]
    assert (request["method"], request["target"]) == ("POST", "/a?q=1&empty=")
    assert ["x-mine", "mine"] in request["headers"]
    assert ["content-type", "text/x"] in request["headers"]
    assert request["body"] == {"text": "héllo", "base64": None, "bytes": 6, "cut": False}
    assert request["masked"] == []
    assert (response["status"], response["body"]["text"]) == (200, "héllo")
    assert ["x-fine", "yes"] in response["headers"]
    assert response["masked"] == ["set-cookie"]
    assert ["set-cookie", "***"] in response["headers"]


def test_credentials_are_masked_before_they_are_stored(host: Host, mirror: Micro) -> None:
    target = (
        "/secret?access_token=planted-query&%70assword=planted-encoded&q=kept&next=/#api-key=planted-part"
    )
    mirror.call(target.partition("#")[0], headers=SECRETS)
    request = exchange_of(mirror, "/secret")["request"]
    assert "q=kept" in request["target"]
    assert "access_token=***" in request["target"]
    for name in ("authorization", "cookie", "x-api-key", "x-access-token", "x-client-secret", "x-odd"):
        assert name in request["masked"]
        assert [name, "***"] in request["headers"]
    assert "?access_token" in request["masked"]
    assert b"planted-" not in stored_bytes(host)
    assert b"cookie-of-the-micro" not in stored_bytes(host)


def test_nothing_of_headers_or_bodies_is_stored_while_visor_is_off(host: Host, new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    micro.call(
        "/off?q=stays-away", "POST", content=b"body-that-is-not-kept", headers={"X-H": "header-not-kept"}
    )
    event = event_of(micro, "/off")
    assert event["visor"] is False
    answer = host.api("GET", f"{micro.at}/events/{event['id']}/exchange")
    assert answer.status_code == 404
    assert "Visor was off" in answer.json()["errors"][0]
    for trace in (b"body-that-is-not-kept", b"header-not-kept", b"stays-away"):
        assert trace not in stored_bytes(host)
    micro.change(visor=True)
    micro.call("/on", "POST", content=b"kept now")
    assert exchange_of(micro, "/on")["request"]["body"]["text"] == "kept now"


def test_what_was_kept_stays_when_visor_is_switched_off(mirror: Micro) -> None:
    mirror.call("/before", "POST", content=b"kept")
    before = exchange_of(mirror, "/before")
    mirror.change(visor=False)
    mirror.call("/after", "POST", content=b"not kept")
    assert event_of(mirror, "/after")["visor"] is False
    assert exchange_of(mirror, "/before") == before
    again = mirror.host.post(f"{mirror.at}/events/{event_of(mirror, '/before')['id']}/replay", {})
    assert (again["response"]["body"]["text"], again["event"]["visor"]) == ("kept", False)


def test_large_bodies_are_cut_and_their_size_is_told(mirror: Micro) -> None:
    mirror.call("/big", "POST", content=b"y" * 100_000)
    shown = exchange_of(mirror, "/big")
    for side, letter, size in (("request", "y", 100_000), ("response", "x", 200_000)):
        body = shown[side]["body"]
        assert (body["bytes"], body["cut"]) == (size, True)
        assert body["text"] == letter * 65_536


def test_a_body_that_comes_in_pieces_is_kept_whole(mirror: Micro) -> None:
    mirror.call("/pieces", "POST", content=iter([b"one ", b"two ", b"three"]))
    shown = exchange_of(mirror, "/pieces")
    assert shown["request"]["body"]["text"] == "one two three"
    body = shown["response"]["body"]
    assert (body["bytes"], body["cut"]) == (120_000, True)
    assert body["text"] == ("0123456789" * 12_000)[:65_536]


def test_a_binary_body_is_shown_in_base64(mirror: Micro) -> None:
    content = bytes(range(256))
    mirror.call("/binary", "POST", content=content)
    body = exchange_of(mirror, "/binary")["request"]["body"]
    assert body["text"] is None
    assert base64.b64decode(body["base64"]) == content


def test_a_failure_has_its_request_and_no_response(mirror: Micro) -> None:
    assert mirror.call("/boom").status_code == 502
    shown = exchange_of(mirror, "/boom")
    assert shown["request"]["target"] == "/boom"
    assert shown["response"] is None


def test_a_websocket_has_its_handshake(new_micro: MakeMicro) -> None:
    micro = new_micro(visor=True)
    micro.must_deploy(zip_app("websocket"))
    with open_websocket(micro, "/ws?token=planted") as opened:
        opened.send("hello")
        opened.recv()
    shown = exchange_of(micro, "/ws")
    assert shown["request"]["target"] == "/ws?token=***"
    assert shown["response"]["status"] == 101


def test_the_input_and_the_result_of_a_run_are_kept(new_micro: MakeMicro) -> None:
    micro = new_micro(visor=True)
    main = (
        "from deta import app\n@app.lib.run(action='add')\ndef add(event):\n    return event.json['a'] + 1\n"
    )
    micro.must_deploy(zip_files({"main.py": main}))
    assert micro.run("add", a=41).json()["response"] == 42
    event = wait_until(lambda: [each for each in micro.events() if each["trigger"] == "run"], "the run")[0]
    shown = micro.host.get(f"{micro.at}/events/{event['id']}/exchange")
    assert (shown["request"]["target"], json.loads(shown["request"]["body"]["text"])) == ("add", {"a": 41})
    assert (shown["response"]["status"], shown["response"]["body"]["text"]) == (200, "42")


def test_another_micros_exchange_is_not_found(host: Host, mirror: Micro, new_micro: MakeMicro) -> None:
    mirror.call("/mine")
    event = event_of(mirror, "/mine")
    other = new_micro()
    assert host.api("GET", f"{other.at}/events/{event['id']}/exchange").status_code == 404


def test_the_exchanges_of_a_deleted_micro_go(host: Host) -> None:
    project = str(host.new_project("visor-purge")["id"])
    micro = host.new_micro(project, "gone", visor=True)
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    micro.call("/x")
    event_of(micro, "/x")
    with sqlite3.connect(host.data / "visor.db") as sql:
        assert sql.execute("SELECT count(*) FROM exchanges WHERE micro_id = ?", (micro.id,)).fetchone() == (
            1,
        )
    micro.delete()
    with sqlite3.connect(host.data / "visor.db") as sql:
        assert sql.execute("SELECT count(*) FROM exchanges WHERE micro_id = ?", (micro.id,)).fetchone() == (
            0,
        )
    host.api("DELETE", f"/projects/{project}")


def test_the_stream_shows_events_as_they_end_and_continues_where_it_broke(host: Host, mirror: Micro) -> None:
    at = f"/api/v1{mirror.at}/events/stream"
    with host.client.stream("GET", at) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        lines = streamed.iter_lines()
        assert next(lines).startswith(":")
        mirror.call("/live")
        while not (line := next(lines)).startswith("id: "):
            pass
        data = json.loads(next(lines).removeprefix("data: "))
        assert (data["path"], data["visor"], line) == ("/live", True, f"id: {data['id']}")
    for number in range(3):
        mirror.call(f"/later/{number}", "POST" if number == 1 else "GET")
    event_of(mirror, "/later/2")
    with host.client.stream("GET", f"{at}?method=GET", headers={"Last-Event-ID": data["id"]}) as streamed:
        text = ""
        for part in streamed.iter_text():
            text += part
            if len(parse_events(text)) == 2:
                break
    assert [each["path"] for _, each in parse_events(text)] == ["/later/0", "/later/2"]
    with host.client.stream("GET", at, headers={"Last-Event-ID": "long-gone"}) as streamed:
        assert parse_events(streamed.read().decode()) == [("behind", {})]


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("method=post", ["/one"]),
        ("trigger=run", []),
        ("trigger=http&method=GET", ["/boom", "/two"]),
        ("cause=any", ["/boom"]),
        ("cause=exception", ["/boom"]),
        ("cause=timeout", []),
        ("text=ON%20PURPOSE", ["/boom"]),
        ("text=/tw", ["/two"]),
    ],
)
def test_events_are_filtered(host: Host, mirror: Micro, query: str, paths: list[str]) -> None:
    mirror.call("/one", "POST")
    mirror.call("/two")
    mirror.call("/boom")
    event_of(mirror, "/boom")
    assert [each["path"] for each in host.get(f"{mirror.at}/events?{query}")["events"]] == paths


def test_a_user_follows_a_bounded_number_of_streams(host: Host, mirror: Micro) -> None:
    at = f"/api/v1{mirror.at}"
    with contextlib.ExitStack() as opened:
        for number in range(STREAMS_OF_ONE):
            path = f"{at}/logs?follow=1" if number % 2 else f"{at}/events/stream"
            answer = opened.enter_context(host.client.stream("GET", path))
            assert answer.status_code == 200
        for path in (f"{mirror.at}/events/stream", f"{mirror.at}/logs?follow=1"):
            refused = host.api("GET", path)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            assert "streams already" in refused.json()["errors"][0]
        assert host.api("GET", f"{mirror.at}/logs").status_code == 200

    def is_open_again() -> bool:
        with host.client.stream("GET", f"{at}/events/stream") as again:
            return again.status_code == 200

    wait_until(is_open_again, "a place for another stream")


@pytest.mark.parametrize("path", ["/events/stream", "/logs?follow=1"])
def test_a_stream_ends_when_its_reader_has_gone_though_nothing_comes(
    host: Host, mirror: Micro, path: str
) -> None:
    pid = host.serving_pid()
    before = count_connections(pid)
    head = f"GET /api/v1{mirror.at}{path} HTTP/1.1\r\nHost: localhost:{host.port}\r\nAuthorization: Bearer {host.token}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", host.port)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert count_connections(pid) == before + 1
    wait_until(lambda: count_connections(pid) <= before, "the end of the connection", timeout_s=5.0)


def count_connections(pid: int) -> int:
    """Count the sockets of a process."""
    count = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(each).startswith("socket:")
    return count
