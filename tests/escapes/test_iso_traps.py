"""ISO-16 and 17: what tenant code leaves for the warden to find, and what it says to it in the guest's name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from escape_lab import Lab, Micro, until

pytestmark = pytest.mark.root

# Fills /tmp with what leads or hangs whoever opens, follows or deletes it by name.
TRAPS = """
import os, signal

def attack(argument):
    target, _, kind = argument.partition("|")
    target = bytes.fromhex(target).decode()
    if kind == "look":
        return sorted(os.listdir("/tmp"))
    for name in ("a", "log", "stdout", "result", "x", ".install-0"):
        os.symlink(target, "/tmp/" + name)
    os.symlink("/proc/1/root", "/tmp/root")
    os.mkfifo("/tmp/pipe")
    os.link("/tmp/pipe", "/tmp/again")
    deep = "/tmp"
    for _ in range(200):
        deep += "/d"
        os.mkdir(deep)
    os.symlink(target, deep + "/end")
    os.makedirs("/tmp/closed/inner")
    os.symlink(target, "/tmp/closed/inner/link")
    os.chmod("/tmp/closed", 0)
    return sorted(os.listdir("/tmp"))
"""


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A directory of the host's that a careless deleter would empty."""
    place = tmp_path / "precious"
    place.mkdir()
    (place / "kept").write_text("kept")
    return place


def test_what_lies_in_tmp_leads_the_warden_nowhere(lab: Lab, precious: Path) -> None:
    micro = lab.start(TRAPS)
    path = os.fsencode(precious).hex()
    for _ in range(3):
        executor = micro.lease()
        assert "pipe" in executor.attack(path)
        is_removed = executor.watch_removal()
        executor.kill()
        until(is_removed, "the executor's removal")
    assert micro.attack(path + "|look") == []
    assert (precious / "kept").read_text() == "kept"
    micro.stop()


def test_a_deleter_that_goes_by_name_is_led_outside(precious: Path, tmp_path: Path) -> None:
    """The known-bad twin: the same trap, emptied the careless way."""
    trapped = tmp_path / "tmp"
    trapped.mkdir()
    (trapped / "log").symlink_to(precious)
    for each in trapped.iterdir():
        shutil.rmtree(each.resolve())
    assert not precious.exists()


# Looks for the sockets it holds at import (the template's control socket is one) and talks on each.
FORGER = """
import os, socket, stat

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"x"]

held = []
for name in os.listdir("/proc/self/fd"):
    try:
        if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
            held.append(int(name))
    except OSError:
        pass
print("sockets", len(held), flush=True)
for each in held:
    {forgery}
"""
FORGERIES = {
    "a word that is not in the contract": "socket.socket(fileno=os.dup(each)).send(b'X9')",
    "ready, before the import has ended, twice": "[socket.socket(fileno=os.dup(each)).send(b'R0') for _ in range(2)]",
    "a word too long": "socket.socket(fileno=os.dup(each)).send(b'R0' + bytes(60000))",
    "a descriptor": "socket.send_fds(socket.socket(fileno=os.dup(each)), [b'R0'], [0])",
    "the end of the talk": "socket.socket(fileno=os.dup(each)).shutdown(socket.SHUT_RDWR)",
}


@pytest.fixture(scope="module")
def neighbour(lab: Lab) -> Micro:
    """A Micro that does as it should."""
    return lab.start("def attack(argument):\n    return 'well'\n")


@pytest.mark.parametrize("kind", FORGERIES)
def test_words_forged_on_the_control_socket_end_that_sandbox_only(
    lab: Lab, neighbour: Micro, kind: str
) -> None:
    forger = lab.start(main=FORGER.format(forgery=FORGERIES[kind]), wanted="died")
    assert "sockets 1" in forger.log(), "the forger found the socket: the harness works"
    until(lambda: forger.info() is None, "the forger's end")
    assert neighbour.attack() == "well"


def test_the_same_code_without_a_forgery_is_ready(lab: Lab) -> None:
    honest = lab.start(main=FORGER.format(forgery="pass"))
    assert "sockets 1" in honest.log()
    honest.stop()


def test_a_second_import_cannot_be_asked_for(lab: Lab, neighbour: Micro) -> None:
    """An attach works once: nobody can put other code into a sandbox that has some."""
    other = lab.bundle({"main.py": "def app(e, s): pass\n"})
    log, write = os.pipe()
    try:
        with pytest.raises(Exception, match="only a booted one takes a revision"):
            lab.run(
                lab.client.attach(
                    neighbour.sandbox, revision=other, mode="fork", environment={}, log=write, report=write
                )
            )
    finally:
        os.close(log)
        os.close(write)
    assert neighbour.attack() == "well"
