"""The attacks of `attacks/` once more, from inside an execution that a real warden started, and its twins."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from escape_lab import Lab, Micro

from sandbox.client import InstallError
from sandbox.policy import Guards
from tests.escapes.direct import ATTACKS, Verdict

pytestmark = pytest.mark.root

RUN_PROGRAM = """
import os, resource, subprocess, sys

def attack(argument):
    if argument == "status":
        with open("/proc/self/status") as file:
            return dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
    if argument == "descriptors":
        names = {}
        for each in os.listdir("/proc/self/fd"):
            try:
                names[each] = os.readlink("/proc/self/fd/" + each)
            except FileNotFoundError:
                pass
        return names
    if argument == "core":
        return resource.getrlimit(resource.RLIMIT_CORE)
    name, *words = bytes.fromhex(argument).decode().split("\\0")
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-B", "/micro/attacks/" + name + ".py", *words], capture_output=True, text=True, timeout=25
    )
    return [done.returncode, done.stdout + done.stderr]
"""

FILES = {f"attacks/{each.name}": each.read_bytes() for each in ATTACKS.glob("*.py")}


def run(micro: Micro, *words: str) -> Verdict:
    """Run an attack's program in an execution."""
    return Verdict(*micro.attack("\0".join(words).encode().hex()))


@pytest.fixture(scope="module")
def micro(lab: Lab) -> Micro:
    return lab.start(RUN_PROGRAM, files=FILES)


@pytest.mark.parametrize(
    "attack",
    [
        "write_sysctls",
        "write_everywhere",
        "open_sockets",
        "unshare_program",
        "read_machine",
        "terminal",
        "type_into_terminal",
    ],
)
def test_an_attack_is_refused(micro: Micro, attack: str) -> None:
    verdict = run(micro, attack)
    assert verdict.held, verdict.output


@pytest.mark.parametrize(
    "call",
    ["unshare", "mount", "keyctl", "io_uring_setup", "ptrace", "clone_newuser", "personality", "setns"],
)
def test_a_dangerous_call_is_refused(micro: Micro, call: str) -> None:
    assert run(micro, "call", call).held


def test_clone3_does_not_exist(micro: Micro) -> None:
    assert run(micro, "call", "clone3", "ENOSYS").held


def test_an_execution_has_no_rights(micro: Micro) -> None:
    status = micro.attack("status")
    assert {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {
        "CapInh": 0,
        "CapPrm": 0,
        "CapEff": 0,
        "CapAmb": 0,
    }
    assert (
        int(status["CapBnd"], 16) & ~(1 << 18) == 0
    )  # the right to chroot, inert without privileges to gain
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_an_execution_holds_its_output_and_one_channel(micro: Micro) -> None:
    held = micro.attack("descriptors")
    assert held.pop("0") == "/dev/null"
    assert held.pop("1").startswith("pipe:")
    assert held.pop("2").startswith("pipe:")
    assert held.pop("3").startswith("socket:")
    assert set(held.values()) <= {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}, held


def test_no_core_can_reach_the_machines_handler(micro: Micro) -> None:
    assert micro.attack("core") == [1, 1]
    assert run(micro, "dump_core").held
    assert run(micro, "dump_core", "lift").held


def test_other_micros_code_is_nowhere(lab: Lab, micro: Micro) -> None:
    canary = f"canary-{secrets.token_hex(8)}"
    neighbour = lab.start(
        RUN_PROGRAM, files={"secret.py": f"SECRET = {canary!r}\n", "data.db": b"SQLite format 3\0"}
    )
    try:
        assert run(micro, "search_files", canary).held
    finally:
        neighbour.stop()


def test_what_an_execution_can_read_is_searched(lab: Lab) -> None:
    canary = f"canary-{secrets.token_hex(8)}"
    own = lab.start(RUN_PROGRAM, files=FILES | {"secret.py": f"SECRET = {canary!r}\n"})
    try:
        verdict = run(own, "search_files", canary)
        assert not verdict.held
        assert "/micro/secret.py" in verdict.output
    finally:
        own.stop()


def listening() -> tuple[socket.socket, list[str]]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, [f"127.0.0.1:{server.getsockname()[1]}", f"0.0.0.0:{server.getsockname()[1]}"]


def test_nothing_of_the_machine_can_be_connected_to(micro: Micro) -> None:
    server, addresses = listening()
    with server:
        assert run(micro, "connect", *addresses).held


def test_the_machine_answers_without_a_network_of_its_own(new_lab: Callable[..., Lab]) -> None:
    twin = new_lab(guards=Guards(new_network=False)).start(RUN_PROGRAM, files=FILES)
    server, addresses = listening()
    with server:
        assert not run(twin, "connect", *addresses).held


def test_the_wardens_environment_and_arguments_are_not_seen(
    new_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROHOST_CANARY", "canary-of-the-warden")
    lab = new_lab()
    micro = lab.start(RUN_PROGRAM, files=FILES)
    assert run(micro, "find_in_proc", b"canary-of-the-warden".hex()).held
    arguments_of_the_host = os.fsencode(lab.data / "bundles")
    assert run(micro, "find_in_proc", arguments_of_the_host.hex()).held


def install(lab: Lab, requirements: bytes, **wanted: Any) -> tuple[str, str]:
    lines: list[str] = []
    made, _ = lab.run(
        lab.client.install(
            secrets.token_hex(8),
            runtime="python3.11",
            packages_as_of=None,
            builds_allowed=False,
            scope="projectone",
            requirements=requirements,
            log=lines.append,
            **wanted,
        )
    )
    return made, "".join(lines)


@pytest.mark.index
def test_the_warden_installs_a_set_that_a_sandbox_can_read(new_lab: Callable[..., Lab]) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_", "PIP_"))
    }
    lab = new_lab(environment=environment)
    identity, log = install(lab, b"six==1.16.0\ndeta\n")
    assert "the host's own 'deta'" in log
    kept = lab.data / "envs" / identity
    assert (kept / "six.py").stat().st_uid == 0
    assert install(lab, b"six==1.16.0\ndeta\n")[0] == identity
    with pytest.raises(InstallError, match="was not found in the package index"):
        install(lab, b"surely-nobody-published-this-name\n")
    assert not [each for each in (lab.data / "envs").iterdir() if each.name.startswith(".")]


@pytest.mark.index
def test_a_host_that_moves_its_directories_away_leads_no_install_outside(
    new_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_", "PIP_"))
    }
    lab = new_lab(environment=environment)
    aside = tmp_path / "elsewhere"
    aside.mkdir()
    for name in ("envs", "cache"):
        (lab.data / name).rename(tmp_path / name)
        (lab.data / name).symlink_to(aside)
    identity, _ = install(lab, b"idna==3.4\n")
    assert list(aside.iterdir()) == []
    assert (tmp_path / "envs" / identity / "idna").is_dir()
