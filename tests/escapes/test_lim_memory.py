"""LIM-04: 512 MB of memory for each execution, counted over all its processes; 512 MB of /tmp beside it."""

from __future__ import annotations

import re

import pytest
from escape_lab import MIB, AttackError, Executor, Lab, Micro, until

pytestmark = pytest.mark.root

# Tells how far it came on stderr, which outlives it.
GREEDY = """
import mmap, os, sys, time

kept = []
# slow enough that the limit is measured and not how soon a busy machine lets the warden hear its bell
PACE_S = 0.004

def take(mib, step=4):
    for have in range(step, mib + 1, step):
        kept.append(bytearray(os.urandom(4096) * 256 * step))
        time.sleep(PACE_S)
        print(f"have {have}", file=sys.stderr, flush=True)
    return len(kept) * step

def attack(argument):
    kind, _, mib = argument.partition("-")
    return globals()[kind](int(mib))

def at_once(mib):
    kept.append(b"x" * (mib << 20))
    return len(kept[0]) >> 20

def fork(mib):
    children = []
    filled, tell = os.pipe()
    for _ in range(4):
        child = os.fork()
        if child == 0:
            mine = b"y" * (mib << 20)
            os.write(tell, b".")
            time.sleep(60)
            os._exit(0)
        children.append(child)
    for child in children:
        os.read(filled, 1)
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return 4 * mib

def shared(mib):
    area = mmap.mmap(-1, mib << 20)
    for page in range(0, mib << 20, 4096):
        area[page] = 1
    return mib

def populate(mib):
    return len(mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)) >> 20

def fill(mib):
    with open("/tmp/filling", "wb") as file:
        for _ in range(mib):
            file.write(b"z" * (1 << 20))
    return os.path.getsize("/tmp/filling") >> 20
"""


@pytest.fixture(scope="module")
def greedy(lab: Lab) -> Micro:
    """Start the greedy Micro with the docs' limits."""
    return lab.start(GREEDY)


@pytest.fixture(scope="module")
def unlimited(lab: Lab) -> Micro:
    """Start its known-bad twin: 2 GB."""
    return lab.start(GREEDY, memory_bytes=2048 * MIB)


def attacked(micro: Micro, argument: str) -> Executor:
    executor = micro.lease()
    executor.send_request("/" + argument)
    return executor


@pytest.mark.parametrize("argument", ["take-700", "at_once-700", "fork-200", "shared-700", "populate-700"])
def test_more_than_512_mb_ends_the_execution_with_evidence(greedy: Micro, argument: str) -> None:
    neighbour = greedy.lease()
    executor = attacked(greedy, argument)
    evidence = executor.wait_for_end()
    assert evidence.cause == "out_of_memory"
    assert evidence.peak_memory_bytes is not None and evidence.peak_memory_bytes > 500 * MIB
    assert neighbour.attack("take-8") == 8, "the neighbour suffered"
    assert neighbour.kill().cause == "killed"
    executor.close()


@pytest.mark.parametrize("argument", ["take-700", "at_once-700", "fork-200", "shared-700", "populate-700"])
def test_the_same_works_with_a_higher_limit(unlimited: Micro, argument: str) -> None:
    assert unlimited.attack(argument) >= 700


def test_the_doorbell_rings_at_the_limit_and_not_before(greedy: Micro) -> None:
    executor = attacked(greedy, "take-700")
    assert executor.wait_for_end().cause == "out_of_memory"
    reached = int(re.findall(r"have (\d+)", executor.stderr())[-1])
    assert 490 <= reached <= 516
    executor.close()


def test_all_processes_of_the_execution_die_together(greedy: Micro) -> None:
    executor = greedy.lease()
    is_removed = executor.watch_removal()
    executor.send_request("/fork-200")
    executor.wait_for_end()
    until(is_removed, "removal of the group")
    executor.close()


def test_tmp_may_be_full_while_memory_is_used(greedy: Micro) -> None:
    executor = greedy.lease()
    with pytest.raises(AttackError) as full:
        executor.attack("fill-600")
    assert full.value.errno == 28
    assert executor.attack("take-440") == 440
    assert executor.kill().cause == "killed"


def test_memory_may_be_used_while_tmp_is_filled(greedy: Micro) -> None:
    executor = greedy.lease()
    assert executor.attack("take-440") == 440
    with pytest.raises(AttackError) as full:
        executor.attack("fill-600")
    assert full.value.errno == 28
    assert executor.kill().cause == "killed"


def test_a_full_tmp_does_not_raise_the_limit_of_memory(greedy: Micro) -> None:
    executor = greedy.lease()
    with pytest.raises(AttackError):
        executor.attack("fill-600")
    executor.send_request("/take-700")
    assert executor.wait_for_end().cause == "out_of_memory"
    reached = int(re.findall(r"have (\d+)", executor.stderr())[-1])
    assert 490 <= reached <= 516
    executor.close()


def test_an_import_that_needs_too_much_ends_the_sandbox_with_the_cause(lab: Lab) -> None:
    micro = lab.start(main="kept = b'x' * (700 << 20)\ndef app(e, s): pass\n", wanted="died")
    assert lab.states[micro.sandbox][0].cause == "out_of_memory"
