"""OPS-02, OPS-03: whatever of a host is killed under load, only requests in flight fail, it serves again soon, and nothing is left.

The table of who outlives whom stands in ARCHITECTURE.md. Moments are random; the seed is told, SEED repeats them.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.premises import tree_name
from tests.driving import Host, Micro, wait_until, zip_files
from tests.slowness import slow

pytestmark = [pytest.mark.root, pytest.mark.timeout(3600)]
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
VISITORS = 6
BACK_S = 2.0
UID_BASE = 340_000

PYTHON = """
import time

def app(environ, start_response):
    time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"python"]
"""
NODE = "module.exports = (request, response) => setTimeout(() => response.end('node'), 20);"


@dataclass(frozen=True)
class Seen:
    """Hold one request: when it began and ended (monotonic, s), and what is wrong with its answer, if anything."""

    began: float
    ended: float
    wrong: str


@dataclass
class Load:
    """Ask two Micros from several threads, each request on a connection of its own."""

    micros: list[tuple[Micro, bytes]]
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Be one visitor."""
        micro, wanted = self.micros[number % len(self.micros)]
        while not self.over.is_set():
            began = time.monotonic()
            wrong = ask(micro, wanted)
            self.seen.append(Seen(began, time.monotonic(), wrong))
            if wrong:
                time.sleep(0.01)  # a closed port answers at once


def ask(micro: Micro, wanted: bytes) -> str:
    """Call a Micro; say what was wrong, or nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", micro.host.port, timeout=slow(20))
    try:
        connection.request("GET", "/", headers={"Host": f"{micro.path}.localhost"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if (answer.status, body) == (200, wanted) else f"{answer.status} {body[:200]!r}"


@contextlib.contextmanager
def under_load(micros: list[tuple[Micro, bytes]]) -> Iterator[Load]:
    load = Load(micros)
    visitors = [threading.Thread(target=load.run, args=(number,)) for number in range(VISITORS)]
    for each in visitors:
        each.start()
    try:
        yield load
    finally:
        load.over.set()
        for each in visitors:
            each.join(slow(30))


# --- who is killed


def processes_named(host: Host, *names: str) -> list[int]:
    """Give the processes below the host's warden with such a name."""
    found, queue = [], [host.warden_pid()]
    while queue:
        pid = queue.pop()
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            queue += map(int, children)
            if Path(f"/proc/{pid}/comm").read_text().strip() in names:
                found.append(pid)
    return found


def kill_host(host: Host, chance: random.Random) -> None:
    for pid in host.serving_pids():
        os.kill(pid, signal.SIGKILL)


def kill_template(host: Host, chance: random.Random) -> None:
    _kill_one(processes_named(host, "micro-template"), chance)


def kill_executor(host: Host, chance: random.Random) -> None:
    _kill_one(processes_named(host, "micro-executor"), chance)


def kill_warden(host: Host, chance: random.Random) -> None:
    host.kill()
    host.restart()


def _kill_one(pids: list[int], chance: random.Random) -> None:
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


VICTIMS = [kill_host, kill_template, kill_executor, kill_warden]


# --- what may be left


@dataclass(frozen=True)
class Traces:
    """Name what a host has made outside of its data directory."""

    processes: tuple[str, ...]
    groups: tuple[str, ...]
    mounts: tuple[str, ...]
    loops: str
    rules: tuple[str, ...]
    temporary: tuple[str, ...]


def traces_of(host: Host) -> Traces:
    tree = tree_name(host.data)
    uids = range(host.outside_id(UID_BASE), host.outside_id(UID_BASE) + 5000)
    processes = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if each.stat().st_uid in uids:
                processes.append(f"{each.name} {(each / 'comm').read_text().strip()}")
    digest = tree.removeprefix("microhost-")
    return Traces(
        processes=tuple(processes),
        groups=tuple(where for where, _, _ in os.walk("/sys/fs/cgroup") if where.endswith(f"/{tree}")),
        mounts=tuple(
            line for line in Path("/proc/self/mounts").read_text().splitlines() if str(host.data) in line
        ),
        loops=subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=False).stdout,
        rules=tuple(
            line
            for line in _output("nft", "list", "tables").splitlines()
            + _output("ip", "-o", "link").splitlines()
            if digest in line
        ),
        temporary=tuple(
            str(each)
            for place in ("envs", "bundles", "run")
            for each in (host.data / place).glob(".*")
            if each.name.startswith((".install-", ".staging"))
        ),
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


# --- the loop


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    running = Host(tmp_path / "data", environment={"MICROHOST_UID_BASE": str(UID_BASE)})
    yield running
    running.stop()


def deploy(host: Host) -> list[tuple[Micro, bytes]]:
    project = host.new_project("lives")["id"]
    python = host.new_micro(project, "python")
    python.must_deploy(zip_files({"main.py": PYTHON}))
    node = host.new_micro(project, "node", runtime="node")
    node.must_deploy(zip_files({"index.js": NODE}))
    return [(python, b"python"), (node, b"node")]


def kill_again_and_again(host: Host, kill: Callable[[Host, random.Random], None], rounds: int) -> None:
    """Kill under load at random moments, and hold all that is promised of it."""
    print(f"SEED={SEED}")
    chance = random.Random(SEED)
    micros = deploy(host)
    windows, back = [], []
    with under_load(micros) as load:
        wait_until(lambda: sum(not each.wrong for each in load.seen) > 20, "the load runs")
        descriptors = max(_descriptors(host))
        for _ in range(rounds):
            time.sleep(chance.uniform(0.05, 0.4))
            began = time.monotonic()
            kill(host, chance)
            for micro, wanted in micros:
                while ask(micro, wanted):
                    assert time.monotonic() - began < slow(20), (
                        f"not back: {ask(micro, wanted)}\n{host.tail()}"
                    )
            ended = time.monotonic()
            windows.append((began, ended))
            back.append(ended - began)
        left = min(_descriptors(host))
    failed = [each for each in load.seen if each.wrong]
    outside = [each for each in failed if not any(each.began < b and a < each.ended for a, b in windows)]
    assert not outside, outside[:5]
    good = len(load.seen) - len(failed)
    assert good > 5 * rounds
    back.sort()
    print(
        f"{kill.__name__}: {rounds} rounds, {good} served, {len(failed)} failed in flight, "
        f"back after {back[len(back) // 2]:.2f} s (median), {back[-1]:.2f} s (worst)"
    )
    # the start of a whole host is measured, too, where the warden is killed: this machine's own may be slow
    allowed = max(BACK_S, 1.5 * host.start_s) if kill is kill_warden else BACK_S
    assert back[len(back) // 2] < slow(allowed) and back[-1] < slow(2 * allowed)
    assert left <= descriptors + 40, f"the warden holds {left} descriptors, {descriptors} before"
    assert host.stop() == 0, host.tail()
    nothing = Traces((), (), (), traces_of(host).loops, (), ())
    wait_until(lambda: traces_of(host) == nothing, f"nothing is left: {traces_of(host)}")
    assert str(host.data) not in nothing.loops


def _descriptors(host: Host) -> list[int]:
    """Count the warden's descriptors for a second; executors come and go under the load."""
    counts = []
    for _ in range(20):
        counts.append(len(os.listdir(f"/proc/{host.warden_pid()}/fd")))
        time.sleep(0.05)
    return counts


@pytest.mark.parametrize("kill", VICTIMS, ids=lambda each: each.__name__)
def test_a_few_kills_cost_what_is_in_flight_and_leave_nothing(
    host: Host, kill: Callable[[Host, random.Random], None]
) -> None:
    kill_again_and_again(host, kill, 3)


@pytest.mark.long
@pytest.mark.parametrize("kill", VICTIMS, ids=lambda each: each.__name__)
def test_a_hundred_kills_cost_what_is_in_flight_and_leave_nothing(
    host: Host, kill: Callable[[Host, random.Random], None]
) -> None:
    kill_again_and_again(host, kill, 100)


# --- replaced without a failure

BUSY = """
import time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces()
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % len(body)]

def pieces():
    for number in range(20):
        yield b"%d\\n" % number
        time.sleep(0.1)
"""
STREAM = b"".join(b"%d\n" % number for number in range(20))
PIECE, PIECES = b"x" * 20_000, 20
RATE = 200


def quick(micro: Micro) -> str:
    return ask(micro, b"0")


def upload(micro: Micro) -> str:
    """Send a body that takes two seconds."""
    with socket.create_connection(("127.0.0.1", micro.host.port), timeout=slow(20)) as connection:
        head = f"POST /upload HTTP/1.1\r\nHost: {micro.path}.localhost\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(PIECE) * PIECES}\r\n\r\n".encode())
        for _ in range(PIECES):
            connection.sendall(PIECE)
            time.sleep(0.1)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return (
        ""
        if answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"%d" % (len(PIECE) * PIECES))
        else repr(answer[:200])
    )


def stream(micro: Micro) -> str:
    """Read an answer that takes two seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", micro.host.port, timeout=slow(20))
    connection.request("GET", "/stream", headers={"Host": f"{micro.path}.localhost"})
    body = connection.getresponse().read()
    connection.close()
    return "" if body == STREAM else repr(body[:200])


def replace_again_and_again(host: Host, times: int) -> None:
    project = host.new_project("replaced")["id"]
    micro = host.new_micro(project, "busy")
    micro.must_deploy(zip_files({"main.py": BUSY}))
    over = threading.Event()
    wrong: list[str] = []
    done = {"quick": 0, "upload": 0, "stream": 0}

    def repeat(act: Callable[[Micro], str], every_s: float) -> None:
        due = time.monotonic()
        while not over.is_set():
            try:
                said = act(micro)
            except (OSError, http.client.HTTPException) as error:
                said = f"{type(error).__name__}: {error}"
            if said:
                wrong.append(f"{act.__name__}: {said}")
            done[act.__name__] += 1
            due += every_s
            time.sleep(max(0.0, due - time.monotonic()))

    workers = 10
    threads = [threading.Thread(target=repeat, args=(quick, workers / RATE)) for _ in range(workers)]
    threads += [
        threading.Thread(target=repeat, args=(act, 0.0)) for act in (upload, stream) for _ in range(2)
    ]
    began = time.monotonic()
    for each in threads:
        each.start()
    seen = set()
    for _ in range(times):
        former = host.serving_pids()
        seen |= set(former)
        os.kill(host.warden_pid(), signal.SIGHUP)
        wait_until(
            lambda former=former: len(now := host.serving_pids()) == 1 and not set(now) & set(former),
            "the next host serves and the former one has gone",
            timeout_s=30,
        )
    took = time.monotonic() - began
    over.set()
    for each in threads:
        each.join(slow(30))
    print(
        f"{times} replacements in {took:.1f} s, {done}, {done['quick'] / took:.0f} requests/s, {len(wrong)} failed"
    )
    assert len(seen) == times, "each replacement is another process"
    assert wrong == []
    assert done["upload"] >= 2 and done["stream"] >= 2


def test_a_replaced_host_fails_no_request(host: Host) -> None:
    replace_again_and_again(host, 2)


@pytest.mark.long
def test_twenty_replacements_fail_no_request(host: Host) -> None:
    replace_again_and_again(host, 20)
