"""LIM-01, 02, 11: an execution ends when it is told to, with all it started, and uses nothing while it is idle."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from escape_lab import Executor, Lab, Micro, is_alive, until, used_cpu_s

from tests.slowness import slow

pytestmark = pytest.mark.root

SERIES = 4  # of kills: this machine has other things to do, too
KILL_S = slow(0.05)

STUBBORN = """
import ctypes, os, signal, sys, threading, time

def attack(argument):
    return globals()[argument]()

def sleep():
    time.sleep(60)

def spin():
    while True:
        pass

def spin_in_c():
    ctypes.CDLL(None).usleep.argtypes = None
    sum(range(10 ** 11))

def block_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    while True:
        pass

def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)

def daemons():
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                while True:
                    time.sleep(0.01)
            os._exit(0)
    return os.getpid()

def tick():
    def work():
        while True:
            pass
    threading.Thread(target=work, daemon=True).start()
    return True
"""


@pytest.fixture(scope="module")
def stubborn(lab: Lab) -> Micro:
    """Start the Micro that does not want to end."""
    return lab.start(STUBBORN)


def busy(micro: Micro, attack: str) -> tuple[Executor, list[int]]:
    executor = micro.lease()
    executor.send_request("/" + attack)
    until(lambda: cpu_s(executor) > 0, "the attack's start")
    return executor, executor.pids()


def cpu_s(executor: Executor) -> float:
    return used_cpu_s(executor.group("cpuacct"))


@pytest.mark.parametrize("attack", ["sleep", "spin", "spin_in_c", "block_signals", "stop_itself", "daemons"])
def test_a_kill_ends_everything_at_once(stubborn: Micro, attack: str) -> None:
    medians_s: list[float] = []
    while len(medians_s) < SERIES and (not medians_s or medians_s[-1] > KILL_S):
        took_s = []
        for _ in range(5):
            executor, pids = busy(stubborn, attack)
            started = time.monotonic()
            assert executor.kill().cause == "killed"
            took_s.append(time.monotonic() - started)
            assert not any(map(is_alive, pids)), "the kill was answered before all had ended"
        medians_s.append(statistics.median(took_s))
    assert medians_s[-1] <= KILL_S, medians_s


def executor_and_daemons(executor: Executor) -> list[int]:
    """Give the executor and its five daemons; none while one that only forks a daemon is still among them."""
    pids = executor.pids()
    is_settled = len(pids) == 6 and {parent_of(pid) for pid in pids}.isdisjoint({0, *pids})
    return pids if is_settled else []


def parent_of(pid: int) -> int:
    """Give a process's parent, 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_daemons_die_with_their_execution_and_live_as_long_as_it(stubborn: Micro) -> None:
    executor = stubborn.lease()
    executor.attack("daemons")
    is_removed = executor.watch_removal()
    pids = until(lambda: executor_and_daemons(executor), "five daemons beside the executor")
    assert all(map(is_alive, pids)), "the harness sees living daemons"
    executor.kill()
    assert not any(map(is_alive, pids))
    until(is_removed, "removal of the group")


def test_an_executor_that_ends_takes_its_daemons_along(stubborn: Micro) -> None:
    executor = stubborn.lease()
    executor.attack("daemons")
    pids = until(lambda: executor_and_daemons(executor), "five daemons beside the executor")
    executor.lease.channel.shutdown(2)
    evidence = executor.wait_for_end()
    assert evidence.cause == "exited"
    until(lambda: not any(map(is_alive, pids)), "the daemons' end")
    executor.close()


def test_a_frozen_executor_uses_no_processor_and_a_thawed_one_does(stubborn: Micro) -> None:
    executor = stubborn.lease()
    assert executor.attack("tick")
    thawed = used_s(executor, 0.3)
    executor.freeze()
    until(lambda: "frozen 1" in (executor.group() / "cgroup.events").read_text(), "the freeze")
    frozen = used_s(executor, 0.3)
    executor.thaw()
    assert used_s(executor, 0.3) > 0.02
    assert thawed > 0.02, "the harness sees a busy thread"
    assert frozen < slow(0.003)
    executor.kill()


def used_s(executor: Executor, during_s: float) -> float:
    before, deadline = cpu_s(executor), time.monotonic() + during_s
    until(lambda: time.monotonic() > deadline, "time")
    return cpu_s(executor) - before
