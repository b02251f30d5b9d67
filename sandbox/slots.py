"""Give every executor a root and a /tmp of its own, by mounts made from outside; and what else needs a worker of its own.

Theory of operation
    The warden cannot enter a sandbox's mount namespace itself: it has other things to do, and must not stay
    there. A permanent child, the mounter, forks one short-lived worker a job; the worker enters the
    namespace by a descriptor that the warden opened before any tenant code ran, makes its mounts, answers on
    the socket and ends. Paths inside are opened without following links. A slot is a recursive clone of
    the sandbox's root at /x/<n> and, on its /tmp, a fresh tmpfs: plain where the template left its /tmp
    empty, else the upper layer of an overlay over it. /x is unbindable, so a clone holds no other slot.
    The same kind of worker makes networks (plumbing.py), and moves the template into a
    slot's control group: the move may take 16 ms, and nobody waits for it here. Jobs carry no tenant bytes;
    every job has a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn

from sandbox import cgroups, doors, kernel, plumbing, wire
from sandbox.plumbing import Router
from sandbox.wire import Record

JOB_S = 5.0
TMP_INODES = 65_536
SAFE = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


class MountError(Exception):
    """Report that a mount could not be made, in one sentence; the sandbox it was for must end."""


class Mounter:
    """Keep the mounter process and hand it jobs. Start it once, from the main thread."""

    def __init__(self) -> None:
        self._pid = 0
        self._socket: socket.socket | None = None
        self._last_job = 0
        self._waiting: dict[int, asyncio.Future[tuple[Record, list[int]]]] = {}

    def start(self) -> None:
        """Fork the mounter; again when it has died."""
        ours, theirs = wire.pair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _be_mounter(theirs, parent)
        theirs.close()
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)

    def close(self) -> None:
        """End the mounter."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(MountError("the mounter has ended"))

    async def attach(self, namespace: int, code: int) -> int:
        """Mount the directory `code` read-only at /micro; gives a descriptor of the template's /tmp."""
        return _only(await self._ask({"do": "attach"}, [namespace, code]))

    async def seal(self, namespace: int) -> bool:
        """Make the template's /tmp read-only; tell whether the import left anything in it."""
        return bool((await self._ask({"do": "seal"}, [namespace]))[0]["overlay"])

    async def make_slot(self, namespace: int, slot: int, *, uid: int, tmp_bytes: int, overlay: bool) -> int:
        """Mount slot `slot`; gives a descriptor of its tmpfs, for fstatvfs."""
        request = {"do": "make_slot", "slot": slot, "uid": uid, "bytes": tmp_bytes, "overlay": overlay}
        return _only(await self._ask(request, [namespace]))

    async def make_router(self, place: int, interface: str) -> Router:
        """Make the router (networks.py)."""
        answer = await self._ask({"do": "make_router", "place": place, "interface": interface}, [])
        told = answer[0]
        return Router(_only(answer), ipv6=bool(told["ipv6"]), leads_out=bool(told["leads_out"]))

    async def forget_router(self, interface: str) -> None:
        """Take away what the router had in the machine's own network."""
        await self._ask({"do": "forget_router", "interface": interface}, [])

    async def make_network(self, link: int, router: int | None, *, ipv6: bool) -> list[int]:
        """Make a network; gives a descriptor of its namespace and one of each of `doors.DOORS`."""
        record = {"do": "make_network", "link": link, "ipv6": ipv6}
        _, found = await self._ask(record, [] if router is None else [router])
        if len(found) != 1 + len(doors.DOORS):
            wire.close(found)
            raise MountError("the mounter sent no doors")
        return found

    async def set_rules(self, network: int, rules: str) -> None:
        """Run `nft` in a network, all of it or nothing."""
        await self._ask({"do": "set_rules", "rules": rules}, [network])

    async def free_slot(self, namespace: int, slot: int) -> None:
        """Unmount slot `slot`; what was in its /tmp is gone."""
        await self._ask({"do": "free_slot", "slot": slot}, [namespace])

    async def join(self, files: Sequence[str], pid: int, *, uid: int | None = None) -> None:
        """Move a process into a control group, for up to 16 ms in a row; `uid` is that of the process where it must be ours."""
        await self._ask({"do": "join", "files": list(files), "pid": pid, "uid": uid}, [])

    async def _ask(self, record: Record, descriptors: list[int]) -> tuple[Record, list[int]]:
        if self._socket is None:
            raise MountError("the mounter has ended")
        self._last_job += 1
        job = self._last_job
        future: asyncio.Future[tuple[Record, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[job] = future
        try:
            wire.send(self._socket, wire.encode({**record, "job": job}), descriptors)
            async with asyncio.timeout(JOB_S):
                answer, received = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                wire.close(future.result()[1])
            raise
        except TimeoutError as error:
            raise MountError(f"the job '{record['do']}' took longer than {JOB_S:.0f} s") from error
        except OSError as error:
            raise MountError(f"the mounter takes no job: {error.strerror}") from error
        finally:
            self._waiting.pop(job, None)
        if "error" in answer:
            wire.close(received)
            raise MountError(f"the job '{record['do']}' failed: {answer['error']}")
        return answer, received

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                received = wire.receive(self._socket)
            except BlockingIOError:
                return
            except (OSError, wire.WireError):
                received = None
            if received is None:
                self.close()
                self.start()
                return
            record, descriptors = received
            future = self._waiting.get(record["job"])
            if future is None or future.done():
                wire.close(descriptors)
            else:
                future.set_result((record, descriptors))


def _only(answer: tuple[Record, list[int]]) -> int:
    _, descriptors = answer
    if len(descriptors) != 1:
        wire.close(descriptors)
        raise MountError("the mounter sent no descriptor of the mount")
    return descriptors[0]


def _be_mounter(end: socket.socket, parent: int) -> NoReturn:
    """Fork a worker a job until the warden is gone."""
    try:
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        kernel.die_with_parent(parent)
        kernel.name_process("warden-mounter")
        kept = end.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, 65_536)
        end.setblocking(True)
        gc.freeze()
        while (received := wire.receive(end)) is not None:
            if os.fork() == 0:
                _work(end, *received)
            wire.close(received[1])
    finally:
        os._exit(0)


def _work(end: socket.socket, record: Record, descriptors: list[int]) -> NoReturn:
    """Do one job and answer."""
    try:
        try:
            answer, found = _JOBS[record["do"]](record, descriptors)
        except OSError as error:
            answer, found = {"error": error.strerror or str(error)}, []
        wire.send(end, wire.encode({**answer, "job": record["job"]}), found)
    finally:
        os._exit(0)


_Done = tuple[Record, list[int]]


def _attach(record: Record, descriptors: list[int]) -> _Done:
    # copied here: after the change of namespace the directory is in a foreign one
    namespace, code = descriptors
    tree = kernel.clone_tree(code, recursive=False)
    kernel.set_mount(tree, attributes=SAFE | kernel.MOUNT_ATTR_RDONLY)
    kernel.enter_mounts(namespace)
    kernel.attach_tree(tree, kernel.open_without_links("/micro"))
    kernel.set_mount(kernel.open_without_links("/x"), propagation=kernel.MS_UNBINDABLE)
    return {}, [kernel.open_without_links("/tmp")]


def _seal(record: Record, descriptors: list[int]) -> _Done:
    kernel.enter_mounts(descriptors[0])
    tmp = kernel.open_without_links("/tmp")
    kernel.set_mount(tmp, attributes=kernel.MOUNT_ATTR_RDONLY)
    return {"overlay": bool(os.listdir("/tmp"))}, []


def _make_slot(record: Record, descriptors: list[int]) -> _Done:
    kernel.enter_mounts(descriptors[0])
    slot = f"/x/{record['slot']}"
    place = kernel.open_without_links(slot)
    tree = kernel.clone_tree(kernel.open_without_links("/"), recursive=True)
    options: dict[str, str | None] = {
        "size": str(record["bytes"]),
        "nr_inodes": str(TMP_INODES),
        "mode": "1777",
        "uid": str(record["uid"]),
        "gid": str(record["uid"]),
    }
    tmpfs = kernel.make_mount("tmpfs", options, attributes=SAFE)
    top = _overlay(slot, place, tmpfs, record["uid"]) if record["overlay"] else tmpfs
    kernel.attach_tree(tree, place)
    kernel.attach_tree(top, kernel.open_without_links(f"{slot}/tmp"))
    return {}, [tmpfs]


def _overlay(slot: str, place: int, tmpfs: int, uid: int) -> int:
    """Lay the tmpfs over the template's /tmp; it is on the slot's directory only while its paths are needed."""
    kernel.attach_tree(tmpfs, place)
    for name in ("upper", "work"):
        os.mkdir(name, dir_fd=tmpfs)
    os.chown("upper", uid, uid, dir_fd=tmpfs)
    os.chmod("upper", 0o1777, dir_fd=tmpfs)
    layers: dict[str, str | None] = {
        "lowerdir": "/tmp",
        "upperdir": f"{slot}/upper",
        "workdir": f"{slot}/work",
    }
    overlay = kernel.make_mount("overlay", layers, attributes=SAFE)
    kernel.detach(slot)
    return overlay


def _free_slot(record: Record, descriptors: list[int]) -> _Done:
    kernel.enter_mounts(descriptors[0])
    kernel.detach(f"/x/{record['slot']}")
    return {}, []


def _make_router(record: Record, descriptors: list[int]) -> _Done:
    made = plumbing.make_router(record["place"], record["interface"])
    return {"ipv6": made.ipv6, "leads_out": made.leads_out}, [made.namespace]


def _forget_router(record: Record, descriptors: list[int]) -> _Done:
    plumbing.forget_router(record["interface"])
    return {}, []


def _make_network(record: Record, descriptors: list[int]) -> _Done:
    router = descriptors[0] if descriptors else None
    return {}, plumbing.make_network(record["link"], router, ipv6=record["ipv6"])


def _set_rules(record: Record, descriptors: list[int]) -> _Done:
    kernel.enter_network(descriptors[0])
    plumbing.run_nft(record["rules"])
    return {}, []


def _join(record: Record, descriptors: list[int]) -> _Done:
    if record["uid"] is not None:
        kernel.act_as(record["uid"])
    cgroups.join(record["files"], record["pid"])
    return {}, []


_JOBS: dict[str, Callable[[Record, list[int]], _Done]] = {
    "attach": _attach,
    "seal": _seal,
    "make_slot": _make_slot,
    "free_slot": _free_slot,
    "make_router": _make_router,
    "forget_router": _forget_router,
    "make_network": _make_network,
    "set_rules": _set_rules,
    "join": _join,
}
