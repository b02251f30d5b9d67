"""Over a real server: memory stays flat, a slow reader costs a piece, who leaves in the middle stores nothing."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from driving_drive import MIB, PROJECT, on_disk, served, wait_until

from microhost.storage.drives import Drives

HERE = Path(__file__).parent
BOX = f"/v1/{PROJECT}/box"
SERVER = """
import sys, asyncio, socket, uvloop
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import uvicorn
from driving_drive import open_drives
from microhost.drive.http import create_app
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, else Nagle stays on
listener.bind(("127.0.0.1", 0))
listener.listen(512)
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(create_app(open_drives(Path(sys.argv[1]))), lifespan="off", log_config=None, loop="none")
uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
"""


def files_of(data: Path) -> list[Path]:
    """Give what is on the disk."""
    return on_disk(data)


def test_an_upload_that_breaks_off_stores_nothing(drives: Drives, tmp_path: Path) -> None:
    with served(drives) as (host, port):
        for framing in (b"content-length: 3000000", b"transfer-encoding: chunked"):
            with socket.create_connection((host, port)) as peer:
                head = b"POST %s/files?name=x HTTP/1.1\r\nhost: d\r\n%s\r\n\r\n" % (BOX.encode(), framing)
                body = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB) if b"chunked" in framing else b"x" * MIB
                peer.sendall(head + body)
                wait_until(lambda: files_of(tmp_path), "the body is on its way to the disk")
            wait_until(lambda: not files_of(tmp_path), "nothing is left of it")
        asking = http.client.HTTPConnection(host, port)
        asking.request("GET", f"{BOX}/files")
        assert asking.getresponse().read() == b'{"names":[]}'
        asking.close()
    assert drives.usage(PROJECT).used_bytes == 0


def test_a_reader_that_leaves_lets_the_file_go(drives: Drives, tmp_path: Path) -> None:
    project = drives.of(PROJECT)
    with served(drives) as (host, port):
        client = http.client.HTTPConnection(host, port)
        client.request("POST", f"{BOX}/files?name=x", body=b"x" * (10 * MIB))
        assert client.getresponse().read()
        with socket.create_connection((host, port)) as peer:
            peer.sendall(b"GET %s/files/download?name=x HTTP/1.1\r\nhost: d\r\n\r\n" % BOX.encode())
            peer.recv(1000)
            client.request("DELETE", f"{BOX}/files", body=b'{"names": ["x"]}')
            assert client.getresponse().read() == b'{"deleted":["x"]}'
            assert len(files_of(tmp_path)) == 1, "it is still being read"
        wait_until(lambda: not files_of(tmp_path), "the deleted file goes when its reader has gone")
        client.close()
    assert project.usage().used_bytes == 0


def test_the_connection_is_cut_when_a_content_turns_out_short(drives: Drives, tmp_path: Path) -> None:
    with served(drives) as (host, port):
        client = http.client.HTTPConnection(host, port)
        client.request("POST", f"{BOX}/files?name=x", body=os.urandom(8 * MIB))
        assert client.getresponse().read()
        (content,) = files_of(tmp_path)
        os.truncate(content, 4 * MIB)
        client.request("GET", f"{BOX}/files/download?name=x")
        answer = client.getresponse()
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
        client.close()


class Process:
    """Serve Drives in a process of its own."""

    def __init__(self, data: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])}
        command = [sys.executable, "-c", SERVER, str(data), str(HERE)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def rss_bytes(self, kind: str) -> int:
        """Give VmRSS or VmHWM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(kind))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, client: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> bytes:
        client.request(method, BOX + path, body=body)
        answer = client.getresponse()
        assert answer.status < 300
        return answer.read()


def stream_through(data: Path, size_bytes: int) -> tuple[int, str]:
    """Send a file in parts, read it back; give by how much the server's memory grew at most, and both speeds."""
    server = Process(data)
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        server.ask(client, "POST", "/files?name=warm", os.urandom(10 * MIB))
        server.ask(client, "GET", "/files/download?name=warm")
        before = server.rss_bytes("VmHWM")
        piece, count = os.urandom(10 * MIB), size_bytes // (10 * MIB)
        begun = time.monotonic()
        upload = (
            server.ask(client, "POST", "/uploads?name=x").split(b'"upload_id":"')[1].split(b'"')[0].decode()
        )
        digest = hashlib.sha256()
        for number in range(1, count + 1):
            part = number.to_bytes(8, "big") + piece[8:]
            digest.update(part)
            server.ask(client, "POST", f"/uploads/{upload}/parts?name=x&part={number}", part)
        server.ask(client, "PATCH", f"/uploads/{upload}?name=x")
        sent = time.monotonic()
        client.request("GET", f"{BOX}/files/download?name=x")
        answer, found, length = client.getresponse(), hashlib.sha256(), 0
        while chunk := answer.read(MIB):
            found.update(chunk)
            length += len(chunk)
        read = time.monotonic()
        assert (length, found.digest()) == (count * 10 * MIB, digest.digest())
        speeds = (
            f"up {length / MIB / (sent - begun):.0f} MiB/s, down {length / MIB / (read - sent):.0f} MiB/s"
        )
        return server.rss_bytes("VmHWM") - before, speeds
    finally:
        client.close()
        server.stop()


def test_memory_stays_flat_for_a_large_file(tmp_path: Path) -> None:
    growth, speeds = stream_through(tmp_path, 300 * MIB)
    print(f"300 MiB: memory grew by {growth / MIB:.1f} MiB; {speeds}")
    assert growth < 16 * MIB


@pytest.mark.long
@pytest.mark.timeout(900)
def test_memory_stays_flat_for_5_gb(tmp_path: Path) -> None:
    growth, speeds = stream_through(tmp_path, 5000 * MIB)
    print(f"5 GB: memory grew by {growth / MIB:.1f} MiB; {speeds}")
    assert growth < 16 * MIB


def test_slow_readers_cost_a_piece_each(tmp_path: Path) -> None:
    server = Process(tmp_path)
    client = http.client.HTTPConnection("127.0.0.1", server.port)
    peers: list[socket.socket] = []
    try:
        server.ask(client, "POST", "/files?name=x", os.urandom(10 * MIB))
        server.ask(client, "GET", "/files/download?name=x")
        before = server.rss_bytes("VmRSS")
        for _ in range(200):
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", server.port))
            peer.sendall(b"GET %s/files/download?name=x HTTP/1.1\r\nhost: d\r\n\r\n" % BOX.encode())
            peers.append(peer)
        assert all(peer.recv(1) == b"H" for peer in peers)
        server.ask(client, "GET", "/files")
        growth = server.rss_bytes("VmRSS") - before
        print(f"200 slow readers: memory grew by {growth / MIB:.1f} MiB")
        assert growth < 50 * MIB
    finally:
        for peer in peers:
            peer.close()
        client.close()
        server.stop()
