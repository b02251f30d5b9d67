"""An ordinary user's host: the same Micros, walls and sentences as root's (README, "Without root")."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.as_user import NAME, make_account
from tests.driving import CHECKOUT, Host, zip_app, zip_files

pytestmark = [
    pytest.mark.root,  # to make the account, and to delegate control groups to it
    pytest.mark.skipif(shutil.which("newuidmap") is None, reason="newuidmap is not installed"),
]

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
    assert not weak


def test_its_user_reads_the_token_that_belongs_to_the_hosts_own_id(host: Host) -> None:
    assert (host.data / "owner.token").stat().st_uid > 1_000_000
    shown = [sys.executable, "-m", "tests.as_user", "--show", str(host.data.parent), NAME]
    asked = [*shown, str(Path(sys.executable).parent / "microhost"), "token", "--data", str(host.data)]
    said = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == host.token
