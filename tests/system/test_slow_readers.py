"""Who reads slowly or without end costs the host little memory and holds up no stop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from microhost.limits import MB, MIB
from tests.driving import Host, wait_until

pytestmark = pytest.mark.root
READERS = 200
STOP_S = 6.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Start a host of the test's own: its memory is measured, and it is stopped."""
    host = Host(tmp_path / "data")
    yield host
    host.stop()


def connect(host: Host, target: str, *headers: str, room_bytes: int = 0) -> socket.socket:
    """Ask for something and read nothing yet; `room_bytes` is what the system may keep for the reader."""
    peer = socket.socket()
    if room_bytes:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
    peer.settimeout(20)
    peer.connect(("127.0.0.1", host.port))
    head = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: localhost:{host.port}", *headers, "", ""])
    peer.sendall(head.encode())
    return peer


def rss_bytes(host: Host) -> int:
    """Give the memory of the process that serves."""
    status = Path(f"/proc/{host.serving_pids()[0]}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def test_two_hundred_slow_readers_of_a_file_cost_less_than_50_mb(host: Host) -> None:
    project = host.get("/projects")["projects"][0]["id"]
    key = host.post(f"/projects/{project}/keys", {"name": "slow"})["key"]
    box = f"/drive/v1/{project}/box"
    file = {"params": {"name": "x"}, "headers": {"X-API-Key": key}}
    stored = host.client.post(f"{box}/files", content=os.urandom(10 * MIB), **file)  # type: ignore[arg-type]
    assert stored.status_code == 201
    assert host.client.get(f"{box}/files/download", **file).status_code == 200  # type: ignore[arg-type]
    before = rss_bytes(host)
    with ExitStack() as stack:
        target = f"{box}/files/download?name=x"
        for _ in range(READERS):
            peer = stack.enter_context(connect(host, target, f"X-API-Key: {key}", room_bytes=2048))
            assert peer.recv(1) == b"H"
        assert host.client.get(f"{box}/files", headers={"X-API-Key": key}).json() == {"names": ["x"]}
        growth = rss_bytes(host) - before
    print(f"{READERS} slow readers: memory grew by {growth / MB:.1f} MB")
    assert growth < 50 * MB


def test_a_host_that_stops_ends_those_who_follow_and_waits_for_none(host: Host) -> None:
    project = host.get("/projects")["projects"][0]["id"]
    micro = host.post(f"/projects/{project}/micros", {"name": "followed"})["id"]
    target = f"/api/v1/projects/{project}/micros/{micro}/logs?follow=1"
    with connect(host, target, f"Authorization: Bearer {host.token}") as peer:
        received = bytearray()
        wait_until(lambda: received.extend(peer.recv(4096)) or b"\r\n\r\n" in received, "the answer begins")
        assert received.startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        host.stop()
        took_s = time.monotonic() - begun
        while piece := peer.recv(4096):
            received += piece
    assert received.endswith(b"0\r\n\r\n"), "it ends whole, as the follower can see"
    assert took_s < STOP_S
