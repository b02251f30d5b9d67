"""A backup of a running host, restored elsewhere: data, code, dependencies and, with the passphrase, secrets."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.driving import Host, Micro, zip_app

COMMAND = str(Path(sys.executable).parent / "microhost")
PASSPHRASE = "a passphrase of some length"


def microhost(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator does."""
    environment = {**os.environ, "MICROHOST_BACKUP_PASSPHRASE": PASSPHRASE}
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=60)


class Owner:
    """Use Base and Drive of one project from outside."""

    def __init__(self, project: str, key: str) -> None:
        self.project, self.key = project, key

    def request(self, host: Host, method: str, path: str, **more: object) -> httpx.Response:
        """Call a product path such as `base/people/items`."""
        product, _, rest = path.partition("/")
        headers = {"Host": f"localhost:{host.port}", "X-API-Key": self.key}
        url = f"http://127.0.0.1:{host.port}/{product}/v1/{self.project}/{rest}"
        return httpx.request(method, url, headers=headers, timeout=30, **more)  # type: ignore[arg-type]

    def put(self, host: Host, number: int) -> bool:
        """Put an item; tell whether it was acknowledged."""
        items = [{"key": f"{number:08d}", "number": number}]
        return self.request(host, "PUT", "base/people/items", json={"items": items}).status_code == 207


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_running_host_is_backed_up_and_everything_acknowledged_before_works_elsewhere(
    tmp_path: Path, with_keys: bool
) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("kept")["id"]
    owner = Owner(project, host.post(f"/projects/{project}/keys", {"name": "outside"})["key"])
    micro = host.new_micro(project, "kept")
    micro.must_deploy(zip_app("hello-fastapi"))
    micro.put_env(COLOUR="blue")
    of_node = host.new_micro(project, "of-node", runtime="node")
    of_node.must_deploy(zip_app("node-koa"))
    assert owner.request(host, "POST", "drive/d/files?name=a.txt", content=b"hello").status_code == 201
    acknowledged, writing = [0], threading.Event()

    def write() -> None:
        for number in itertools.count(1):
            if writing.is_set() or not owner.put(host, number):
                return
            acknowledged[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    while acknowledged[0] < 20:
        assert writer.is_alive()
    before = acknowledged[0]
    file, restored = tmp_path / "backup.tar", tmp_path / "restored"
    made = microhost("backup", str(file), "--data", str(host.data), *(["--with-keys"] if with_keys else []))
    writing.set()
    writer.join(30)
    assert made.returncode == 0, made.stderr
    assert host.stop() == 0, host.tail()
    back = microhost("restore", str(file), "--data", str(restored))
    assert back.returncode == 0, back.stderr
    assert ("kept/kept: COLOUR" in back.stderr + back.stdout) is not with_keys
    second = Host(restored)
    for number in range(1, before + 1):
        assert owner.request(second, "GET", f"base/people/items/{number:08d}").json()["number"] == number
    assert owner.request(second, "GET", "drive/d/files/download?name=a.txt").content == b"hello"
    same = Micro(second, project, micro.id, micro.path)
    assert same.call().json() == {"Hello": "World"}
    assert Micro(second, project, of_node.id, of_node.path).call().json() == {"hello": "world"}
    assert second.get(f"{same.at}/env")["names"] == (["COLOUR"] if with_keys else [])
    assert second.stop() == 0, second.tail()


def test_a_backup_holds_no_secret_without_a_passphrase(tmp_path: Path) -> None:
    host = Host(tmp_path / "data")
    project = host.new_project("kept")["id"]
    key = host.post(f"/projects/{project}/keys", {"name": "outside"})["key"]
    micro = host.new_micro(project, "kept")
    micro.must_deploy(zip_app("plain-wsgi"))
    micro.put_env(COLOUR="a colour that nobody may read")
    for options in ([], ["--with-keys"]):
        file = tmp_path / f"backup{len(options)}.tar"
        assert microhost("backup", str(file), "--data", str(host.data), *options).returncode == 0
        content = file.read_bytes()
        for secret in (host.token, key, "a colour that nobody may read"):
            assert secret.encode() not in content
        assert (host.data / "secrets" / "master.key").read_bytes() not in content
    assert host.stop() == 0, host.tail()
