"""Drive Drive: open it on a directory, speak to it as the clients do, look at what is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from microhost.drive.http import create_app
from microhost.limits import MB
from microhost.storage.drives import Drives

PROJECT = "a0projecta"
MIB = 1024 * 1024


class Clock:
    """Be a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        """Move on."""
        self.now += timedelta(**by)


def open_drives(data: Path, *, quota_bytes: int = 10_000 * MB, clock: Clock | None = None) -> Drives:
    """Open Drives below `data`."""
    return Drives(data, quota_bytes=quota_bytes, clock=clock or Clock())


def client_of(drives: Drives, *, project: str = PROJECT, drive: str = "box") -> httpx.AsyncClient:
    """Give a client whose base is one Drive."""
    transport = httpx.ASGITransport(create_app(drives), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://drive.test/v1/{project}/{drive}")


async def put(client: httpx.AsyncClient, name: str, content: bytes = b"hello", **headers: str) -> None:
    """Store a small file."""
    answer = await client.post("/files", params={"name": name}, content=content, headers=headers)
    assert answer.status_code == 201, answer.text


async def get(client: httpx.AsyncClient, name: str, **headers: str) -> httpx.Response:
    """Download a file."""
    return await client.get("/files/download", params={"name": name}, headers=headers)


async def start(client: httpx.AsyncClient, name: str) -> str:
    """Begin a chunked upload; give its id."""
    answer = await client.post("/uploads", params={"name": name})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["upload_id"])


async def send_part(
    client: httpx.AsyncClient, upload: str, name: str, part: object, content: bytes, **headers: str
) -> httpx.Response:
    """Send one part."""
    params = {"name": name, "part": str(part)}
    return await client.post(f"/uploads/{upload}/parts", params=params, content=content, headers=headers)


async def finish(client: httpx.AsyncClient, upload: str, name: str) -> httpx.Response:
    """Finish an upload."""
    return await client.patch(f"/uploads/{upload}", params={"name": name})


async def names(client: httpx.AsyncClient, **params: Any) -> list[str]:
    """List names."""
    answer = await client.get("/files", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["names"])


def on_disk(data: Path, project: str = PROJECT) -> list[Path]:
    """Give every file of contents there is."""
    return sorted(path for path in (data / "drive" / project).rglob("*") if path.is_file())


@contextlib.contextmanager
def served(drives: Drives) -> Iterator[tuple[str, int]]:
    """Serve Drives by a real server on loopback; give its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(drives), lifespan="off", log_config=None, loop="asyncio")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    try:
        wait_until(lambda: server.started, "the server starts")
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def wait_until(true: Any, what: str, *, timeout_s: float = 20.0) -> None:
    """Poll until `true()`."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)
