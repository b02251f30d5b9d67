"""What a sandbox may reach: its neighbours and the machine's network, rows ISO-11 and 14, with the guard and without it.

Accepted and not tried: two sandboxes that both read one shared file can take locks on it and so signal to each other.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.escapes.direct import ATTACK_S, NEIGHBOUR, Launcher, Verdict, newest_interpreter

pytestmark = pytest.mark.root

CANARY = "neighbour-2d77c1"


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path, newest_interpreter())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def look_for_neighbour(neighbour: Launcher, seeker: Launcher) -> Verdict:
    port = str(free_port())
    with neighbour.start("neighbour", CANARY, port, input_fd=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with seeker.start("find_neighbour", CANARY.encode().hex(), port) as seeking:
            output, errors = seeking.communicate(timeout=ATTACK_S)
        return Verdict(seeking.returncode, (output + errors).decode())


def test_two_sandboxes_do_not_find_each_other(launcher: Launcher) -> None:
    verdict = look_for_neighbour(launcher, launcher.without(uid=NEIGHBOUR))
    assert verdict.held, verdict.output


def test_they_meet_on_a_shared_network(launcher: Launcher) -> None:
    shared = launcher.without("new_network")
    verdict = look_for_neighbour(shared, shared.without(uid=NEIGHBOUR))
    assert not verdict.held
    assert "abstract socket" in verdict.output
    assert "port at 127.0.0.1" in verdict.output


def test_they_see_each_other_without_namespaces_of_their_own(launcher: Launcher) -> None:
    shared = launcher.without("own_namespaces")
    verdict = look_for_neighbour(shared, shared.without(uid=NEIGHBOUR))
    assert not verdict.held
    assert "process" in verdict.output


@pytest.fixture
def listening() -> Iterator[list[str]]:
    """Addresses of this machine on which somebody answers."""
    with contextlib.ExitStack() as stack:
        made = []
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            server = stack.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                server.bind((address, 0))
            except OSError:
                continue  # a machine without IPv6
            server.listen()
            port = server.getsockname()[1]
            hosts = ["::1"] if family == socket.AF_INET6 else ["127.0.0.1", "0.0.0.0", *own_addresses()]
            made += [f"{host}:{port}" for host in hosts]
        yield made


def own_addresses() -> list[str]:
    """The address that this machine would use towards others, when it has one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


def test_nothing_of_the_machine_can_be_connected_to(launcher: Launcher, listening: list[str]) -> None:
    verdict = launcher.run("connect", *listening)
    assert verdict.held, verdict.output


def test_everything_answers_on_the_machines_network(launcher: Launcher, listening: list[str]) -> None:
    verdict = launcher.without("new_network").run("connect", *listening)
    assert not verdict.held
    for each in listening:
        assert each in verdict.output


def test_the_machines_sockets_show_when_they_are_bound(launcher: Launcher, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "engine.sock"))
        verdict = launcher.without(extra_options=("--ro-bind", str(place), "/run")).run("connect")
    assert not verdict.held
