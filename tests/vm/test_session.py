"""An ordinary user's host in a session of systemd: it takes a delegated scope by itself. Only in the machine of `make test-vm`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driving import Host, zip_app
from tests.vm.image import PERSON, PERSON_UID

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("VM_RESULTS" not in os.environ, reason="needs a systemd of its own (make test-vm)"),
]
# not runuser, which ends what it started by signals of its own
PERSONATE = ["setpriv", f"--reuid={PERSON_UID}", f"--regid={PERSON_UID}", "--init-groups", "--"]
MICROHOST = str(Path(sys.executable).parent / "microhost")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that the user typed, with nothing but the command."""
    place = Path(f"/home/{PERSON}/kept")
    place.mkdir()
    os.chown(place, PERSON_UID, PERSON_UID)
    session = ["env", f"XDG_RUNTIME_DIR=/run/user/{PERSON_UID}", f"HOME=/home/{PERSON}"]
    running = Host(place / "data", command=[*PERSONATE, *session, MICROHOST])
    yield running
    assert running.stop() == 0, running.tail()


def test_it_serves_with_every_guard(host: Host) -> None:
    micro = host.new_micro(host.new_project("session")["id"], "hello")
    micro.must_deploy(zip_app("plain-wsgi"))
    assert micro.call("/").status_code == 200
    weak = [each["name"] for each in host.get("/doctor")["guards"] if each["state"] != "enforced"]
    assert weak in ([], ["egress"])  # an ordinary user's Micros reach no network yet


def test_its_groups_are_in_a_scope_of_the_users_own_systemd(host: Host) -> None:
    trees = list(Path("/sys/fs/cgroup/user.slice").glob("**/microhost-*/micros"))
    assert len(trees) == 1
    assert f"user@{PERSON_UID}.service" in str(trees[0])
    assert trees[0].stat().st_uid == PERSON_UID
