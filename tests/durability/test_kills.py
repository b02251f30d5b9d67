"""What a real host acknowledged over HTTP outlives kill -9 of its processes, whole (DATA-01, DATA-05).

The writers, and the record of what was acknowledged, are in another process than those that are killed. Seeds are
printed: the kills fall at random moments, and KILL_SEED brings a run's choices back, though not its moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from accounts import Account
from reaching import Project, Refused, read_state

from tests.driving import Host, wait_until
from tests.slowness import slow

HERE = Path(__file__).parent
WRITERS = 6
LONGEST_DELAY_S = 0.4
WARDEN_EVERY = 6

pytestmark = pytest.mark.root


class Loop:
    """Hold a host that is killed again and again, and the process that writes to it."""

    def __init__(self, tmp_path: Path, *, careless: str = "", host: Host | None = None) -> None:
        """Start both. `careless` names what the host acknowledges too early; `host` is one that runs already."""
        self.seed = os.environ.get("KILL_SEED") or str(random.randrange(10**9))
        print(f"KILL_SEED={self.seed}")
        self.chance = random.Random(self.seed)
        command = [sys.executable, str(HERE / "careless.py"), careless] if careless else None
        self.host = host or Host(tmp_path / "data", command=command)
        self.project = str(self.host.new_project("killed")["id"])
        self.key = str(self.host.post(f"/projects/{self.project}/keys", {"name": "writer"})["key"])
        self.record = tmp_path / "record"
        self.record.touch()
        self._read_bytes = 0
        self.counts: Counter[str] = Counter()
        given = [self.host.port, self.project, self.key, self.record, self.seed, WRITERS]
        self.writers = subprocess.Popen(
            [sys.executable, str(HERE / "writer.py"), *map(str, given)],
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )

    def wait_for_acknowledgements(self, count: int) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted = self.count_events()["kept"] + count

        def have_come() -> bool:
            assert self.writers.poll() is None, f"the writers ended\n{self.host.tail()}"
            return self.count_events()["kept"] >= wanted

        wait_until(have_come, f"{count} writes are acknowledged", timeout_s=60, every_s=0.005)

    def count_events(self) -> Counter[str]:
        """Count what stands in the record by now."""
        with self.record.open("rb") as stream:
            stream.seek(self._read_bytes)
            whole, _, _ = stream.read().rpartition(b"\n")
        self._read_bytes += len(whole) + 1 if whole else 0
        self.counts.update(json.loads(line)[1] for line in whole.splitlines())
        return self.counts

    def kill(self, number: int) -> None:
        """Let it work for a moment, then kill the serving process or, every few rounds, the parent of all."""
        in_recovery = self.chance.random() < 0.1
        self.wait_for_acknowledgements(0 if in_recovery else self.chance.randrange(1, 40))
        time.sleep(
            self.chance.uniform(0, LONGEST_DELAY_S)
        )  # not for something: the moment itself is at random
        if number % WARDEN_EVERY == WARDEN_EVERY - 1:
            self.host.kill()
            self.host.restart()
            return
        pid = wait_until(self.host.serving_pids, "a host runs")[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in self.host.serving_pids(), "the killed host is gone", every_s=0.002)

    def finish(self) -> list[str]:
        """Let the writers end, and compare all that the host has with the record; give what is lost or torn."""
        self.wait_for_acknowledgements(20)
        self.writers.send_signal(signal.SIGTERM)
        assert self.writers.wait(slow(90)) == 0, self.host.tail()
        return self.compare()

    def compare(self) -> list[str]:
        """Compare all that the host has with the record."""
        lost, accounts = replay(self.record)
        project = Project(self.host.port, self.project, self.key)
        for number, account in accounts.items():
            for key, may in account.may.items():
                try:
                    state = read_state(project, key)
                except Refused as refusal:
                    state = str(refusal)
                if state not in may:
                    lost.append(f"at the end: {number} {key} is {state}, allowed was {may}")
        project.close()
        return lost

    def stop(self) -> None:
        """End both, whatever happened."""
        self.writers.kill()
        self.writers.wait()
        self.host.stop()


def replay(record: Path) -> tuple[list[str], dict[int, Account]]:
    """Read the record; give what contradicted it and what each writer's keys may hold."""
    lost: list[str] = []
    accounts: dict[int, Account] = {}
    for line in record.read_text().splitlines():
        number, event, key, state = json.loads(line)
        if event == "lost":
            lost.append(line)
        else:
            accounts.setdefault(number, Account()).note(event, key, state)
    return lost, accounts


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """Give a loop on a host as it is."""
    made = Loop(tmp_path)
    yield made
    made.stop()


def kill_and_check(loop: Loop, rounds: int) -> None:
    """Kill so many times; nothing may be lost, and every database must be whole."""
    begun = time.monotonic()
    for number in range(rounds):
        loop.kill(number)
        assert not loop.count_events()["lost"], replay(loop.record)[0]
    assert loop.finish() == []
    taken_s = time.monotonic() - begun
    counts = loop.count_events()
    print(f"{rounds} kills in {taken_s:.0f} s: {dict(counts)}")
    assert counts["kept"] > 20 * rounds
    assert loop.host.stop() == 0, loop.host.tail()
    for file in ("meta.db", "events.db", "visor.db", f"base/{loop.project}.db", f"drive/{loop.project}.db"):
        sql = apsw.Connection(str(loop.host.data / file))
        assert sql.pragma("integrity_check") == "ok", file
        sql.close()


def test_kills_lose_nothing_that_was_acknowledged_over_http(loop: Loop) -> None:
    kill_and_check(loop, 6)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_hundreds_of_kills_lose_nothing_that_was_acknowledged_over_http(loop: Loop) -> None:
    kill_and_check(loop, int(os.environ.get("KILL_ROUNDS", "250")))


@pytest.mark.parametrize("what", ["items", "files"])
def test_kills_show_the_loss_of_a_host_that_acknowledges_too_early(tmp_path: Path, what: str) -> None:
    loop = Loop(tmp_path, careless=what)
    try:
        for number in range(60):
            loop.kill(number % (WARDEN_EVERY - 1))  # never the parent of all: the start of one takes longest
            if loop.count_events()["lost"]:
                break
        lost = loop.finish()
        kinds = {json.loads(line)[2].partition("/")[0] for line in lost if line.startswith("[")}
        assert kinds, "a host that acknowledges too early lost nothing: the loop is blind"
        assert ("file" in kinds) == (what == "files"), lost
    finally:
        loop.stop()


def test_a_disk_that_fails_now_and_then_makes_no_false_success(tmp_path: Path) -> None:
    loop = Loop(tmp_path, careless="disk")
    failing = loop.host.data / "failing"
    try:
        loop.wait_for_acknowledgements(30)
        failing.touch()
        loop.wait_for_acknowledgements(300)
        assert loop.host.log.read_text().count('"incident"') > 5, "the disk does not fail"
        failing.unlink()
        assert loop.finish() == []
        assert loop.host.stop() == 0, loop.host.tail()
        loop.host.restart()
        assert loop.compare() == []
    finally:
        loop.stop()
