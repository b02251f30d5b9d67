"""A host under a service manager: sockets that it is given, and what it tells. The manager's part is played by the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.driving import read_lines, wait_until

pytestmark = pytest.mark.root
MICROHOST = str(Path(sys.executable).parent / "microhost")
# As systemd starts a service: descriptors from 3 on, and the process told that they are for it.
MANAGER = """
import fcntl, os, sys
count = int(sys.argv[1])
moved = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 100) for each in sys.argv[2 : 2 + count]]
for number, each in enumerate(moved):
    os.dup2(each, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execv(sys.argv[2 + count], sys.argv[2 + count :])
"""


class Service:
    """Start and stop a host on sockets that stay open meanwhile."""

    def __init__(self, data: Path, *listeners: socket.socket, **environment: str) -> None:
        self.data = data
        self.listeners = listeners
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> list[str]:
        """Start it; give what it printed until it listened."""
        numbers = [each.fileno() for each in self.listeners]
        with self.data.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MANAGER, str(len(numbers)), *map(str, numbers), MICROHOST]
                + ["serve", "--data", str(self.data), "--port", "1"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=numbers,
                env={**os.environ, **self.environment},
            )
        return read_lines(self.process, "microhost listens on http", 60)

    def stop(self) -> int:
        assert self.process is not None and self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process.stdout.close()
        return status

    @property
    def log(self) -> str:
        return self.data.with_suffix(".log").read_text()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens as the manager's does."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener


def test_a_restart_keeps_who_asks_waiting_and_fails_nobody(tmp_path: Path, listener: socket.socket) -> None:
    service = Service(tmp_path / "data", listener)
    port = listener.getsockname()[1]
    assert service.start()[-1].strip() == f"microhost listens on http://localhost:{port}"
    codes: list[int | str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                codes.append(httpx.get(f"http://127.0.0.1:{port}/api/v1/health", timeout=60).status_code)
            except httpx.HTTPError as error:
                codes.append(repr(error))
            time.sleep(0.02)

    def see_answers() -> None:
        before = len(codes)
        wait_until(lambda: len(codes) > before + 20, "visitors are answered")

    visitors = [threading.Thread(target=ask) for _ in range(4)]
    for each in visitors:
        each.start()
    try:
        see_answers()
        assert service.stop() == 0, service.log
        assert service.start(), service.log
        see_answers()
    finally:
        over.set()
        for each in visitors:
            each.join(90)
        status = service.stop()
    assert status == 0
    assert len(set(codes)) == 1, {str(each): codes.count(each) for each in codes}


def test_who_has_connected_and_not_asked_yet_is_answered(tmp_path: Path, listener: socket.socket) -> None:
    service = Service(tmp_path / "data", listener)
    assert service.start(), service.log
    assert service.process is not None
    with contextlib.ExitStack() as stack:
        visitors = [
            stack.enter_context(socket.create_connection(listener.getsockname()[:2], timeout=60))
            for _ in range(8)
        ]
        time.sleep(0.5)  # so that all are accepted
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        for each in visitors:
            each.sendall(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answers = [each.recv(4096).lower() for each in visitors]
    assert service.stop() == 0
    assert all(each.startswith(b"http/1.1 401") and b"connection: close" in each for each in answers), answers


def test_it_tells_when_it_is_ready_and_when_it_stops(tmp_path: Path, listener: socket.socket) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(60)
        service = Service(tmp_path / "data", listener, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert service.start(), service.log
        heard.append(ear.recv(100))
        assert service.stop() == 0
        heard.append(ear.recv(100))
    assert heard == [b"READY=1", b"STOPPING=1"]


def test_several_sockets_are_told_apart_by_their_names(tmp_path: Path, listener: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as operations:
        service = Service(tmp_path / "data", operations, listener, LISTEN_FDNAMES="operations:http")
        assert service.start()[-1].strip().endswith(f":{listener.getsockname()[1]}"), service.log
        try:
            answer = httpx.get(f"http://127.0.0.1:{operations.getsockname()[1]}/healthz")
            assert answer.text == "ok\n"
        finally:
            assert service.stop() == 0


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, listener: socket.socket) -> None:
    with contextlib.ExitStack() as stack:
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        open_to_all = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        for number, (given, names, words) in enumerate(
            [
                ((listener, open_to_all), "http:operations", "is for this machine alone"),
                ((datagrams,), "http", "does not listen on TCP"),
                ((listener, listener), "http:other", "name each in its unit"),
                ((listener, listener), "", "gave 2 sockets called nothing"),
            ]
        ):
            service = Service(tmp_path / f"data{number}", *given, LISTEN_FDNAMES=names)
            assert service.start() == []
            assert service.process is not None and service.process.stdout is not None
            service.process.stdout.close()
            assert service.process.wait(30) == 1
            assert words in service.log
