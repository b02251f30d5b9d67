"""A flood of exchanges neither slows nor fills the host, and a death loses only what was not written."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.driving import Host, Micro, wait_until, zip_files
from tests.system.test_visor import MIRROR, exchange_of

pytestmark = pytest.mark.root
SENDERS = 4
FLOOD_S = 5.0
QUIET_MB = 200  # how much the host process may grow: what is held and what waits are bounded


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[Host]:
    """A host of the test's own."""
    host = Host(tmp_path / "data")
    yield host
    host.stop()


def make_micro(host: Host, name: str) -> Micro:
    """Make a Micro with Visor on."""
    project = str(host.get("/projects")["projects"][0]["id"])
    micro = host.new_micro(project, name, visor=True)
    micro.must_deploy(zip_files({"main.py": MIRROR}))
    return micro


def memory_mb(pid: int) -> float:
    """Give what a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1000


def test_a_flood_of_large_bodies_is_bounded_and_others_are_kept(own_host: Host) -> None:
    loud, quiet = make_micro(own_host, "loud"), make_micro(own_host, "quiet")
    before_mb = memory_mb(own_host.serving_pid())
    end = time.monotonic() + FLOOD_S
    sent = [0] * SENDERS
    headers = {"Host": f"{loud.path}.localhost:{own_host.port}", "Cookie": "planted-in-the-flood"}

    def flood(number: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{own_host.port}", verify=False, timeout=60) as client:
            while time.monotonic() < end:
                client.post("/big", content=b"y" * 100_000, headers=headers)
                sent[number] += 1

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    most_mb = 0.0
    while time.monotonic() < end:
        most_mb = max(most_mb, memory_mb(own_host.serving_pid()))
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    quiet.call("/heard", "POST", content=b"in the middle of it")
    assert exchange_of(quiet, "/heard")["request"]["body"]["text"] == "in the middle of it"
    assert most_mb - before_mb < QUIET_MB
    stored = sum(each.stat().st_size for each in own_host.data.glob("visor.db*"))
    dropped = own_host.get("/doctor")["dropped"]["exchanges"]
    kept = sum(sent) - dropped
    assert kept > 50
    # a rate and a burst for one Micro; a page holds a little more than its content
    assert stored < 2.5 * (FLOOD_S + 4) * 8 * 2**20
    assert b"planted-in-the-flood" not in b"".join(
        each.read_bytes() for each in own_host.data.glob("visor.db*")
    )


def test_exchanges_survive_the_death_of_the_host_process(own_host: Host) -> None:
    micro = make_micro(own_host, "killed")
    micro.call("/before", "POST", content=b"kept")
    assert exchange_of(micro, "/before")["request"]["body"]["text"] == "kept"
    own_host.kill_host_process()
    wait_until(lambda: _answers(micro), "the host to serve again", timeout_s=30)
    assert exchange_of(micro, "/before")["request"]["body"]["text"] == "kept"
    micro.call("/after", "POST", content=b"kept too")
    assert exchange_of(micro, "/after")["request"]["body"]["text"] == "kept too"
    with sqlite3.connect(own_host.data / "visor.db") as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _answers(micro: Micro) -> bool:
    try:
        return micro.call("/up").status_code == 200
    except httpx.HTTPError:
        return False
