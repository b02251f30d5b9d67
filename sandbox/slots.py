"""Give every executor a root and a /tmp of its own, by mounts made from outside; and what else needs a worker of its own.

Theory of operation
    A worker (workers.py) enters the sandbox's mount namespace by a descriptor that the warden opened before any
    tenant code ran, makes its mounts, answers and ends. Paths inside are opened without following links. A slot is a recursive clone of
    the sandbox's root at /x/<n> and, on its /tmp, a fresh tmpfs: plain where the template left its /tmp
    empty, else the upper layer of an overlay over it. /x is unbindable, so a clone holds no other slot.
    The same kind of worker makes networks (plumbing.py), and moves the template into a
    slot's control group: the move may take 16 ms, and nobody waits for it here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from sandbox import cgroups, doors, kernel, plumbing, wire
from sandbox.plumbing import Router
from sandbox.wire import Record
from sandbox.workers import Done, Jobs, MountError, Trade, Workers

JOB_S = 5.0
TMP_INODES = 65_536
# Names of the machine's resolver, its control groups and devices, memory and queues that no execution is charged for.
ADDED_BY_ENGINES = (
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"),
    *("/sys", "/dev/shm", "/dev/mqueue", "/dev/console"),
)
SAFE = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


Identity = tuple[int, int]  # device and inode


def identify(path: str | int) -> Identity:
    """Say which directory this is, whatever it is called. Raises: OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class Mounter(Workers):
    """Give the jobs names. Start it once, from the main thread."""

    def __init__(self) -> None:
        super().__init__(Trade(name="warden-mounter", jobs=_JOBS, job_s=JOB_S))

    async def attach(self, namespace: int, code: int) -> int:
        """Mount the directory `code` read-only at /micro; gives a descriptor of the template's /tmp."""
        return _only(await self.ask({"do": "attach"}, [namespace, code]))

    async def seal(self, namespace: int) -> bool:
        """Make the template's /tmp read-only; tell whether the import left anything in it."""
        return bool((await self.ask({"do": "seal"}, [namespace]))[0]["overlay"])

    async def make_slot(self, namespace: int, slot: int, *, uid: int, tmp_bytes: int, overlay: bool) -> int:
        """Mount slot `slot`; gives a descriptor of its tmpfs, for fstatvfs."""
        request = {"do": "make_slot", "slot": slot, "uid": uid, "bytes": tmp_bytes, "overlay": overlay}
        return _only(await self.ask(request, [namespace]))

    async def make_router(self, place: int, interface: str) -> Router:
        """Make the router (networks.py)."""
        answer = await self.ask({"do": "make_router", "place": place, "interface": interface}, [])
        told = answer[0]
        return Router(_only(answer), ipv6=bool(told["ipv6"]), leads_out=bool(told["leads_out"]))

    async def forget_router(self, interface: str) -> None:
        """Take away what the router had in the machine's own network."""
        await self.ask({"do": "forget_router", "interface": interface}, [])

    async def make_network(
        self, link: int, router: int | None, *, ipv6: bool, place: int | None = None
    ) -> list[int]:
        """Make a network, or make one of the empty `place`; gives a descriptor of its namespace and one of each of
        `doors.DOORS`.
        """
        record = {"do": "make_network", "link": link, "ipv6": ipv6, "routed": router is not None}
        _, found = await self.ask(record, [each for each in (router, place) if each is not None])
        if len(found) != 1 + len(doors.DOORS):
            wire.close(found)
            raise MountError("the mounter sent no doors")
        return found

    async def set_rules(self, network: int, rules: str) -> None:
        """Run `nft` in a network, all of it or nothing."""
        await self.ask({"do": "set_rules", "rules": rules}, [network])

    async def dress(
        self, namespace: int, *, slots: int, shown: Sequence[str], identities: Mapping[str, Identity]
    ) -> None:
        """Make of a container's mounts those of a sandbox, with so many places for slots.

        `shown` are all that hold files of the machine, `identities` what some of them must be. Raises: MountError, also when one
        is something else.
        """
        record = {"do": "dress", "slots": slots, "shown": list(shown), "identities": dict(identities)}
        await self.ask(record, [namespace])

    async def free_slot(self, namespace: int, slot: int) -> None:
        """Unmount slot `slot`; what was in its /tmp is gone."""
        await self.ask({"do": "free_slot", "slot": slot}, [namespace])

    async def join(self, files: Sequence[str], pid: int, *, uid: int | None = None) -> None:
        """Move a process into a control group, for up to 16 ms in a row; `uid` is that of the process where it must be ours."""
        await self.ask({"do": "join", "files": list(files), "pid": pid, "uid": uid}, [])


def _only(answer: tuple[Record, list[int]]) -> int:
    _, descriptors = answer
    if len(descriptors) != 1:
        wire.close(descriptors)
        raise MountError("the mounter sent no descriptor of the mount")
    return descriptors[0]


def _attach(record: Record, descriptors: list[int]) -> Done:
    # copied here: after the change of namespace the directory is in a foreign one
    namespace, code = descriptors
    tree = kernel.clone_tree(code, recursive=False)
    kernel.set_mount(tree, attributes=SAFE | kernel.MOUNT_ATTR_RDONLY)
    kernel.enter_mounts(namespace)
    kernel.attach_tree(tree, kernel.open_without_links("/micro"))
    kernel.set_mount(kernel.open_without_links("/x"), propagation=kernel.MS_UNBINDABLE)
    return {}, [kernel.open_without_links("/tmp")]


def _seal(record: Record, descriptors: list[int]) -> Done:
    kernel.enter_mounts(descriptors[0])
    tmp = kernel.open_without_links("/tmp")
    kernel.set_mount(tmp, attributes=kernel.MOUNT_ATTR_RDONLY)
    return {"overlay": bool(os.listdir("/tmp"))}, []


def _make_slot(record: Record, descriptors: list[int]) -> Done:
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


def _free_slot(record: Record, descriptors: list[int]) -> Done:
    kernel.enter_mounts(descriptors[0])
    kernel.detach(f"/x/{record['slot']}")
    return {}, []


def _dress(record: Record, descriptors: list[int]) -> Done:
    """Take away what an engine adds to each container, and close what it leaves writable."""
    kernel.enter_mounts(descriptors[0])
    for path in ADDED_BY_ENGINES:
        if os.path.lexists(path):
            with contextlib.suppress(OSError):  # not a mount here
                kernel.detach(path)
    for slot in range(record["slots"]):
        os.mkdir(f"/x/{slot}")
    for path, identity in record["identities"].items():
        # the engine opened it by a path, of which an unprivileged user of the machine owns a part
        if list(identify(path)) != identity:
            raise OSError(f"'{path}' is not what was to be shown there")
    for path in record["shown"]:
        kernel.set_mount(kernel.open_without_links(path), attributes=SAFE | kernel.MOUNT_ATTR_RDONLY)
    for path in ("/x", "/dev/pts", "/dev"):
        kernel.set_mount(kernel.open_without_links(path), attributes=kernel.MOUNT_ATTR_RDONLY)
    return {}, []


def _make_router(record: Record, descriptors: list[int]) -> Done:
    made = plumbing.make_router(record["place"], record["interface"])
    return {"ipv6": made.ipv6, "leads_out": made.leads_out}, [made.namespace]


def _forget_router(record: Record, descriptors: list[int]) -> Done:
    plumbing.forget_router(record["interface"])
    return {}, []


def _make_network(record: Record, descriptors: list[int]) -> Done:
    rest = list(descriptors)
    router = rest.pop(0) if record["routed"] else None
    place = rest.pop(0) if rest else None
    return {}, plumbing.make_network(record["link"], router, ipv6=record["ipv6"], here=place)


def _set_rules(record: Record, descriptors: list[int]) -> Done:
    kernel.enter_network(descriptors[0])
    plumbing.run_nft(record["rules"])
    return {}, []


def _join(record: Record, descriptors: list[int]) -> Done:
    if record["uid"] is not None:
        kernel.act_as(record["uid"])
    cgroups.join(record["files"], record["pid"])
    return {}, []


_JOBS: Jobs = {
    "attach": _attach,
    "seal": _seal,
    "dress": _dress,
    "make_slot": _make_slot,
    "free_slot": _free_slot,
    "make_router": _make_router,
    "forget_router": _forget_router,
    "make_network": _make_network,
    "set_rules": _set_rules,
    "join": _join,
}
