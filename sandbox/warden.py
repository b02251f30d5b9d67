"""Be the warden: the privileged parent of the host and of every sandbox.

Theory of operation
    One process, one permanent thread, one event loop (asyncio on selectors). It owns the lock of the data
    directory, the listening socket, the control groups, the sandboxes and the user ids; it speaks no HTTP and
    reads no tenant bytes but the few fixed words of the control sockets. The host (hosts.py) is an
    unprivileged child and is not believed: it asks with ids (requests.py), and the warden derives paths, user
    ids and limits itself. Everything slow is somebody else's: mounts and first joins the mounter's
    (slots.py), installs a worker's (builds.py). What has the loop is short: the lease of a spare is one turn.

    Who dies when: the host's death costs the executors that it held; sandboxes and their spares stay for the
    next one, which takes them over by `list`, or else they are stopped when it is `ready`. A sandbox's death
    costs its executors. The warden's death ends everything: each child asks the kernel to be killed with its
    parent, and the next start removes the control groups. SIGTERM drains the host, then ends everything.
    SIGHUP starts a second host; when it is `ready` the first is told to drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import activation, kernel, nodes, policy, requests, users, visible, wire
from sandbox.builds import Builds
from sandbox.container_sandboxes import ContainerSandbox
from sandbox.containers import Containers
from sandbox.executors import Executor
from sandbox.fetching import FetchRequest
from sandbox.hosts import Host, HostPlan
from sandbox.interpreters import Interpreter, nearest
from sandbox.interpreters import default as default_interpreter
from sandbox.networks import Networks
from sandbox.orders import ContainerPlace, Means, Order, SandboxError
from sandbox.premises import Premises, PremisesError, clear_tree, prepare
from sandbox.requests import RefusedError
from sandbox.sandboxes import Sandbox
from sandbox.slots import Identity, Mounter, identify
from sandbox.store import BYTES_MAX
from sandbox.wire import Record
from sandbox.workers import MountError

BACKLOG = 1024
RUN = "/run"  # root's own, and the same for the daemon of Docker
LOOPBACK = "127.0.0.1"
DRAIN_S = 12.0
HOST_RETRY_S = 0.1  # after a host that served, however often: it must be back within 2 s
HOST_RETRY_LONGEST_S = 10.0
HOST_WEIGHT, MICROS_WEIGHT = 400, 100
MACHINE_SHARE = 0.9
PRIORITY = -10
OPEN_FILES = 262_144


@dataclass(frozen=True, slots=True)
class WardenSettings:
    """Hold what the warden is told once. `runtime` is the directory `runtimes`; limits are maxima.

    `host_environment` is given to the host (its own settings); `environment` is the operator's, for the
    installer's index. `accepted` names guards that may be missing. `visible` are further paths of the host's.
    `tls_port` is of a second listening socket, `operations_port` of one on loopback; None when there is none.
    `driver` says what sandboxes are; `docker_socket` is where Docker's daemon listens.
    `host_files` are opened for each host; `door_names` lead, inside a sandbox, to its doors (doors.py).
    `git_allowed` are URLs of places that repositories may be fetched from beside public ones.
    """

    data: Path
    runtime: Path
    host: str = "127.0.0.1"
    port: int = 8000
    tls_port: int | None = None
    operations_port: int | None = None
    uid_base: int = 210_000
    memory_bytes: int = 4096 * 1024 * 1024
    tmp_bytes: int = 4096 * 1024 * 1024
    tasks: int = 1024
    dependencies_bytes: int = BYTES_MAX
    import_s: float = 30.0
    accepted: frozenset[str] = frozenset()
    host_environment: Mapping[str, str] = field(default_factory=dict)
    host_files: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    visible: tuple[Path, ...] = ()
    git_allowed: tuple[str, ...] = ()
    door_names: tuple[str, ...] = ("database.deta.sh", "drive.deta.sh")
    driver: str = "namespaces"  # or "docker"
    docker_socket: Path = Path("/var/run/docker.sock")
    check_guards: bool = True
    guards: policy.Guards = field(default_factory=policy.Guards)


def run(settings: WardenSettings, host_argv: list[str]) -> int:
    """Be the warden until SIGTERM or SIGINT; gives the exit code."""
    try:
        premises = prepare(
            settings.data,
            uid_base=settings.uid_base,
            runtime=settings.runtime,
            door_names=settings.door_names,
        )
        place = _container_place(premises) if settings.driver == "docker" else None
        listeners = _listen_all(settings)
        wire.close(list(_open_files(settings).values()))
    except (PremisesError, activation.ActivationError, OSError) as error:
        _log(str(error))
        return 1
    _raise_open_files()
    with contextlib.suppress(PermissionError):
        # a doorbell must be heard while tenants keep every processor busy
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    os.umask(0o022)
    kernel.name_process("microhost-warden")
    try:
        return asyncio.run(Warden(settings, premises, listeners, host_argv, place).main())
    finally:
        if not clear_tree(premises.tree):
            _log("processes of a sandbox could not be ended; the next start tries again")


class Warden:
    """Serve one host after the other until told to stop."""

    def __init__(
        self,
        settings: WardenSettings,
        premises: Premises,
        listeners: Mapping[str, socket.socket],
        host_argv: list[str],
        place: ContainerPlace | None = None,
    ) -> None:
        self._settings = settings
        self._premises = premises
        self._listeners = listeners
        self._host_argv = host_argv
        self._hosts: list[Host] = []
        self._sandboxes: dict[str, Sandbox] = {}
        self._free_uids = deque(premises.users.sandboxes())
        self._mounter = Mounter()
        self._networks = Networks(self._mounter, f"mh-{premises.tree.name[-12:]}", _log)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._hurry = asyncio.Event()
        self._exit_code = 0
        self._retry_s = HOST_RETRY_S
        self._served = False
        self._tasks: set[asyncio.Task[None]] = set()
        is_docker = settings.driver == "docker"
        self._sandbox_class = ContainerSandbox if is_docker else Sandbox
        self._means = Means(
            tree=premises.tree,
            mounter=self._mounter,
            networks=self._networks,
            enter_namespace=premises.enter_namespace,
            bwrap=premises.bwrap,
            runtime=str(premises.runtime),
            etc=premises.etc,
            proc_entries=premises.proc_entries,
            guards=settings.guards,
            import_s=settings.import_s,
            emit=self._emit,
            log=_log,
            containers=Containers(str(settings.docker_socket), premises.tree, place.meetings)
            if place
            else None,
            place=place,
        )
        self._builds = Builds(
            premises,
            environment=settings.environment,
            deta_version=_digest(settings.runtime / "python" / "packages" / "deta"),
            bytes_max=settings.dependencies_bytes,
            docker_socket=str(settings.docker_socket) if is_docker else None,
        )
        self._operations: dict[str, Callable[[Host, Record, list[int]], Awaitable[Record]]] = {
            "boot": self._boot,
            "attach": self._attach,
            "kill": self._kill,
            "stop": self._stop,
            "permit": self._permit,
            "list": self._list,
            "install": self._install,
            "fetch": self._fetch,
            "sweep": self._sweep,
            "ready": self._ready,
            "doctor": self._doctor,
        }
        # those that answer themselves, with descriptors
        self._handovers: dict[str, Callable[[Host, Record], Awaitable[None]]] = {
            "lease": self._lease_fork,
            "doors": self._doors,
        }

    # --- the warden's own life

    async def main(self) -> int:
        """Start, serve, stop."""
        self._mounter.start()
        if self._means.containers is not None:
            self._means.containers.start()
        self._set_up_groups()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_replace_signal)
        try:
            able, _, has_engine = await asyncio.gather(
                self._check_guards(), self._networks.start(), self._prepare_containers()
            )
            if able and has_engine:
                self._start_host()
                self._spawn(self._compile_runtime())
                await self._stopping.wait()
                await self._drain()
        finally:
            await self._end_all()
        return self._exit_code

    def _set_up_groups(self) -> None:
        tree = self._premises.tree
        host, micros = tree.group("host"), tree.group("micros")
        host.create()
        host.limit(weight=HOST_WEIGHT)
        micros.create_inner()
        # when all of them together are too large, one execution pays for it and not everybody
        share_bytes = int(_machine_memory_bytes() * MACHINE_SHARE)
        micros.limit(memory_bytes=share_bytes, weight=MICROS_WEIGHT, dies_whole=False)

    async def _check_guards(self) -> bool:
        """Refuse to serve on a machine that lacks a guard, unless the operator named it."""
        if not self._settings.check_guards:
            return True
        report = await self._builds.doctor()
        if "error" in report:
            _log(f"the guards of this machine could not be tried: {report['error']}")
            self._exit_code = 1
            return False
        missing = [each for each in report["guards"] if each["state"] == "missing"]
        refused = [each for each in missing if each["name"] not in self._settings.accepted]
        for each in missing:
            word = "missing" if each in refused else "missing, accepted"
            _log(f"guard '{each['name']}' is {word}: {each['detail']}. {each['advice']}".rstrip())
        if refused:
            names = ",".join(each["name"] for each in refused)
            _log(f"refusing to serve; to accept the weaker level set MICROHOST_INSECURE_SANDBOX={names}")
            self._exit_code = 1
        return not refused

    async def _prepare_containers(self) -> bool:
        """Tell whether the driver has what it needs, and say what is lacking."""
        if self._means.containers is None:
            return True
        try:
            if users.in_namespace():
                raise MountError("the driver 'docker' is for root of the machine; start microhost as root")
            await self._means.containers.prepare()
        except MountError as error:
            _log(f"Docker at '{self._settings.docker_socket}' cannot be used: {error}")
            self._exit_code = 1
            return False
        return True

    async def _compile_runtime(self) -> None:
        """Compile what every sandbox imports first; those that start before it is done do without."""
        result = await self._builds.compile_runtime()
        if result.get("failed") or "error" in result:
            _log(f"the runtime could not be compiled: {result}")

    def _on_stop_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        activation.notify(os.environ, "STOPPING=1")
        self._stopping.set()

    def _on_replace_signal(self) -> None:
        if not self._stopping.is_set() and not any(each.state == "starting" for each in self._hosts):
            self._start_host()

    async def _drain(self) -> None:
        for host in self._hosts:
            host.drain()
        gone = [asyncio.create_task(each) for each in (self._ended.wait(), self._hurry.wait())]
        if self._hosts:
            await asyncio.wait(gone, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        for each in gone:
            each.cancel()

    async def _end_all(self) -> None:
        for host in list(self._hosts):
            host.kill()
        await asyncio.gather(*(each.end("") for each in list(self._sandboxes.values())))
        await self._networks.stop()
        self._mounter.close()
        if self._means.containers is not None:
            self._means.containers.close()
        if self._means.place is not None:
            shutil.rmtree(self._means.place.meetings, ignore_errors=True)
        for host in self._hosts:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(host.pid, 0)

    # --- hosts

    def _start_host(self) -> None:
        try:
            files = _open_files(self._settings)
        except OSError as error:  # better to serve without them than not at all
            _log(f"the next host does without a file: {error}")
            files = {}
        try:
            self._start_host_with(files)
        finally:
            wire.close(list(files.values()))

    def _start_host_with(self, files: Mapping[str, int]) -> None:
        settings = self._settings
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self._premises.data),
            **settings.host_environment,
        }
        plan = HostPlan(
            argv=self._host_argv,
            environment=environment,
            uid=self._premises.users.host,
            visible=[*visible.python_paths(), self._premises.data, settings.runtime, *settings.visible],
            join_files=self._premises.tree.group("host").join_files(),
            descriptors={
                **{name: listener.fileno() for name, listener in self._listeners.items()},
                **files,
            },
        )
        host = Host(plan, on_record=self._on_record, on_gone=self._on_host_gone, log=_log)
        self._hosts.append(host)

    def _on_host_gone(self, host: Host) -> None:
        self._hosts.remove(host)
        for sandbox in self._sandboxes.values():
            sandbox.door_holders.discard(host)
            if sandbox.owner is host:
                self._pass_on(sandbox)
            for executor in list(sandbox.executors.values()):
                if executor.holder is host:
                    executor.announce = False
                    executor.end("killed")
        if self._stopping.is_set():
            if not self._hosts:
                self._ended.set()
            return
        if not self._served:
            _log(f"the host ended with status {host.status} before it served")
            self._exit_code = 1
            self._stopping.set()
            self._ended.set()
            return
        if any(each.state in ("starting", "serving") for each in self._hosts):
            return
        self._retry_s = HOST_RETRY_S if host.has_served else min(2 * self._retry_s, HOST_RETRY_LONGEST_S)
        _log(f"the host ended with status {host.status}; a new one starts in {self._retry_s:.1f} s")
        asyncio.get_running_loop().call_later(self._retry_s, self._restart_host)

    def _pass_on(self, sandbox: Sandbox) -> None:
        """Give a sandbox whose host has gone to the one that serves now, or end it when that never asked."""
        heir = next((each for each in self._hosts if each.state == "serving"), None)
        sandbox.owner = heir if heir is not None and heir.has_listed else None
        if heir is not None and not heir.has_listed:
            self._spawn(sandbox.end(""))

    def _restart_host(self) -> None:
        if not self._stopping.is_set() and not self._hosts:
            self._start_host()

    def _emit(self, event: Record, holder: object | None) -> None:
        for host in self._hosts:
            if holder is None or host is holder:
                host.send(event)

    # --- requests

    def _on_record(self, host: Host, record: Record, descriptors: list[int]) -> None:
        if record.get("op") == "lease" and self._lease_spare(host, record, descriptors):
            return
        task = asyncio.get_running_loop().create_task(self._answer(host, record, descriptors))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, host: Host, record: Record, descriptors: list[int]) -> None:
        number = record.get("id")
        try:
            handover = self._handovers.get(str(record.get("op")))
            if handover is not None:
                await handover(host, record)
                return
            operation = self._operations.get(str(record.get("op")))
            if operation is None:
                raise RefusedError("There is no such operation.")
            host.send({"re": number, "ok": True, **await operation(host, record, descriptors)})
        except (RefusedError, SandboxError) as error:
            host.send({"re": number, "error": str(error)})
        except Exception as error:  # one request must not end every sandbox; the host hears that it was us
            _log(f"operation {record.get('op')!r} failed: {type(error).__name__}: {error}")
            host.send({"re": number, "error": f"The warden failed: {type(error).__name__}."})
        finally:
            wire.close(descriptors)

    def _find(self, record: Record) -> Sandbox:
        identity = requests.identity(record, "sandbox")
        sandbox = self._sandboxes.get(identity)
        if sandbox is None:
            raise RefusedError(f"There is no sandbox '{identity}'.")
        return sandbox

    async def _boot(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        order = self._order(record)
        if order.sandbox in self._sandboxes:
            raise RefusedError(f"Sandbox '{order.sandbox}' exists already.")
        if not self._free_uids or self._stopping.is_set():
            raise RefusedError("There is no room for another sandbox; stop one first.")
        self._refresh_certificates()
        sandbox = self._sandbox_class(order, self._free_uids.popleft(), self._means, self._on_sandbox_gone)
        sandbox.owner = host
        self._sandboxes[order.sandbox] = sandbox
        await sandbox.boot()
        return {}

    def _refresh_certificates(self) -> None:
        try:
            self._premises.certificates.refresh()
        except OSError as error:  # those of the last time are there, and whole
            _log(f"the certificates of sandboxes could not be written: {error.strerror}")

    def _order(self, record: Record) -> Order:
        settings = self._settings
        dependencies = requests.optional_identity(record, "dependencies")
        return Order(
            sandbox=requests.identity(record, "sandbox"),
            micro=requests.identity(record, "micro"),
            interpreter=self._launcher(record),
            node=self._interpreter(record) if requests.is_node(record) else None,
            dependencies=str(self._premises.data / "envs" / dependencies) if dependencies else None,
            memory_bytes=requests.number(
                record, "memory_bytes", lowest=requests.MEMORY_BYTES_MIN, highest=settings.memory_bytes
            ),
            tmp_bytes=requests.number(
                record, "tmp_bytes", lowest=requests.TMP_BYTES_MIN, highest=settings.tmp_bytes
            ),
            tasks=requests.number(record, "tasks", lowest=requests.TASKS_MIN, highest=settings.tasks),
            egress=requests.egress(record),
            dependencies_identity=self._identify(dependencies) if dependencies is not None else None,
        )

    def _interpreter(self, record: Record) -> Interpreter:
        name = requests.runtime(record)
        try:
            if requests.is_node(record):
                return nodes.nearest(name, self._premises.nodes)
            return nearest(name, self._premises.interpreters)[0]
        except LookupError as error:
            raise RefusedError(str(error)) from error

    def _launcher(self, record: Record) -> Interpreter:
        """Give the interpreter that boots the sandbox: a Node's executors are born of our own launcher."""
        if requests.is_node(record):
            return default_interpreter(self._premises.interpreters)
        return self._interpreter(record)

    def _identify(self, dependencies: str) -> Identity:
        """Look for a dependency set, and say which directory it is."""
        try:
            found = kernel.open_beneath(self._premises.envs, dependencies, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            raise RefusedError(f"There is no dependency set '{dependencies}'; install it first.") from error
        try:
            return identify(found)
        finally:
            os.close(found)

    def _on_sandbox_gone(self, sandbox: Sandbox) -> None:
        self._sandboxes.pop(sandbox.id, None)
        self._free_uids.append(sandbox.uid)
        self._emit({"event": "gone", "sandbox": sandbox.id}, None)

    async def _attach(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        sandbox = self._find(record)
        revision, mode = requests.identity(record, "revision"), requests.mode(record)
        requests.descriptors(descriptors, 3)
        try:
            code = kernel.open_beneath(
                self._premises.directory, f"bundles/{revision}", os.O_PATH | os.O_DIRECTORY
            )
        except OSError as error:
            raise RefusedError(f"There is no code of revision '{revision}'.") from error
        try:
            await sandbox.attach(code, revision, mode, descriptors)
        finally:
            os.close(code)
        return {}

    def _lease_spare(self, host: Host, record: Record, descriptors: list[int]) -> bool:
        """Answer a lease in this very turn when a frozen spare is there."""
        sandbox = self._sandboxes.get(str(record.get("sandbox")))
        executor = sandbox.take_spare(host) if sandbox is not None and not descriptors else None
        if executor is None:
            return False
        self._hand_over(host, record, executor, spare=True)
        return True

    async def _lease_fork(self, host: Host, record: Record) -> None:
        executor = await self._find(record).fork(host)
        self._hand_over(host, record, executor, spare=False)

    def _hand_over(self, host: Host, record: Record, executor: Executor, *, spare: bool) -> None:
        freezer = executor.slot.freezer
        answer = {
            "re": record.get("id"),
            "ok": True,
            "executor": executor.id,
            "spare": spare,
            "freeze": freezer.freeze.decode(),
            "thaw": freezer.thaw.decode(),
        }
        assert executor.channel is not None
        descriptors = [
            executor.channel.fileno(),
            executor.stdout,
            executor.stderr,
            freezer.descriptor,
            executor.slot.peak,
        ]
        if not host.send(answer, descriptors):
            executor.end("killed")
        executor.hand_over()

    async def _doors(self, host: Host, record: Record) -> None:
        sandbox = self._find(record)
        if not sandbox.doors:
            raise RefusedError(f"Sandbox '{sandbox.id}' has no doors; it is {sandbox.state}.")
        sandbox.door_holders.add(host)
        host.send({"re": record.get("id"), "ok": True}, sandbox.doors)

    async def _kill(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        identity = requests.identity(record, "executor")
        for sandbox in self._sandboxes.values():
            executor = sandbox.executors.get(identity)
            if executor is not None and executor.holder is host:
                executor.announce = False
                return {"evidence": await executor.end("killed")}
        if identity in self._means.evidence:
            return {"evidence": self._means.evidence[identity]}
        raise RefusedError(f"There is no executor '{identity}'.")

    async def _stop(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        identity = requests.identity(record, "sandbox")
        if identity in self._sandboxes:
            await self._sandboxes[identity].end("")
        return {}

    async def _permit(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        ttl_s = requests.number(record, "ttl_s", lowest=0, highest=1 << 31)
        await self._find(record).permit(requests.addresses(record, "addresses"), ttl_s)
        return {}

    async def _list(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        host.has_listed = True
        for sandbox in self._sandboxes.values():
            if sandbox.owner is None:
                sandbox.owner = host
        return {"sandboxes": [each.describe() for each in self._sandboxes.values() if each.state != "ending"]}

    async def _install(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        build = requests.identity(record, "build")
        scope = requests.optional_identity(record, "scope")
        salt = requests.optional_identity(record, "salt")
        requirements, log = requests.descriptors(descriptors, 2)
        result = await self._builds.install(
            build,
            self._interpreter(record),
            packages_as_of=requests.optional_date(record, "packages_as_of"),
            builds_allowed=requests.truth(record, "builds_allowed"),
            scope=scope or "",
            salt=salt or "",
            requirements=requirements,
            log=log,
        )
        return _checked(result)

    async def _fetch(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        told, bundle = requests.descriptors(descriptors, 2)
        request = FetchRequest(
            url=requests.repository(record, self._settings.git_allowed),
            ref=requests.matching(record, "ref", requests.REFERENCE),
            commit=requests.matching(record, "commit", requests.COMMIT),
            wants_bundle=requests.truth(record, "bundle"),
            interpreter=default_interpreter(self._premises.interpreters),
            allowed=self._settings.git_allowed,
        )
        build = requests.identity(record, "build")
        return _checked(await self._builds.fetch(build, request, told=told, bundle=bundle))

    async def _sweep(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        kept = requests.identities(record, "dependencies")
        kept |= {
            Path(each.order.dependencies).name for each in self._sandboxes.values() if each.order.dependencies
        }
        return _checked(await self._builds.sweep(kept))

    async def _ready(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        if host.state == "starting":
            host.state = "serving"
        self._served = host.has_served = True
        activation.notify(os.environ, "READY=1")
        taken = [each.id for each in self._sandboxes.values() if host in each.door_holders]
        for other in self._hosts:
            if other is not host and other.started_at < host.started_at:
                other.drain(taken)
        for sandbox in [each for each in self._sandboxes.values() if each.owner is None]:
            self._spawn(sandbox.end(""))
        return {}

    async def _doctor(self, host: Host, record: Record, descriptors: list[int]) -> Record:
        return _checked(await self._builds.doctor())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _container_place(premises: Premises) -> ContainerPlace:
    """Take a directory that root alone can change, and note what the engine must show: no host runs yet that could exchange it.

    Raises: PremisesError.
    """
    meetings = Path(RUN, premises.tree.name)
    shutil.rmtree(meetings, ignore_errors=True)
    try:
        meetings.mkdir(mode=0o711)
    except OSError as error:
        raise PremisesError(
            f"Cannot make '{meetings}', where containers meet the warden: {error.strerror}; start microhost as root, or let its "
            f"service write there (systemd: ReadWritePaths={RUN})."
        ) from error
    return ContainerPlace(
        meetings=meetings,
        enter=(premises.runtime / "python" / "enter.py").read_text(encoding="utf-8"),
        identities={policy.RUNTIME: identify(str(premises.runtime)), "/etc": identify(premises.etc)},
    )


def _checked(result: Record) -> Record:
    if "error" in result:
        raise RefusedError(str(result["error"]))
    return result


def _listen_all(settings: WardenSettings) -> dict[str, socket.socket]:
    """Listen on every port that is wanted, unless a service manager does; gives each socket by the variable that tells
    the host of it.

    Raises: OSError, ActivationError.
    """
    given = activation.take_listeners(os.environ)
    wanted = (
        ("http", "MICROHOST_LISTEN_FD", settings.host, settings.port, "--port"),
        ("https", "MICROHOST_TLS_LISTEN_FD", settings.host, settings.tls_port, "--tls-port"),
        (
            "operations",
            "MICROHOST_OPERATIONS_LISTEN_FD",
            LOOPBACK,
            settings.operations_port,
            "--operations-port",
        ),
    )
    listeners = {}
    for name, variable, host, port, option in wanted:
        if name in given:
            listeners[variable] = given[name]
        elif port is not None:
            listeners[variable] = _listen(host, port, option)
    return listeners


def _listen(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise OSError(
            f"Cannot listen on {host} port {port}: {error.strerror}; choose another with {option}."
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _open_files(settings: WardenSettings) -> dict[str, int]:
    """Open the host's files. Raises: OSError, and then none is open."""
    opened: dict[str, int] = {}
    for name, file in settings.host_files.items():
        try:
            opened[name] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            wire.close(list(opened.values()))
            raise OSError(f"Cannot read '{file}': {error.strerror}.") from error
    return opened


def _raise_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else max(hard, 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _machine_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _digest(directory: Path) -> str:
    """Name our `deta` package by its content: a set that was installed beside another one is another set."""
    found = hashlib.sha256()
    for file in sorted(directory.rglob("*.py")):
        found.update(str(file.relative_to(directory)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # a full disk may end the log, not the warden
        os.write(sys.stderr.fileno(), f"warden: {line}\n".encode("utf-8", "backslashreplace"))
