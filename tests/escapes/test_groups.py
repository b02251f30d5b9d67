"""The tree of control groups: who is where in it, what dies when memory is short for all, and that a warden's end is its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from escape_lab import MIB, Executor, Lab, find_group, find_groups, hierarchy, pids_in, until

from sandbox.cgroups import WARDEN_LEAF
from sandbox.premises import tree_name
from tests.slowness import FACTOR

pytestmark = pytest.mark.root
NewLab = Callable[..., Lab]

is_version_2 = not (hierarchy("memory") / "memory.limit_in_bytes").exists()
version_2 = pytest.mark.skipif(
    not is_version_2, reason="this machine has control groups version 1 (make test-vm has version 2)"
)

TAKES = """
kept = []

def attack(mib):
    kept.append(b"x" * (int(mib) << 20))
    return int(mib)
"""


def test_a_warden_that_is_told_to_stop_ends_nobody_but_its_own(new_lab: NewLab) -> None:
    lab, other = new_lab(), new_lab()
    lab.start(TAKES)
    lab.stop()
    assert lab.process.exitcode == 0
    assert find_groups(tree_name(lab.data)) == []
    assert other.start(TAKES).attack("1") == 1


def limit_all(lab: Lab, limit_bytes: int, *, die_whole: bool = False) -> None:
    """Give all Micros of a warden less memory together than each may have."""
    micros = find_group(tree_name(lab.data), "memory") / "micros"
    (micros / ("memory.max" if is_version_2 else "memory.limit_in_bytes")).write_text(str(limit_bytes))
    if die_whole:
        (micros / "memory.oom.group").write_text("1")


def fill_together(lab: Lab) -> tuple[Executor, Executor]:
    """Let two Micros take what only one may; gives the one that holds its memory and the one that asked last."""
    first, second = (lab.start(TAKES).lease() for _ in range(2))
    first.attack("300")
    second.send_request("/300")
    return first, second


def ended(lab: Lab, *executors: Executor) -> list[Executor]:
    return [each for each in executors if each.id in lab.ends]


def test_memory_that_all_micros_together_lack_costs_one_execution_and_not_all(new_lab: NewLab) -> None:
    lab = new_lab()
    limit_all(lab, 500 * MIB)
    both = fill_together(lab)
    (lost,) = until(lambda: ended(lab, *both), "the end of one")
    assert lab.ends[lost.id].cause == "out_of_memory"
    kept = both[1] if lost is both[0] else both[0]
    if kept is both[1]:
        kept.respond()
    assert kept.attack("1") == 1
    assert not lab.gone, "a whole sandbox has gone"


@version_2
def test_if_they_died_whole_everybody_would_pay(new_lab: NewLab) -> None:
    lab = new_lab()
    limit_all(lab, 500 * MIB, die_whole=True)
    fill_together(lab)
    until(lambda: len(lab.gone) == 2, "the end of both sandboxes")


@version_2
def test_processes_are_in_leaves_only_and_those_beside_the_tree_share_one(lab: Lab) -> None:
    lab.start(TAKES).lease()
    base = find_group(tree_name(lab.data)).parent
    for where, below, _ in os.walk(base):
        if below:
            assert Path(where, "cgroup.procs").read_text() == "", where
    assert lab.process.pid in pids_in(base / WARDEN_LEAF)
    assert os.getpid() in pids_in(base / WARDEN_LEAF), (
        "who started the warden moves along and stays outside its tree"
    )


@version_2
def test_an_execution_s_group_slows_down_at_the_limit_and_dies_whole_beyond_it(lab: Lab) -> None:
    group = lab.start(TAKES).lease().group()
    assert 512 * MIB <= int((group / "memory.high").read_text()) <= 516 * MIB
    assert int((group / "memory.max").read_text()) == (512 + 512 + 32) * MIB
    assert (group / "memory.oom.group").read_text() == "1\n"
    assert (find_group(tree_name(lab.data)) / "micros/memory.oom.group").read_text() == "0\n"


POPULATES = """
import mmap

def attack(mib):
    return len(mmap.mmap(-1, int(mib) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)) >> 20
"""
# one call that the kernel fills at its own speed: nothing in user space slows it down
ROOM_BYTES = 32 * MIB * FACTOR


def test_a_writer_at_the_kernel_s_own_speed_does_not_come_far(lab: Lab) -> None:
    free = lab.start(POPULATES, memory_bytes=2048 * MIB)
    assert free.attack("1000") == 1000, "the harness: without the limit it gets there"
    executor = lab.start(POPULATES).lease()
    executor.send_request("/1000")
    evidence = executor.wait_for_end(within_s=10)
    assert evidence.cause == "out_of_memory"
    assert evidence.peak_memory_bytes is not None
    assert evidence.peak_memory_bytes < 512 * MIB + ROOM_BYTES, "the hard limit ended it and not the doorbell"
