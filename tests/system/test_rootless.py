"""An ordinary user's host: the same Micros, walls and sentences as root's (README, "Without root")."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.premises import tree_name
from tests.as_user import BARE, NAME, make_account
from tests.driving import CHECKOUT, Host, wait_until, zip_app, zip_files
from tests.terminal import DETA

pytestmark = [
    pytest.mark.root,  # to make the account, and to delegate control groups to it
    pytest.mark.skipif(shutil.which("newuidmap") is None, reason="newuidmap is not installed"),
]

MICROHOST = str(Path(sys.executable).parent / "microhost")

WHO = """
import json, os

def app(environ, start_response):
    if environ["PATH_INFO"] == "/write":
        with open("/tmp/left", "x") as file:
            file.write("mine")
    facts = {"left": os.path.exists("/tmp/left"), "uid": os.getuid(), "root": os.stat("/usr").st_uid}
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(facts).encode()]
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """An ordinary user's host with a range of ids."""
    make_account()
    running = Host(tmp_path_factory.mktemp("rootless") / "data", as_user=NAME)
    yield running
    assert running.stop() == 0, running.tail()


def test_it_serves_micros(host: Host) -> None:
    micro = host.new_micro(host.new_project("rootless")["id"], "hello")
    micro.must_deploy(zip_app("plain-wsgi"))
    assert micro.call("/").status_code == 200


def test_nothing_of_it_runs_as_root(host: Host) -> None:
    assert os.stat(f"/proc/{host.warden_pid()}").st_uid == pwd.getpwnam(NAME).pw_uid
    assert os.stat(f"/proc/{host.serving_pid()}").st_uid > 1_000_000


def test_each_execution_has_a_tmp_of_its_own(host: Host) -> None:
    micro = host.new_micro(host.new_project("tmp")["id"], "who")
    micro.must_deploy(zip_files({"main.py": WHO}))
    assert micro.call("/write").json()["left"]
    assert micro.call("/").json()["uid"] == 1000


def test_every_guard_is_enforced(host: Host) -> None:
    weak = [each for each in host.get("/doctor")["guards"] if each["state"] != "enforced"]
    assert weak == []


def pids_of_uids(first: int, count: int = 10_000) -> list[int]:
    """Give every process of a range of user ids."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if first <= entry.stat().st_uid < first + count:
                found.append(int(entry.name))
    return found


def run_as(name: str, show: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who reaches the directory `show`."""
    shown = [sys.executable, "-m", "tests.as_user", "--show", str(show), name]
    return subprocess.run([*shown, *command], cwd=CHECKOUT, capture_output=True, text=True, check=False)


def as_user(host: Host, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the host's user, who reaches the directory that it lies in."""
    return run_as(NAME, host.data.parent, *command)


def test_its_user_reads_the_token_that_belongs_to_the_hosts_own_id(host: Host) -> None:
    assert (host.data / "owner.token").stat().st_uid > 1_000_000
    assert as_user(host, "cat", str(host.data / "owner.token")).returncode != 0
    assert as_user(host, MICROHOST, "token", "--data", str(host.data)).stdout.strip() == host.token


def test_its_user_backs_it_up_and_brings_it_back(host: Host) -> None:
    file, data = str(host.data.parent / "all.tar"), str(host.data.parent / "back")
    made = as_user(host, MICROHOST, "backup", file, "--data", str(host.data))
    assert made.returncode == 0, made.stderr
    back = as_user(host, MICROHOST, "restore", file, "--data", data)
    assert back.returncode == 0, back.stderr
    assert Path(data, "meta.db").stat().st_uid == (host.data / "meta.db").stat().st_uid


def test_its_user_deletes_what_it_kept(host: Host) -> None:
    place = host.data.parent / "other"
    place.mkdir()
    other = Host(place / "data", as_user=NAME)
    assert other.stop() == 0
    as_user(host, "rm", "-rf", str(place / "data"))
    assert (place / "data" / "meta.db").exists(), "the user alone cannot"
    as_user(host, MICROHOST, "unshare", "rm", "-rf", str(place / "data"))
    assert not (place / "data").exists()


def test_nothing_outlives_it_when_it_is_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    host = Host(
        tmp_path_factory.mktemp("killed") / "data", as_user=NAME, environment={"MICROHOST_UID_BASE": "340000"}
    )
    micro = host.new_micro(host.new_project("killed")["id"], "hello")
    micro.must_deploy(zip_app("plain-wsgi"))
    assert micro.call("/").status_code == 200
    first = host.outside_id(340_000)
    assert len(pids_of_uids(first)) > 2
    host.kill()
    wait_until(lambda: not pids_of_uids(first), "no process of its ids is left")
    host.restart()
    assert micro.call("/").status_code == 200
    assert host.stop() == 0, host.tail()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{tree_name(host.data)}"))


def test_another_users_directory_is_refused_in_one_sentence(host: Host, tmp_path: Path) -> None:
    roots = tmp_path / "roots"
    roots.mkdir()
    running = Host(roots / "data", as_user="")
    assert running.stop() == 0
    refused = run_as(NAME, roots, MICROHOST, "serve", "--port", "0", "--data", str(roots / "data"))
    assert refused.returncode == 1
    assert f"'{roots}/data' belongs to another user" in refused.stderr
    place = host.data.parent / "users"
    place.mkdir()
    users = Host(place / "data", as_user=NAME)
    assert users.stop() == 0
    before = (place / "data" / "meta.db").stat().st_uid
    refused = subprocess.run(
        [MICROHOST, "serve", "--port", "0", "--data", str(place / "data")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert f"'{place}/data' belongs to another user" in refused.stderr
    assert (place / "data" / "meta.db").stat().st_uid == before


def test_deta_dev_runs_and_leaves_nothing(tmp_path: Path, host: Host) -> None:
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "main.py").write_text(WHO)
    for each in (tmp_path, tmp_path / "blog"):
        os.chown(each, pwd.getpwnam(NAME).pw_uid, -1)
    script = f"cd {tmp_path}/blog && HOME={tmp_path} TMPDIR={tmp_path} exec {DETA} dev"
    command = [sys.executable, "-m", "tests.as_user", "--show", str(tmp_path), NAME, "sh", "-c", script]
    log = tmp_path / "log"
    with log.open("wb") as output:
        typed = subprocess.Popen(command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(
            lambda: "Watching for saves" in log.read_text() or typed.poll() is not None,
            "it runs",
            timeout_s=60,
        )
        found = re.search(r"runs at http://(\S+)", log.read_text())
        assert found is not None, log.read_text()
        port = found[1].rpartition(":")[2]
        answer = httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": found[1]}, timeout=30)
        assert answer.json()["uid"] == 1000
        assert list(tmp_path.glob("deta-dev-*"))
        typed.send_signal(signal.SIGINT)
        typed.wait(60)
    finally:
        typed.kill()
        typed.wait()
    assert not list(tmp_path.glob("deta-dev-*")), log.read_text()


def test_without_a_range_the_start_is_refused_in_a_sentence_that_names_the_guard(
    bare: str, tmp_path: Path
) -> None:
    os.chown(tmp_path, pwd.getpwnam(bare).pw_uid, -1)
    refused = run_as(bare, tmp_path, MICROHOST, "serve", "--port", "0", "--data", str(tmp_path / "data"))
    assert refused.returncode == 1
    assert "MICROHOST_INSECURE_SANDBOX=user_ids" in refused.stderr


def test_an_accepted_level_serves_and_is_shown(bare: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("bare") / "data"
    host = Host(place, as_user=bare, environment={"MICROHOST_INSECURE_SANDBOX": "user_ids"})
    try:
        micro = host.new_micro(host.new_project("bare")["id"], "hello")
        micro.must_deploy(zip_app("plain-wsgi"))
        assert micro.call("/").status_code == 200
        weak = [each["name"] for each in host.get("/doctor")["guards"] if each["state"] != "enforced"]
        assert weak == ["user_ids"]
        assert [each["name"] for each in host.get("/doctor")["guards"] if each["accepted"]] == ["user_ids"]
        assert host.client.get("/health").json()["sandbox"] == "weakened"
        assert _capabilities(host.serving_pid()) == 0
    finally:
        assert host.stop() == 0, host.tail()


@pytest.fixture(scope="module")
def bare() -> str:
    """Name a user without a range."""
    make_account(BARE, with_range=False)
    return BARE


def _capabilities(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapPrm")), 16)
