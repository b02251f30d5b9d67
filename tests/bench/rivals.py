"""Start what a user would take otherwise: the same app under uvicorn or gunicorn, without any isolation."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.driving import APPS

START_DEADLINE_S = 20.0
SLOWING = ("NODE_EXTRA_CA_CERTS",)  # 40 ms at each start of Node, which few machines have set
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Rival:
    """A way to serve one of tests/apps."""

    name: str
    app: str
    command: tuple[str, ...]
    directory: Path | None = None  # where it stands, if not in tests/apps


def uvicorn(app: str, workers: int) -> Rival:
    """Serve with uvicorn as its docs say, with uvloop and httptools, its access log off."""
    options = ("--no-access-log", "--log-level", "error", "--workers", str(workers))
    return Rival(
        f"uvicorn, {workers} worker{'s' * (workers > 1)}", app, (str(BIN / "uvicorn"), "main:app", *options)
    )


def gunicorn(app: str, workers: int) -> Rival:
    """Serve with gunicorn's own (sync) workers."""
    options = ("--log-level", "error", "-w", str(workers))
    return Rival(f"gunicorn -w {workers}", app, (str(BIN / "gunicorn"), "main:app", *options))


@contextmanager
def serving(rival: Rival, cores: str | None = None) -> Iterator[int]:
    """Run it on a free port; gives the port when it answers with 200."""
    port = free_port()
    process = _start(rival, port, cores)
    try:
        _wait(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def time_to_first_answer_s(rival: Rival) -> float:
    """Start a new process and give the time to its first 200."""
    port = free_port()
    begun = time.perf_counter()
    process = _start(rival, port, None)
    try:
        _wait(port, process)
        return time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait()


def _start(rival: Rival, port: int, cores: str | None) -> subprocess.Popen[bytes]:
    where: tuple[str, ...] = ("--port", str(port))
    if "gunicorn" in rival.command[0]:
        where = ("--bind", f"127.0.0.1:{port}")
    elif rival.command[0] == "node":
        where = ()
    pinned = ("taskset", "-c", cores) if cores else ()
    return subprocess.Popen(
        [*pinned, *rival.command, *where],
        cwd=rival.directory or APPS / rival.app,
        env={name: value for name, value in os.environ.items() if name not in SLOWING} | {"PORT": str(port)},
        stdin=subprocess.DEVNULL,
    )


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.001)
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
