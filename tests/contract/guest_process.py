"""Start a guest: as a plain process, or in a container made by the same policy as a Micro's.

Theory of operation
    Plain: the harness forks it, the control socket is one end of a pair, and a directory stands for `/`. In a container (where
    tests.docker_engine names a daemon): Docker makes what `container_policy` describes, and the harness plays the warden's part in
    `enter.py`: it listens at /control, sends the filter and the log, and the rest is the same. Three things differ from the driver,
    because they are the warden's and not the guest's: the bundle is shown at /micro by Docker, slots are a directory of the
    test's, and the container has no doors, no network and no group of ours.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox import container_policy, containers, interpreters, nodes, policy, seccomp
from sandbox.container_policy import ContainerPolicy
from sandbox.etc import write_etc
from tests import docker_engine

RUNTIMES = Path(__file__).resolve().parents[2] / "runtimes"
LABEL = "contract-tests"
CONTAINER_UID = 218_000  # nobody's
MIB = 1024 * 1024
MEMORY_BYTES, TASKS = 512 * MIB, 256
CONNECT_S = 20.0
# enter.py: the exit status of the container's first process is the guest's, in one byte
SIGNALS_FROM = 256 - signal.NSIG
_UCRED = struct.Struct("3i")


class GuestProcess(Protocol):
    """Be one guest, seen from outside."""

    pid: int  # here, outside
    control: socket.socket
    root: str  # what stands for `/`: empty when it is that
    proc: Path  # where the process ids that the guest tells are found

    def poll(self) -> int | None:
        """Give its exit status once it has ended (negative: the signal)."""

    def kill(self) -> None:
        """End it and all that it started, and clear away."""


def in_containers() -> bool:
    """Tell whether guests are to be started in containers."""
    return docker_engine.SOCKET in os.environ


def runtime_inside(path: str) -> str:
    """Give where a guest finds a file of `runtimes/`."""
    return f"{policy.RUNTIME}/{path}" if in_containers() else str(RUNTIMES / path)


def start(
    python: str, root: Path, log: int, environment: Mapping[str, str] | None, *, launches: bool
) -> GuestProcess:
    """Start boot; `log` stays the caller's."""
    if in_containers():
        return ContainerGuest(python, root, log, environment or {}, launches=launches)
    return PlainGuest(python, root, log, environment or {}, launches=launches)


class PlainGuest:
    """Be a child of the test."""

    def __init__(
        self, python: str, root: Path, log: int, environment: Mapping[str, str], *, launches: bool
    ) -> None:
        self.root, self.proc = str(root), Path("/proc")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        boot = str(RUNTIMES / "python" / "boot.py")
        self.pid = os.posix_spawn(
            python,
            [python, "-I", "-S", "-B", boot, str(root), *(["launch"] if launches else [])],
            {"PATH": os.defpath, "HOME": str(root), "LANG": "C.UTF-8", **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                *((os.POSIX_SPAWN_CLOSE, each) for each in _find_leaked()),
            ],
        )
        theirs.close()
        self._status: int | None = None

    def poll(self) -> int | None:
        """See GuestProcess."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def kill(self) -> None:
        """See GuestProcess."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status)


class ContainerGuest:
    """Be the guest of a container; the warden's part in its birth is played here."""

    def __init__(
        self, python: str, root: Path, log: int, environment: Mapping[str, str], *, launches: bool
    ) -> None:
        self.root, self._client, self._name = "", _client(), f"contract-{secrets.token_hex(6)}"
        self._status: int | None = None
        meeting = Path(tempfile.mkdtemp(prefix="meet-"))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                listener.bind(str(meeting / "socket"))
                listener.settimeout(CONNECT_S)
                listener.listen(1)
                for each in (meeting, meeting / "socket"):
                    os.chown(each, CONTAINER_UID, CONTAINER_UID)
                described = _describe(python, root, meeting, environment, launches=launches)
                containers.start(self._client, self._name, _config(described, root))
                self.control, _ = listener.accept()
            self.pid = _UCRED.unpack(
                self.control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            )[0]
            # the container's own /proc: there the process ids are those that the guest tells
            self.proc = Path(f"/proc/{self.pid}/root/proc")
            rights = array.array("i", [log]).tobytes()
            self.control.sendmsg([b"E" + seccomp.program()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except BaseException:
            self.kill()
            raise
        finally:
            shutil.rmtree(meeting, ignore_errors=True)

    def poll(self) -> int | None:
        """See GuestProcess."""
        if self._status is None:
            state = self._client.inspect_container(self._name)["State"]
            if state["Status"] == "exited":
                code = int(state["ExitCode"])
                self._status = code - 256 if code > SIGNALS_FROM else code
        return self._status

    def kill(self) -> None:
        """See GuestProcess."""
        import docker.errors

        with contextlib.suppress(docker.errors.NotFound):
            self._client.remove_container(self._name, force=True, v=True)


@functools.cache
def _client() -> Any:
    import docker

    return docker.APIClient(base_url=f"unix://{os.environ[docker_engine.SOCKET]}", version="auto")


@functools.cache
def _image() -> str:
    return containers.import_image(_client())


@functools.cache
def _etc() -> str:
    """Make what /etc is, once for all; it is nobody's secret, and small."""
    place = Path(tempfile.mkdtemp(prefix="contract-etc-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    write_etc(place)
    return str(place)


@functools.cache
def _prefixes() -> dict[str, tuple[str, ...]]:
    found = [*interpreters.find(), *nodes.find()]
    return {os.path.realpath(each.executable): each.prefixes for each in found}


def _describe(
    python: str, root: Path, meeting: Path, environment: Mapping[str, str], *, launches: bool
) -> ContainerPolicy:
    python = os.path.realpath(python)
    own = _prefixes()[python]
    of_nodes = [prefix for each in nodes.find() for prefix in each.prefixes] if launches else []
    dependencies = root / "dependencies"
    run = policy.RunPolicy(
        interpreter=python,
        prefixes=interpreters.outside_system([*own, *of_nodes], []),
        launches=launches,
        runtime=str(RUNTIMES),
        etc=_etc(),
        dependencies=str(dependencies) if dependencies.is_dir() else None,
        environment=(*policy.ENVIRONMENT, *environment.items()),
    )
    return ContainerPolicy(
        run=run,
        image=_image(),
        enter=(RUNTIMES / "python" / "enter.py").read_text("utf-8"),
        tree=LABEL,
        control=str(meeting),
        optional=tuple(filter(os.path.isdir, policy.OPTIONAL)),
        uid=CONTAINER_UID,
        memory_bytes=MEMORY_BYTES,
        tmp_bytes=policy.TEMPLATE_TMP_BYTES,
        tasks=TASKS,
    )


def _config(described: ContainerPolicy, root: Path) -> dict[str, Any]:
    """Give the driver's own request, with what the warden would do later in the words of Docker."""
    config = container_policy.container_config(described)
    host = config["HostConfig"]
    host["AutoRemove"] = False  # its exit status is asked for
    del host["Tmpfs"]["/x"]
    for name, target in (("micro", "/micro"), ("x", "/x")):
        (root / name).mkdir(exist_ok=True)
        shown = {"Type": "bind", "Source": str(root / name), "Target": target, "ReadOnly": True}
        host["Mounts"].append(shown)
    return config


def _find_leaked() -> list[int]:
    """Give what this process itself was born with above 3, and would pass on."""
    leaked = []
    for each in map(int, os.listdir("/proc/self/fd")):
        try:
            if each > 3 and os.get_inheritable(each):
                leaked.append(each)
        except OSError:  # the listing's own descriptor
            continue
    return leaked
