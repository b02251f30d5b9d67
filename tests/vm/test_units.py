"""The units of deploy/ under a real systemd: started, reloaded, restarted without a failed request. Only in the machine of `make test-vm`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.driving import CALL_TIMEOUT_S, Host, wait_until, zip_files
from tests.slowness import slow

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("VM_RESULTS" not in os.environ, reason="needs a systemd of its own (make test-vm)"),
]
DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = Path("/etc/systemd/system")
STATE = Path("/var/lib/microhost")
KINDS = (".service", ".socket", ".timer")
PORT, OPERATIONS_PORT = 8000, 9180
HELLO = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=slow(120))
    assert done.returncode == 0, (words, done.stderr, journal())
    return done.stdout


def journal(unit: str = "microhost") -> str:
    return subprocess.run(
        ["journalctl", "-u", unit, "--no-pager", "-n", "60"], capture_output=True, text=True, check=False
    ).stdout


class Unit(Host):
    """Be the host that the units start."""

    def _start(self) -> None:
        systemctl("start", "microhost.socket", "microhost.service")
        self.port, self.operations_port = PORT, OPERATIONS_PORT
        self.token = (self.data / "owner.token").read_text().strip()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{PORT}",
            headers={"Host": "micros.example.org", "Authorization": f"Bearer {self.token}"},
            timeout=CALL_TIMEOUT_S,
        )

    def stop(self) -> int:
        self.client.close()
        systemctl("stop", "microhost.socket", "microhost.service")
        return 0


@pytest.fixture(scope="module")
def host() -> Iterator[Unit]:
    """Install what deploy/README.md says, and start it."""
    subprocess.run(["useradd", "--system", "--home-dir", str(STATE), "microhost"], check=True)
    for kind in ("uids", "gids"):
        subprocess.run(["usermod", f"--add-sub{kind}", "300000-310010", "microhost"], check=True)
    Path("/opt/microhost").symlink_to(sys.prefix)
    for each in DEPLOY.glob("microhost*.*"):
        if each.suffix in KINDS:
            shutil.copy(each, UNITS / each.name)
    shutil.copy(DEPLOY / "microhost.toml", "/etc/microhost.toml")
    systemctl("daemon-reload")
    host = Unit(STATE / "data")
    yield host
    host.stop()


def test_the_units_are_without_mistakes() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(str(each) for each in DEPLOY.glob("microhost*") if each.suffix in KINDS)],
        capture_output=True, text=True, check=False, timeout=slow(60),
    )  # fmt: skip
    complaints = [
        each for each in done.stderr.splitlines() if "microhost" in each and "not executable" not in each
    ]
    assert complaints == []


def test_requests_are_served_while_it_is_reloaded_and_restarted(host: Unit) -> None:
    micro = host.new_micro(host.new_project("units")["id"], "hello")
    micro.must_deploy(zip_files({"main.py": HELLO}))
    over = threading.Event()
    answers: list[str] = []

    def ask() -> None:
        name = {"Host": f"{micro.path}.micros.example.org"}
        while not over.is_set():
            try:
                answers.append(httpx.get(f"http://127.0.0.1:{PORT}/", headers=name, timeout=slow(60)).text)
            except httpx.HTTPError as error:
                answers.append(repr(error))
            time.sleep(0.05)

    visitor = threading.Thread(target=ask)
    visitor.start()
    try:
        for verb in ("reload", "restart"):
            before = len(answers)
            systemctl(verb, "microhost.service")
            wait_until(
                lambda before=before: len(answers) > before + 10, f"answers after {verb}", timeout_s=60
            )  # type: ignore[misc]
    finally:
        over.set()
        visitor.join()
    assert set(answers) == {"hello"}, journal()
    assert httpx.get(f"http://127.0.0.1:{OPERATIONS_PORT}/readyz").status_code == 200


def test_it_runs_as_its_own_user(host: Unit) -> None:
    pid = systemctl("show", "-p", "MainPID", "--value", "microhost.service").strip()
    assert Path(f"/proc/{pid}").stat().st_uid != 0


def test_a_backup_is_made_and_old_ones_go(host: Unit) -> None:
    systemctl("start", "microhost-backup.service")
    folder = STATE / "backups"
    (first,) = folder.glob("*.tar")
    assert first.stat().st_size > 1000, journal("microhost-backup")
    for number in range(8):
        old = folder / f"old-{number}.tar"
        old.touch()
        os.utime(old, (number, number))
    systemctl("start", "microhost-backup.service")
    kept = {each.name for each in folder.glob("*.tar")}
    assert len(kept) == 7 and first.name in kept and "old-0.tar" not in kept, kept
