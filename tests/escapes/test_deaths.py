"""LIM-02, LIM-03, OPS-02: whatever is killed, nothing of it survives, and what should live on does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from escape_lab import (
    Executor,
    Lab,
    Micro,
    children_of,
    find_groups,
    is_alive,
    pids_in,
    pids_of_uids,
    until,
)

from tests.slowness import slow

pytestmark = pytest.mark.root

NewLab = Callable[..., Lab]
BASE = 250_000
ROUNDS = 8

DAEMONS = """
import os, signal, time

def attack(argument):
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            if os.fork() == 0:
                while True:
                    time.sleep(0.01)
            os._exit(0)
    return os.getpid()
"""


def tree_of(lab: Lab) -> str:
    from sandbox.premises import tree_name

    return tree_name(lab.data)


def groups_left(lab: Lab) -> list[Path]:
    return [g for c in ("unified", "memory", "pids", "cpu", "cpuacct") for g in find_groups(tree_of(lab), c)]


def test_kill_9_of_the_warden_ends_every_process(new_lab: NewLab) -> None:
    lab = new_lab(uid_base=BASE)
    micro = lab.start(DAEMONS)
    micro.lease().attack()
    micro.lease()
    pids = pids_in(find_groups(tree_of(lab))[0])
    assert len(pids) >= 9 and all(map(is_alive, pids)), "the harness sees them"
    os.kill(lab.process.pid or 0, signal.SIGKILL)
    until(lambda: not any(map(is_alive, pids)), "the end of all processes", within_s=2)
    until(lambda: not pids_of_uids(BASE), "no process of our user ids", within_s=2)
    lab.process.join(slow(5))


def test_the_next_start_removes_what_a_killed_warden_left(new_lab: NewLab) -> None:
    lab = new_lab()
    lab.start(DAEMONS).lease().attack()
    os.kill(lab.process.pid or 0, signal.SIGKILL)
    lab.process.join(slow(5))
    assert groups_left(lab), "a killed warden leaves its control groups"
    again = new_lab(data=lab.data)
    micros = [each for g in groups_left(again) for each in g.glob("micros/m*/s*")]
    assert micros == []
    again.start("def attack(argument): return 1").attack()
    again.stop()
    assert groups_left(again) == []


def test_a_second_warden_of_the_same_data_directory_is_refused_in_one_sentence(lab: Lab) -> None:
    program = f"""
        from pathlib import Path
        from sandbox.warden import WardenSettings, run
        raise SystemExit(run(WardenSettings(Path({str(lab.data)!r}), Path('runtimes'), port=0), ['/bin/true']))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=slow(20)
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "Another microhost is using" in done.stderr


def test_a_stopped_warden_leaves_no_process_and_no_group(new_lab: NewLab) -> None:
    lab = new_lab(uid_base=BASE)
    lab.start(DAEMONS).lease().attack()
    assert pids_of_uids(BASE)
    lab.stop()
    until(lambda: not pids_of_uids(BASE), "no process of our user ids", within_s=2)
    assert groups_left(lab) == []


def settled_count(directory: Path) -> int:
    """Count the entries of a directory once the number has been the same for a while."""
    seen: list[int] = []

    def is_steady() -> bool:
        seen.append(len(list(directory.iterdir())))
        return len(seen) > 200 and len(set(seen[-200:])) == 1

    until(is_steady, "a steady number of open files", within_s=20)
    return seen[-1]


def test_executors_and_their_sandbox_may_end_in_the_same_moment(
    new_lab: NewLab, capfd: pytest.CaptureFixture[str]
) -> None:
    """A descriptor that is closed twice is, the second time, another sandbox's: it was its control socket once."""
    lab = new_lab()
    witness = lab.start("def attack(argument): return 1")
    witness.attack()
    lab.wait_for_compiling()  # it holds descriptors of its own
    descriptors = Path(f"/proc/{lab.process.pid}/fd")
    until(lambda: witness.spare_pids(), "a spare of the witness")
    before = None
    for _ in range(ROUNDS):
        micro = lab.start("def attack(argument): return 1")
        executors = [micro.lease() for _ in range(6)]

        async def end_all(micro: Micro = micro, executors: list[Executor] = executors) -> None:
            ends = [lab.client.kill(each.id) for each in executors]
            await asyncio.gather(*ends[:3], lab.client.stop(micro.sandbox), *ends[3:])

        lab.run(end_all())
        for each in executors:
            each.close()
        assert witness.attack() == 1
        until(lambda: witness.spare_pids(), "a spare of the witness")
        before = before or settled_count(descriptors)
    assert settled_count(descriptors) == before, "as many open files as after the first round"
    lab.stop()
    assert lab.process.exitcode == 0
    assert "Bad file descriptor" not in capfd.readouterr().err


def test_kill_9_of_the_host_costs_the_executions_in_flight_and_nothing_else(new_lab: NewLab) -> None:
    lab = new_lab()
    micro = lab.start(DAEMONS)
    executor = micro.lease()
    executor.attack()
    until(lambda: micro.spare_pids(), "a spare")
    until(lambda: len(executor.pids()) == 6, "those who only fork daemons to be gone")
    leased, template = executor.pids(), micro.template_pid()
    os.kill(lab.host_pid, signal.SIGKILL)
    lab.client, lab.host_pid = lab.accept()
    until(lambda: not any(map(is_alive, leased)), "the end of the leased executor")
    assert micro.info() is not None, "the next host takes the sandbox over"
    lab.serve()
    assert is_alive(template) and micro.template_pid() == template
    assert micro.lease().attack() > 0


def test_sandboxes_that_the_next_host_does_not_ask_for_are_stopped(new_lab: NewLab) -> None:
    lab = new_lab()
    template = lab.start(DAEMONS).template_pid()
    os.kill(lab.host_pid, signal.SIGKILL)
    lab.client, lab.host_pid = lab.accept()
    assert is_alive(template)
    lab.serve()
    until(lambda: not is_alive(template), "the end of the forgotten sandbox")


def test_kill_9_of_the_template_ends_its_sandbox_and_no_other(new_lab: NewLab) -> None:
    lab = new_lab()
    micro, other = lab.start(DAEMONS), lab.start(DAEMONS)
    executor, bystander = micro.lease(), other.lease()
    executor.attack()
    until(lambda: len(executor.pids()) == 6, "those who only fork daemons to be gone")
    group = lab.group(micro.sandbox)
    pids = pids_in(group)
    os.kill(micro.template_pid(), signal.SIGKILL)
    assert micro.wait_for_state(1).state == "died"
    assert executor.wait_for_end().cause == "sandbox_died"
    assert not any(map(is_alive, pids))
    until(lambda: not group.exists(), "removal of the sandbox's group")
    assert micro.info() is None
    assert bystander.attack() > 0


def test_kill_9_of_an_executor_takes_its_children_along_and_leaves_its_neighbour(lab: Lab) -> None:
    micro = lab.start(DAEMONS)
    executor, neighbour = micro.lease(), micro.lease()
    executor.attack()
    pids = executor.pids()
    main = next(each for each in pids if each in children_of(micro.template_pid()))
    os.kill(main, signal.SIGKILL)
    evidence = executor.wait_for_end()
    assert evidence.cause == "exited"
    assert evidence.status in (-signal.SIGKILL, None)
    assert not any(map(is_alive, pids))
    assert neighbour.attack() > 0


def test_mounts_of_ended_sandboxes_and_executors_are_gone(lab: Lab) -> None:
    micro = lab.start("def attack(argument): return len(open('/proc/self/mountinfo').readlines())")
    before = len(Path("/proc/self/mountinfo").read_text().splitlines())
    template = micro.template_pid()
    inside = Path(f"/proc/{template}/mountinfo")
    for _ in range(20):
        micro.attack()
    until(lambda: len(micro.spare_pids()) == 1, "the last spare")

    def slots() -> set[str]:
        mounts = (line.split()[4] for line in inside.read_text().splitlines())
        return {each.split("/")[2] for each in mounts if each.startswith("/x/")}

    until(lambda: len(slots()) <= 3, "at most three slots in use")
    assert slots(), "the harness sees the slots"
    assert len(Path("/proc/self/mountinfo").read_text().splitlines()) == before
    micro.stop()
    assert not is_alive(template)


TWINS = """
    import os, sys, threading, time
    from sandbox import launch
    plan = launch.Plan("/bin/sleep", ["60"], {}, [0, 1, 2], uid=65534)
    children = []
    def start():
        children.append(launch.start(plan))
        os.set_blocking(children[0].complaint, True)
        os.read(children[0].complaint, 1000)  # its end of file: the child has asked the kernel, and executed
    if sys.argv[1] == "thread":
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    else:
        start()
    print(children[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(("forked_by", "lives"), [("main", True), ("thread", False)])
def test_a_child_lives_as_long_as_the_thread_that_forked_it(forked_by: str, lives: bool) -> None:
    program = textwrap.dedent(TWINS)
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, forked_by], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        child = int(parent.stdout.readline())
        if lives:
            until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "exec")
            assert is_alive(child)
        parent.kill() if lives else None
        until(lambda: not is_alive(child), "the child's end")
        parent.kill()
