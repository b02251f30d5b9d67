"""Drive real sandboxes from a test: a real warden as a child process, the real guest, attacks written as Python.

Theory of operation
    The warden's host is `tiny_host.py`, which only hands its channel to the test; the test then speaks with the
    warden by the host's own client. Everything asynchronous runs on the lab's event loop, in a thread of its
    own, so that tests are plain functions. An attack is the source of a function `attack(argument)` whose
    result travels back as JSON through a real request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import secrets
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sandbox import executors, kernel, wire
from sandbox.client import Evidence, Lease, SandboxInfo, TemplateState, WardenClient
from sandbox.policy import Guards
from sandbox.warden import WardenSettings, run
from tests.slowness import slow

ROOT = Path(__file__).resolve().parents[2]
# Where the daemon listens whose containers sandboxes are to be; unset: they are bubblewrap's.
ENGINE = "TEST_DOCKER_SOCKET"
MIB = 1024 * 1024
T = TypeVar("T")

ATTACKER = """
import json, traceback

{source}

def app(environ, start_response):
    try:
        answer = {{"result": attack(environ["PATH_INFO"].lstrip("/"))}}
    except BaseException as error:
        answer = {{"error": type(error).__name__, "errno": getattr(error, "errno", None), "text": traceback.format_exc()}}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""


class AttackError(AssertionError):
    """Report that an attack raised inside the sandbox; `errno` is that of an OSError."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["text"])
        self.name = answer["error"]
        self.errno = answer["errno"]


def until(fact: Callable[[], T], what: str, *, within_s: float = 15.0) -> T:
    """Wait until `fact()` is true and give it; fail with `what` when it never becomes so (longer on a slow machine)."""
    within_s = slow(within_s)
    deadline = time.monotonic() + within_s
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.002)


class Lab:
    """Run one warden with one data directory. `stop` it at the end."""

    def __init__(
        self,
        data: Path,
        *,
        guards: Guards | None = None,
        network: str | None = None,
        careless: Callable[[], None] | None = None,
        **settings: Any,
    ) -> None:
        """Start it, in the network namespace of that name; `careless` takes a guard away in the warden's process."""
        self.data = data
        self.network = network
        self._careless = careless
        engine = os.environ.get(ENGINE)
        if engine is not None:
            settings = {"driver": "docker", "docker_socket": Path(engine), **settings}
        self.settings = WardenSettings(
            data=data,
            runtime=ROOT / "runtimes",
            port=0,
            check_guards=False,
            guards=guards or Guards(),
            **settings,
        )
        self.states: dict[str, list[TemplateState]] = {}
        self.ends: dict[str, Evidence] = {}
        self.gone: set[str] = set()
        self.taken: set[str] = set()
        self.drained = threading.Event()
        # a path, since abstract names end at the border of a network
        data.mkdir(exist_ok=True)
        self._name = str(data / f"lab-{secrets.token_hex(4)}.sock")
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(self._name)
        Path(self._name).chmod(0o777)
        self._server.listen()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._hosts: list[socket.socket] = []
        self._clients: list[WardenClient] = []
        self.leased: list[Executor] = []
        self.micros: list[Micro] = []
        self.process = self._spawn()
        self.client, self.host_pid = self.accept()

    def _spawn(self) -> multiprocessing.process.BaseProcess:
        # `spawn`: the warden forks, and must not inherit this process's threads
        context = multiprocessing.get_context("spawn")
        argv = [sys.executable, str(Path(__file__).with_name("tiny_host.py")), self._name]
        process = context.Process(
            target=be_warden, args=(self.settings, argv, self.network, self._careless), daemon=True
        )
        process.start()
        return process

    def accept(self, *, within_s: float = 20.0) -> tuple[WardenClient, int]:
        """Take the channel of the next host that the warden starts; gives its client and its pid."""
        self._server.settimeout(slow(within_s))
        connection, _ = self._server.accept()
        data, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
        self._hosts.append(connection)
        client = WardenClient(
            socket.socket(fileno=descriptors[0]),
            on_exited=lambda executor, sandbox, evidence: self.ends.__setitem__(executor, evidence),
            on_template=lambda state: self.states.setdefault(state.sandbox, []).append(state),
            on_drain=self.drained.set,
            on_gone=self.gone.add,
            on_taken=self.taken.add,
        )
        self.run(client.start())
        self._clients.append(client)
        return client, int(data)

    def serve(self) -> Lab:
        """Say that the host serves."""
        self.run(self.client.ready())
        return self

    def run(self, work: Coroutine[Any, Any, T], *, within_s: float = 60.0) -> T:
        """Run a coroutine on the lab's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(slow(within_s))

    def wait_for_compiling(self) -> None:
        """Wait until the warden has compiled the runtime, which it does once, beside its work, after the first start."""
        until(lambda: "warden-compile" not in self._workers(), "the runtime is compiled", within_s=60)

    def _workers(self) -> list[str]:
        names = []
        for pid in children_of(self.process.pid or 0):
            with contextlib.suppress(OSError):
                names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        return names

    def bundle(self, files: Mapping[str, str | bytes]) -> str:
        """Put code into the data directory; gives the revision's id."""
        revision = secrets.token_hex(8)
        for name, content in files.items():
            file = self.data / "bundles" / revision / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return revision

    def start(
        self,
        source: str = "",
        *,
        main: str | None = None,
        files: Mapping[str, str | bytes] | None = None,
        mode: str = "fork",
        runtime: str = "python3.11",
        memory_bytes: int = 512 * MIB,
        tmp_bytes: int = 512 * MIB,
        tasks: int = 1024,
        environment: Mapping[str, str] | None = None,
        wanted: str = "ready",
        micro: str | None = None,
        egress: str | tuple[str, ...] = "none",
    ) -> Micro:
        """Boot a sandbox and attach code to it: an attack's `source`, or a whole `main`.py."""
        sandbox = secrets.token_hex(8)
        code = {"main.py": main if main is not None else ATTACKER.format(source=source), **(files or {})}
        revision = self.bundle(code)
        self.run(
            self.client.boot(
                sandbox,
                micro=micro or secrets.token_hex(8),
                runtime=runtime,
                dependencies=None,
                memory_bytes=memory_bytes,
                tmp_bytes=tmp_bytes,
                tasks=tasks,
                egress=egress,
            )
        )
        log_read, log_write = os.pipe()
        report_read, report_write = os.pipe()
        os.set_blocking(log_read, False)
        os.set_blocking(report_read, False)
        try:
            self.run(
                self.client.attach(
                    sandbox,
                    revision=revision,
                    mode=mode,  # type: ignore[arg-type]
                    environment=environment or {},
                    log=log_write,
                    report=report_write,
                )
            )
        finally:
            os.close(log_write)
            os.close(report_write)
        started = Micro(self, sandbox, log_read, report_read)
        self.micros.append(started)
        state = started.wait_for_state()
        assert state.state == wanted, f"{state}; report {started.report()!r}; log {started.log()!r}"
        return started

    def group(self, sandbox: str, leaf: str = "", controller: str = "unified") -> Path:
        """Give a directory of the sandbox's control group."""
        return find_group(f"s{sandbox}", controller) / leaf

    def stop(self) -> None:
        """End the warden and everything in it. May be called twice."""
        if self._loop.is_closed():
            return
        for executor in self.leased:
            executor.close()
        for micro in self.micros:
            micro.close()
        if self.process.is_alive():
            os.kill(self.process.pid or 0, signal.SIGTERM)
        for each in (*self._hosts, self._server):
            each.close()
        self.process.join(slow(20))
        for client in self._clients:
            self._loop.call_soon_threadsafe(client.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        assert not self.process.is_alive(), "the warden did not end within 20 s of SIGTERM"


class Micro:
    """Be one started sandbox."""

    def __init__(self, lab: Lab, sandbox: str, log: int, report: int) -> None:
        self.lab = lab
        self.sandbox = sandbox
        self._log = log
        self._report = report

    def wait_for_state(self, index: int = 0, *, within_s: float = 40.0) -> TemplateState:
        """Give the `index`th event about the template."""
        return until(
            lambda: (self.lab.states.get(self.sandbox, [])[index : index + 1] or [None])[0],
            f"event {index} of template {self.sandbox}",
            within_s=within_s,
        )

    def lease(self) -> Executor:
        """Take an executor and wait for its first frame."""
        executor = Executor(self, self.lab.run(self.lab.client.lease(self.sandbox)))
        self.lab.leased.append(executor)
        executor.first = executor.read_frame()
        return executor

    def attack(self, argument: str = "") -> Any:
        """Run the attack in an executor of its own, then end that; gives what `attack` returned."""
        executor = self.lease()
        try:
            return executor.attack(argument)
        finally:
            executor.kill()

    def info(self) -> SandboxInfo | None:
        """Give the sandbox as the warden lists it, None when it has gone."""
        return next((x for x in self.lab.run(self.lab.client.list()) if x.sandbox == self.sandbox), None)

    def stop(self) -> None:
        """End it."""
        self.lab.run(self.lab.client.stop(self.sandbox))

    def close(self) -> None:
        """Let the descriptors go. May be called twice."""
        wire.close([self._log, self._report])
        self._log = self._report = -1

    def log(self) -> str:
        """Give what the import printed."""
        return _drain(self._log)

    def report(self) -> str:
        """Give the guest's report."""
        return _drain(self._report)

    def spare_pids(self) -> list[int]:
        """Give the processes of the sandbox's executors that nobody has leased (of a sandbox without leases)."""
        leaves = sorted(self.lab.group(self.sandbox).glob("x*"))
        return [pid for leaf in leaves for pid in pids_in(leaf) if pid != self.template_pid()]

    def template_pid(self) -> int:
        """Give the template's pid: the only child of bwrap's only child, or of a container's first process."""
        outer = pids_in(self.lab.group(self.sandbox, "init"))
        if len(outer) == 1:
            return children_of(outer[0])[0]
        inner = next(pid for pid in outer if set(children_of(pid)) & set(outer))
        return children_of(children_of(inner)[0])[0]


@dataclass
class Executor:
    """Be one leased executor."""

    micro: Micro
    lease: Lease
    first: tuple[bytes, bytes] = (b"", b"")

    @property
    def id(self) -> str:
        """Give the executor's id."""
        return self.lease.executor

    def send_request(self, path: str = "/", *, method: str = "GET", body: bytes = b"") -> None:
        """Send one HTTP request."""
        fields = [
            b"Q1",
            method.encode(),
            path.encode(),
            b"http",
            b"1.1",
            b"203.0.113.9",
            b"5000",
            b"host",
            b"80",
        ]
        meta = b"\0".join(fields)
        self.lease.channel.settimeout(slow(30))
        self.lease.channel.sendall(struct.pack(">II", len(meta), len(body)) + meta + body)

    def read_frame(self, *, within_s: float = 30.0) -> tuple[bytes, bytes]:
        """Give the next frame: its meta and its body."""
        self.lease.channel.settimeout(slow(within_s))
        head = self._read_exactly(8)
        meta, body = struct.unpack(">II", head)
        return self._read_exactly(meta), self._read_exactly(body)

    def _read_exactly(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self.lease.channel.recv(count - len(parts))
            if not part:
                raise EOFError(f"the executor closed its channel; stderr {self.stderr()!r}")
            parts += part
        return parts

    def respond(self, *, within_s: float = 30.0) -> bytes:
        """Read one whole response and the end of its execution; gives the body."""
        body, ended = b"", False
        while not ended:
            meta, part = self.read_frame(within_s=within_s)
            body += part if meta[:1] in (b"h", b"d") else b""
            ended = meta[:1] == b"e" or meta[:2] in (b"h2", b"d2")
            assert meta[:1] != b"f", meta
        return body

    def request(self, path: str = "/", **options: Any) -> bytes:
        """Send a request and give the body of its response."""
        self.send_request(path, **options)
        return self.respond()

    def attack(self, argument: str = "") -> Any:
        """Run the attack; gives its result.

        Raises: AttackError when it raised.
        """
        answer = json.loads(self.request("/" + argument))
        if "error" in answer:
            raise AttackError(answer)
        return answer["result"]

    def kill(self) -> Evidence:
        """End it, and let its descriptors go."""
        evidence = self.micro.lab.run(self.micro.lab.client.kill(self.id))
        self.close()
        return evidence

    def wait_for_end(self, *, within_s: float = 10.0) -> Evidence:
        """Give the evidence of the event `exited`."""
        return until(
            lambda: self.micro.lab.ends.get(self.id), f"end of executor {self.id}", within_s=within_s
        )

    def freeze(self) -> None:
        """Stop it, as the pool does between executions."""
        os.write(self.lease.freezer, self.lease.freeze)

    def thaw(self) -> None:
        """Let it run."""
        os.write(self.lease.freezer, self.lease.thaw)

    def group(self, controller: str = "unified") -> Path:
        """Give the directory of its control group."""
        number = os.readlink(f"/proc/self/fd/{self.lease.freezer}").split("/")[-2]
        return self.micro.lab.group(self.micro.sandbox, number, controller)

    def watch_removal(self, controller: str = "unified") -> Callable[[], bool]:
        """Give what tells, later, whether its control group is gone: a slot's name is used again at once."""
        group = self.group(controller)
        number = group.stat().st_ino

        def is_removed() -> bool:
            try:
                return group.stat().st_ino != number
            except FileNotFoundError:
                return True

        return is_removed

    def pids(self) -> list[int]:
        """Give its processes (the template may wait in its group for a moment after the fork)."""
        return [each for each in pids_in(self.group()) if each != self.micro.template_pid()]

    def stdout(self) -> str:
        """Give what it printed so far."""
        return _drain(self.lease.stdout)

    def stderr(self) -> str:
        """Give what it printed to stderr so far."""
        return _drain(self.lease.stderr)

    def close(self) -> None:
        """Let the descriptors go. May be called twice."""
        if self.lease.freezer >= 0:
            self.lease.channel.close()
            wire.close([self.lease.stdout, self.lease.stderr, self.lease.freezer, self.lease.peak])
            self.lease = replace(self.lease, stdout=-1, stderr=-1, freezer=-1, peak=-1)


def be_warden(
    settings: WardenSettings, argv: list[str], network: str | None, careless: Callable[[], None] | None
) -> None:
    """Run in the child: be the warden, in a process group of its own."""
    os.setpgid(0, 0)
    executors.KILL_S = slow(executors.KILL_S)
    if network is not None:
        with Path("/run/netns", network).open() as namespace:
            kernel.enter_network(namespace.fileno())
    if careless is not None:
        careless()
    sys.exit(run(settings, argv))


def find_group(name: str, controller: str = "unified") -> Path:
    """Find the control group directory `name` in one hierarchy."""
    found = find_groups(name, controller)
    assert found, f"no control group {name} in {controller}"
    return found[0]


def find_groups(name: str, controller: str = "unified") -> list[Path]:
    """Find every control group directory `name` in one hierarchy; version 2 has one for all controllers."""
    return [Path(where) for where, _, _ in os.walk(hierarchy(controller)) if where.endswith(f"/{name}")]


def hierarchy(controller: str) -> Path:
    """Give where a controller's control groups are mounted; the unified hierarchy when it has none of its own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    own = [each[1] for each in mounts if each[2] == "cgroup" and controller in each[3].split(",")]
    unified = [each[1] for each in mounts if each[2] == "cgroup2"]
    return Path([*own, *unified, "/nonexistent"][0])


def used_cpu_s(group: Path) -> float:
    """Give the processor time of a group of `cpuacct`, or of version 2."""
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    found = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(found["usage_usec"]) / 1e6


def pids_in(group: Path) -> list[int]:
    """Give the processes of a control group and of those below it."""
    found: list[int] = []
    for where, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found += [int(each) for each in Path(where, "cgroup.procs").read_text().split()]
    return found


def children_of(pid: int) -> list[int]:
    """Give the children of a process."""
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def pids_of_uids(first: int, count: int = 10_000) -> list[int]:
    """Give every process of a range of user ids."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if first <= entry.stat().st_uid < first + count:
                    found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _drain(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := os.read(descriptor, 65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")
