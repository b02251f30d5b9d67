"""LIM-07: at most 1024 tasks for each execution."""

from __future__ import annotations

import os
import time

import pytest
from escape_lab import MIB, Lab, Micro, until

from tests.slowness import slow

pytestmark = pytest.mark.root

BOMBS = """
import os, threading, time

def attack(argument):
    kind, _, count = argument.partition("-")
    return globals()[kind](int(count))

def fork(count):
    for number in range(count):
        try:
            child = os.fork()
        except BlockingIOError as error:
            return {"errno": error.errno, "tasks": number}
        if child == 0:
            while True:
                time.sleep(60)
    return {"errno": 0, "tasks": count}

def threads(count):
    stop = threading.Event()
    for number in range(count):
        try:
            threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError:
            return {"errno": 11, "tasks": number}
    return {"errno": 0, "tasks": count}

def explode(count):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
FEW = 100
# a thousand copies of an interpreter need more than 512 MB
ENOUGH_BYTES = 3072 * MIB


@pytest.fixture(scope="module")
def bomber(lab: Lab) -> Micro:
    """Start the bombing Micro with the docs' limit."""
    return lab.start(BOMBS, memory_bytes=ENOUGH_BYTES)


@pytest.mark.parametrize("kind", ["fork", "threads"])
def test_a_bomb_ends_at_1024_tasks(bomber: Micro, kind: str) -> None:
    executor = bomber.lease()
    found = executor.attack(f"{kind}-2000")
    assert found["errno"] == 11
    assert 1024 - 8 <= found["tasks"] <= 1024
    executor.kill()


@pytest.mark.parametrize("kind", ["fork", "threads"])
def test_a_lower_limit_ends_it_earlier_and_a_count_below_works(lab: Lab, kind: str) -> None:
    micro = lab.start(BOMBS, tasks=FEW, memory_bytes=ENOUGH_BYTES)
    assert micro.attack(f"{kind}-{FEW // 2}") == {"errno": 0, "tasks": FEW // 2}
    assert micro.attack(f"{kind}-2000")["tasks"] <= FEW
    micro.stop()


@pytest.mark.parametrize("kind", ["fork", "threads"])
def test_without_the_limit_the_bomb_goes_on(new_lab: object, kind: str) -> None:
    free = new_lab(tasks=4000).start(BOMBS, tasks=4000, memory_bytes=ENOUGH_BYTES)  # type: ignore[operator]
    assert free.attack(f"{kind}-2000") == {"errno": 0, "tasks": 2000}


def test_an_exploding_bomb_harms_nobody_and_is_cleared_within_2_s(bomber: Micro) -> None:
    neighbour = bomber.lease()
    executor = bomber.lease()
    group, is_removed = executor.group("pids"), executor.watch_removal("pids")
    executor.send_request("/explode-0")
    until(lambda: int((group / "pids.current").read_text()) >= 1020, "the bomb at its limit", within_s=20)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert neighbour.attack("fork-3")["errno"] == 0
    started = time.monotonic()
    assert executor.kill().cause == "killed"
    assert time.monotonic() - started < slow(2)
    until(is_removed, "removal of the bomb's group")
    neighbour.kill()


THREADS_AT_IMPORT = """
import threading, time

for _ in range(200):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
def app(environ, start_response): pass
"""
FORKS_AT_IMPORT = """
import os, time

while True:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
"""


def test_a_bomb_at_import_is_told_by_its_cause(lab: Lab) -> None:
    micro = lab.start(main=THREADS_AT_IMPORT, tasks=FEW, wanted="failed")
    state = micro.wait_for_state()
    assert (state.cause, str(FEW) in state.reason) == ("tasks", True)
    within = lab.start(main=THREADS_AT_IMPORT, tasks=1024, wanted="unsafe")
    assert within.wait_for_state().cause == ""
    within.stop()


def test_a_bomb_at_import_that_uses_up_the_memory_first_is_told_by_that(lab: Lab) -> None:
    micro = lab.start(main=FORKS_AT_IMPORT, memory_bytes=64 * MIB, wanted="died")
    assert micro.wait_for_state().cause == "out_of_memory"


def test_an_import_that_dies_by_itself_has_no_such_cause(lab: Lab) -> None:
    micro = lab.start(main="import os\nos.kill(os.getpid(), 9)\n", wanted="died")
    assert micro.wait_for_state().cause == ""
