"""A host as a service of systemd: in the control groups that were delegated to it, and gone with it. Only in the machine of `make test-vm`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.cgroups import WARDEN_LEAF
from sandbox.premises import tree_name
from tests.driving import Host, wait_until, zip_files
from tests.slowness import slow

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("VM_RESULTS" not in os.environ, reason="needs a systemd of its own (make test-vm)"),
]

UNIT = "microhost-under-test"
GROUP = Path(f"/sys/fs/cgroup/system.slice/{UNIT}.service")
HELLO = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


def service(*properties: str) -> list[str]:
    """Give the words before `serve` that run it as a service and pass its output on."""
    told = ("Delegate=yes", "KillMode=mixed", *properties)
    options = [word for each in told for word in ("-p", each)]
    microhost = str(Path(sys.executable).parent / "microhost")
    return ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={UNIT}", *options, microhost]


class Service(Host):
    """Be a host that systemd starts and stops."""

    def stop(self) -> int:
        self.client.close()
        subprocess.run(["systemctl", "stop", UNIT], check=True, timeout=slow(30))
        return self.process.wait(slow(10))

    def kill_main(self) -> None:
        """Kill the parent of all; the rest is left to itself and to systemd."""
        self.client.close()
        subprocess.run(
            ["systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT], check=True, timeout=slow(10)
        )
        self.process.wait(slow(30))


def test_a_service_serves_in_its_delegated_groups_and_leaves_nothing(tmp_path: Path) -> None:
    host = Service(tmp_path / "data", command=service())
    micro = host.new_micro(str(host.new_project("service")["id"]), "hello")
    micro.must_deploy(zip_files({"main.py": HELLO}))
    assert micro.call().text == "hello"
    tree = GROUP / tree_name(host.data)
    assert (GROUP / "cgroup.procs").read_text() == ""
    assert (GROUP / WARDEN_LEAF / "cgroup.procs").read_text() != ""
    assert list(tree.glob("micros/m*/s*/x*")), "its executors are in its own tree"
    host.kill_main()
    wait_until(lambda: not GROUP.exists(), "the end of all that the killed service had")
    host.restart()
    assert micro.call().text == "hello", "the next start of the service serves the same"
    assert host.stop() == 0
    assert not GROUP.exists()


def test_a_service_that_may_not_make_groups_says_so_and_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [*service("ProtectControlGroups=yes"), "serve", "--data", str(tmp_path / "data"), "--port", "0"],
        capture_output=True,
        text=True,
        timeout=slow(60),
    )
    assert done.returncode == 1
    assert "Cannot make control groups below" in done.stderr
    assert "Delegate=yes" in done.stderr
    assert "listens" not in done.stdout
