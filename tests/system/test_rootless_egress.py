"""ISO-14, ISO-15 for an ordinary user's host: the same rules, and slirp4netns behind them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.as_user import NAME, make_account
from tests.driving import Host, Micro, wait_until, zip_files
from tests.internet import BARRED, OF_THE_MACHINE, OF_THE_NEIGHBOUR, PUBLIC, Internet

pytestmark = [
    pytest.mark.root,  # to make the account and the internet
    pytest.mark.skipif(shutil.which("newuidmap") is None, reason="newuidmap is not installed"),
]

CALLER = """
import json, socket
from urllib.parse import parse_qs

def reach(host):
    try:
        with socket.create_connection((host, 80), 4) as one:
            return one.recv(100).decode().strip()
    except OSError as error:
        return type(error).__name__

def app(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps([reach(each) for each in parse_qs(environ["QUERY_STRING"])["to"]]).encode()]
"""


@pytest.fixture
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Micro]:
    """A Micro of an ordinary user's host on the machine of a made internet."""
    make_account()
    with Internet() as internet, internet.entered(internet.machine):
        host = Host(tmp_path_factory.mktemp("rootless-egress") / "data", as_user=NAME)
        try:
            micro = host.new_micro(str(host.new_project("egress")["id"]), "caller")
            micro.must_deploy(zip_files({"main.py": CALLER}))
            yield micro
        finally:
            assert host.stop() == 0, host.tail()


def reach(micro: Micro, *hosts: str) -> list[str]:
    return list(micro.call("/", params={"to": hosts}).json())


def carriers(host: Host) -> list[int]:
    """Give the processes of slirp4netns that the host's warden started."""
    warden = host.warden_pid()
    children = Path(f"/proc/{warden}/task/{warden}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "slirp4netns\n"]


def test_the_internet_is_reached_and_nothing_near_and_a_carrier_that_dies_is_followed(caller: Micro) -> None:
    assert reach(caller, *PUBLIC) == ["elsewhere 51.15.0.2"] * len(PUBLIC)
    near = (*BARRED, *OF_THE_MACHINE, OF_THE_NEIGHBOUR, "198.19.0.2", "127.0.0.1")
    assert set(reach(caller, *near)) == {"ConnectionRefusedError"}
    (first,) = carriers(caller.host)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: carriers(caller.host) not in ([], [first]), "another carrier")
    wait_until(lambda: reach(caller, PUBLIC[0]) == ["elsewhere 51.15.0.2"], "the way out")
    (second,) = carriers(caller.host)
    caller.host.stop()
    assert not Path(f"/proc/{second}").exists(), "it ends with the host"
