"""Have containers made and removed by Docker's daemon, in workers that alone hold its socket.

Theory of operation
    Who may speak with the daemon is root of the machine. So nobody holds a connection for longer than a job: each worker
    (workers.py) opens one, asks, and ends; the warden has none, the host and the sandboxes cannot reach the
    socket's path. A job carries ids, paths and limits of the warden's, no tenant bytes. The containers of a data directory bear its
    label. The workers' parent outlives a warden that was killed: it kills the control groups, removes the containers
    and ends; what it cannot remove the next start does.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox import container_policy
from sandbox.cgroups import Tree
from sandbox.container_policy import IMAGE, LABEL
from sandbox.wire import Record
from sandbox.workers import Done, Trade, Workers

JOB_S = 30.0
REQUEST_S = 25
REMOVAL_POLL_S = 0.02
OLDEST_API = (1, 41)
MISSING_PACKAGE = "the package 'docker' is not installed (pip install 'microhost[docker]')"


@dataclass(frozen=True, slots=True)
class Engine:
    """Say what was found: the daemon's version, and the image from which containers are made."""

    version: str
    image: str


class Containers(Workers):
    """Make and remove the containers of one data directory. `start` once, `prepare` once; then `make`, `remove` each."""

    def __init__(self, socket_path: str, tree: Tree, meetings: Path) -> None:
        """Speak with the daemon that listens at `socket_path`; `meetings` goes when the warden was killed."""
        self._place = {"socket": socket_path, "tree": tree.name}
        self._engine: Engine | None = None
        super().__init__(
            Trade(
                name="warden-docker",
                jobs=_JOBS,
                job_s=JOB_S,
                prepare=_load_client,
                on_orphaned=functools.partial(_clear_after, socket_path, tree, meetings),
            )
        )

    @property
    def engine(self) -> Engine:
        """Give what `prepare` has found."""
        assert self._engine is not None
        return self._engine

    @property
    def tree(self) -> str:
        """Give the label of this data directory's containers."""
        return self._place["tree"]

    async def prepare(self) -> None:
        """Look whether the daemon can serve us, remove what an earlier run left, import the image.

        Raises: MountError with a sentence for the operator.
        """
        told, _ = await self.ask({"do": "prepare", **self._place}, [])
        self._engine = Engine(told["version"], told["image"])

    async def make(self, name: str, config: dict[str, Any]) -> int:
        """Make and start a container; gives its first process. Raises: MountError."""
        told, _ = await self.ask({"do": "make", **self._place, "name": name, "config": config}, [])
        return int(told["pid"])

    async def remove(self, name: str) -> None:
        """Remove a container with all that runs in it; harmless when there is none. Raises: MountError."""
        await self.ask({"do": "remove", **self._place, "name": name}, [])


def _load_client() -> None:
    """Import the client once, for all workers; without it each job says so."""
    try:
        import docker  # noqa: F401
    except ImportError:
        return


@contextmanager
def _client(socket_path: str) -> Iterator[Any]:
    """Connect to the daemon. Raises: OSError with a sentence for the operator, whatever the client raised."""
    try:
        import docker.errors
    except ImportError as error:
        raise OSError(MISSING_PACKAGE) from error
    _knock(socket_path)
    try:
        client = docker.APIClient(base_url=f"unix://{socket_path}", version="auto", timeout=REQUEST_S)
        try:
            yield client
        finally:
            client.close()
    except docker.errors.DockerException as error:
        raise OSError(" ".join(str(error).split())[:400]) from error


def _knock(socket_path: str) -> None:
    """Be sure that somebody listens: the client's own complaint is long, and it leaves its socket open. Raises: OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(REQUEST_S)
        try:
            knocking.connect(socket_path)
        except OSError as error:
            raise OSError(f"nobody answers: {error.strerror or error}") from error


def find_version(socket_path: str) -> str:
    """Give the version of the daemon at `socket_path`. Raises: OSError with a sentence when it cannot serve us."""
    with _client(socket_path) as client:
        return _check(client)


def _check(client: Any) -> str:
    version, info = client.version(), client.info()
    if tuple(int(each) for each in version["ApiVersion"].split(".")) < OLDEST_API:
        raise OSError(f"Docker {version['Version']} is too old; version 20.10 or newer is needed")
    if info["KernelVersion"] != os.uname().release:
        raise OSError(
            f"Docker runs on another kernel ({info['KernelVersion']}), in a machine of its own; run microhost in that "
            "machine, too"
        )
    if "name=seccomp" not in str(info["SecurityOptions"]):
        raise OSError("this Docker cannot filter system calls")
    if any(word in str(info["SecurityOptions"]) for word in ("name=rootless", "name=userns")):
        raise OSError("this Docker maps user ids (rootless or userns-remap), which the warden does itself")
    if container_policy.OCI_RUNTIME not in info["Runtimes"]:
        raise OSError(f"this Docker has no runtime '{container_policy.OCI_RUNTIME}'")
    return str(version["Version"])


def _prepare(record: Record, descriptors: list[int]) -> Done:
    with _client(record["socket"]) as client:
        version = _check(client)
        _remove_all(client, record["tree"])
        return {"version": version, "image": import_image(client)}, []


def import_image(client: Any) -> str:
    """Give the id of the image whose only layer is ours to the byte; import it when there is none. Raises: OSError."""
    archive = container_policy.image_archive()
    layer = container_policy.layer_of(archive)
    tag = layer.removeprefix("sha256:")[:16]
    for _ in range(2):
        for image in client.images(name=f"{IMAGE}:{tag}"):
            if client.inspect_image(image["Id"])["RootFS"].get("Layers") == [layer]:
                return str(image["Id"])
        client.import_image_from_data(archive, repository=IMAGE, tag=tag)
    raise OSError("the image that Docker imported is not the one that it was given")


def _make(record: Record, descriptors: list[int]) -> Done:
    with _client(record["socket"]) as client:
        return {"pid": start(client, record["name"], record["config"])}, []


def start(client: Any, name: str, config: dict[str, Any]) -> int:
    """Make a container with our filter and start it; gives its first process. `client` is Docker's, and its errors are raised."""
    config["HostConfig"]["SecurityOpt"].append(f"seccomp={json.dumps(container_policy.seccomp_profile())}")
    made = client.create_container_from_config(config, name)
    client.start(made["Id"])
    return int(client.inspect_container(made["Id"])["State"]["Pid"])


def _remove(record: Record, descriptors: list[int]) -> Done:
    with _client(record["socket"]) as client:
        deadline = time.monotonic() + REQUEST_S
        while not _is_removed(client, record["name"]):
            if time.monotonic() > deadline:
                raise OSError(f"container '{record['name']}' was not removed within {REQUEST_S} s")
            time.sleep(REMOVAL_POLL_S)
    return {}, []


def _is_removed(client: Any, name: str) -> bool:
    """Ask for a container's removal, which may be under way: it removes itself when it has ended."""
    import docker.errors

    try:
        client.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return True
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:
            raise
    return False


def _remove_all(client: Any, tree: str) -> None:
    import docker.errors

    for each in client.containers(all=True, filters={"label": f"{LABEL}={tree}"}):
        try:
            client.remove_container(each["Id"], force=True, v=True)
        except docker.errors.APIError:  # it ends by itself, or the next start tries again
            continue


def _clear_after(socket_path: str, tree: Tree, meetings: Path) -> None:
    """End what a killed warden has left."""
    tree.group("micros").kill()
    shutil.rmtree(meetings, ignore_errors=True)
    with _client(socket_path) as client:
        _remove_all(client, tree.name)


_JOBS = {"prepare": _prepare, "make": _make, "remove": _remove}
