"""What a killed warden leaves in the control groups goes with the next start of any; what lives is left alone."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from escape_lab import Lab, until

from sandbox import leftovers
from sandbox.cgroups import Layout, Tree, find_layout, has_processes, remove_places
from sandbox.premises import tree_name
from tests.slowness import slow

pytestmark = pytest.mark.root

PLAIN = "def attack(argument): return 1"
NewLab = Callable[..., Lab]


@pytest.fixture
def layout() -> Layout:
    """Read this machine's control groups."""
    return find_layout(Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text())


@pytest.fixture
def tree(layout: Layout) -> Iterator[Tree]:
    """Give the tree of nobody."""
    left = Tree(layout, f"microhost-{secrets.token_hex(6)}")
    yield left
    until(lambda: remove_places(left.places()), "the tree to be removed")


def is_there(tree: Tree) -> bool:
    """Tell whether any hierarchy still has it."""
    return any(os.path.isdir(each) for each in tree.places())


def make(tree: Tree) -> None:
    """Make a tree as a warden has it, two groups deep."""
    tree.group().create()
    tree.group("micros").create()
    tree.group("micros", "m1").create()


def test_another_start_removes_what_a_killed_warden_left_and_not_what_a_living_one_has(
    new_lab: NewLab, layout: Layout
) -> None:
    killed, idle = new_lab(), new_lab()
    killed.start(PLAIN)
    trees = {each: Tree(layout, tree_name(each.data)) for each in (killed, idle)}
    pid = killed.process.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    killed.process.join(slow(10))
    until(lambda: not has_processes(trees[killed].places()), "its processes to end")
    assert is_there(trees[killed])
    third = new_lab()
    assert not is_there(trees[killed])
    assert is_there(trees[idle])
    for lab in (idle, third):
        assert lab.start(PLAIN).attack() == 1


def test_a_tree_that_somebody_holds_stays_though_it_is_empty(layout: Layout, tree: Tree) -> None:
    held = leftovers.hold(layout, tree.name)
    make(tree)
    assert tree.name not in leftovers.sweep(layout)
    assert is_there(tree)
    os.close(held)
    assert tree.name in leftovers.sweep(layout)
    assert not is_there(tree)


def test_a_tree_in_which_something_lives_stays_though_nobody_holds_it(layout: Layout, tree: Tree) -> None:
    make(tree)
    with subprocess.Popen(["/bin/sleep", "60"]) as living:
        tree.group("micros", "m1").join(living.pid)
        assert tree.name not in leftovers.sweep(layout)
        assert living.poll() is None
        living.kill()
    assert tree.name in leftovers.sweep(layout)


def test_who_waited_for_a_tree_that_was_removed_makes_it_anew(layout: Layout, tree: Tree) -> None:
    make(tree)
    directory = layout.directories()[0] / tree.name
    sweeper = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(sweeper, fcntl.LOCK_EX)
    waiting = os.fork()
    if waiting == 0:
        os.close(sweeper)  # the lock would go on with our copy
        leftovers.hold(layout, tree.name)
        os._exit(0 if directory.is_dir() else 1)
    until(lambda: is_blocked(waiting), "it to wait")
    assert remove_places(tree.places())
    os.close(sweeper)
    assert os.waitpid(waiting, 0)[1] == 0
    assert directory.is_dir()


def is_blocked(pid: int) -> bool:
    """Tell whether a process waits for a lock, by the kernel's list of those who do."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())
