"""A real host on a disk that fills up: 507 or another refusal, never a false success, and work again with room."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from reaching import Project, Refused

from tests.driving import Host, wait_until

pytestmark = pytest.mark.root

DISK_BYTES = 128 * 1024 * 1024
MB = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a directory on a disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0755", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Client:
    """Put items and files that tell their number, and know which were acknowledged."""

    def __init__(self, host: Host) -> None:
        self.host = host
        project = str(host.new_project("full")["id"])
        key = str(host.post(f"/projects/{project}/keys", {"name": "outside"})["key"])
        self.project = Project(host.port, project, key)
        self.kept: dict[str, bytes] = {}
        self.statuses: Counter[str] = Counter()
        self._number = 0

    def put_item(self, size: int) -> bool:
        """Put one item; tell whether it was acknowledged."""
        name = self._next()
        document = {"items": [{"key": name, "text": "x" * size}]}
        return self._keep(f"base/things/items/{name}", b"x" * size, ("PUT", "base/things/items", document))

    def put_file(self, size: int) -> bool:
        """Put one file; tell whether it was acknowledged."""
        name = self._next()
        content = name.encode().ljust(size, b"f")
        path = f"drive/box/files?name={name}"
        return self._keep(f"drive/box/files/download?name={name}", content, ("POST", path, content))

    def check(self) -> None:
        """Find all that was acknowledged, whole."""
        for path, wanted in self.kept.items():
            status, content = self.project.call("GET", path)
            assert status == 200, (path, content)
            assert wanted in content, path

    def delete(self, count: int) -> None:
        """Delete the first ones that were kept, items and files."""
        for path in list(self.kept)[:count]:
            if path.startswith("base"):
                status, _ = self.project.call("DELETE", path)
            else:
                names = {"names": [path.partition("=")[2]]}
                status, _ = self.project.send("DELETE", "drive/box/files", names)
            assert status == 200, path
            del self.kept[path]

    def _keep(self, path: str, wanted: bytes, request: tuple[str, str, object]) -> bool:
        method, to, body = request
        try:
            if isinstance(body, bytes):
                status, answer = self.project.call(method, to, body)
            else:
                status, answer = self.project.send(method, to, body)
        except Refused as refusal:
            self.statuses[str(refusal)[:3]] += 1
            return False
        self.statuses[str(status)] += 1
        assert status in (201, 207), answer
        self.kept[path] = wanted
        return True

    def _next(self) -> str:
        self._number += 1
        return f"n{self._number}"


def fill(file: Path) -> None:
    """Take what is left of the disk."""
    with file.open("wb", buffering=0) as stream:
        try:
            while stream.write(b"b" * 4096):
                pass
        except OSError:
            pass


@pytest.mark.timeout(180)
def test_a_host_on_a_full_disk_refuses_loses_nothing_and_recovers(small_disk: Path) -> None:
    host = Host(small_disk / "data")
    try:
        client = Client(host)
        while client.put_file(MB):
            assert len(client.kept) < 200
        while client.put_item(300_000):
            assert len(client.kept) < 500
        assert set(client.statuses) == {"201", "207", "507"}, client.statuses
        client.check()
        client.delete(1)  # full is full for what is new only

        fill(small_disk / "ballast")
        client.statuses.clear()
        for size in (10, 5000, 300_000):
            client.put_item(size)
            client.put_file(size)
        assert client.statuses["507"] >= 5, client.statuses
        assert host.api("POST", "/projects", {"name": "one-more"}).status_code in (201, 507)
        client.check()

        host.kill_host_process()  # it may not even be able to start on such a disk
        (small_disk / "ballast").unlink()
        wait_until(lambda: is_back(client), "the host is back", timeout_s=60)
        client.check()
        client.delete(20)
        assert client.put_item(1000) and client.put_file(MB)
        client.check()
        client.project.close()
        assert host.stop() == 0, host.tail()
    finally:
        host.stop()


def is_back(client: Client) -> bool:
    """Tell whether the host answers."""
    try:
        return client.project.call("GET", "drive/box/files?limit=1")[0] == 200
    except Refused:
        return False
