"""Be a sandbox that is a container of Docker's: what differs from one of bubblewrap's is how it comes up and is removed.

Theory of operation
    The engine makes namespaces, mounts, limits and the first filter, and starts the container's first process, whose only
    child is the guest (runtimes/python/enter.py). The guest connects to a socket in a directory that only this container is shown; the
    kernel says who it is (SO_PEERCRED), and it is believed only as the child of the process that the
    engine named. Then the socket goes, and the container is made what every sandbox is: same network with doors,
    same slots, same control groups. From `attach` on all is the same code (sandboxes.py).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
from pathlib import Path

from sandbox import container_policy, launch, policy, seccomp, wire
from sandbox.container_policy import ContainerPolicy
from sandbox.containers import Containers
from sandbox.control import Control, GuestError
from sandbox.orders import ContainerPlace
from sandbox.sandboxes import Sandbox
from sandbox.workers import MountError

CONNECT_S = 15.0
SOCKET = "socket"
_UCRED = struct.Struct("3i")


class ContainerSandbox(Sandbox):
    """Be one sandbox inside a container; used like every other."""

    _first = -1  # the pidfd of the container's first process

    @property
    def _containers(self) -> Containers:
        assert self._means.containers is not None
        return self._means.containers

    @property
    def _name(self) -> str:
        return f"{self._containers.tree}-{self.id}"

    @property
    def _meeting_place(self) -> Path:
        return self._place.meetings / self.id

    @property
    def _place(self) -> ContainerPlace:
        assert self._means.place is not None
        return self._means.place

    async def _bring_up(self) -> bytes:
        """Start a container, meet its guest, make a sandbox of it; gives the guest's first word."""
        self._boot_log = os.memfd_create("boot-log", os.MFD_CLOEXEC)
        described = self._describe_container()
        try:
            with self._listen() as listener:
                config = container_policy.container_config(described)
                first = await self._containers.make(self._name, config)
                self._watch(first)
                peer = await self._accept(listener, first)
        finally:
            shutil.rmtree(self._meeting_place, ignore_errors=True)
        self._control = Control(peer, on_breach=self._end_soon)
        self._control.listen()
        await self._furnish(first, described)
        word = self._guest.expect()
        self._guest.tell(b"E" + seccomp.program(), [self._boot_log])
        return await word

    def _describe_container(self) -> ContainerPolicy:
        order = self.order
        return ContainerPolicy(
            run=self._run_policy(),
            image=self._containers.engine.image,
            enter=self._place.enter,
            tree=self._containers.tree,
            control=str(self._meeting_place),
            optional=tuple(each for each in policy.OPTIONAL if os.path.isdir(each)),
            uid=self.uid,
            memory_bytes=order.memory_bytes,
            tmp_bytes=order.tmp_bytes,
            tasks=order.tasks,
        )

    def _listen(self) -> socket.socket:
        """Listen where the container's user alone can connect."""
        place = self._meeting_place
        place.mkdir(mode=0o700, parents=True)
        os.chown(place, 0, self.uid)
        place.chmod(0o750)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # a path may be longer than an address of a socket
            address = f"/proc/self/fd/{directory}/{SOCKET}"
            listener.bind(address)
            os.chown(SOCKET, self.uid, self.uid, dir_fd=directory)
            os.chmod(SOCKET, 0o600, dir_fd=directory)
            listener.listen(1)
        except OSError:
            listener.close()
            raise
        finally:
            os.close(directory)
        return listener

    def _watch(self, first: int) -> None:
        if self.state in ("ending", "gone"):
            raise GuestError("the sandbox was ended")
        self._first = os.pidfd_open(first)
        asyncio.get_running_loop().add_reader(self._first, self._on_death)

    async def _accept(self, listener: socket.socket, first: int) -> socket.socket:
        """Take the one connection and be sure that it is the guest's: a child of the container's first process."""
        async with asyncio.timeout(CONNECT_S):
            peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        pid, uid, _ = _UCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid != self.uid or pid <= 0 or launch.parent_of(pid) != first:
            peer.close()
            raise GuestError("somebody else than the guest connected")
        self._take_template(pid)
        if launch.parent_of(pid) != first:  # it died, and its number may be another's
            peer.close()
            raise GuestError("the guest died")
        return peer

    async def _furnish(self, first: int, described: ContainerPolicy) -> None:
        """Give the container what the engine cannot: our groups, our network, our slots."""
        means = self._means
        await means.mounter.join(self._group.child("init").join_files(), first)
        shown = [target for _, target in container_policy.shown(described)]
        identities = dict(self._place.identities)
        if self.order.dependencies_identity is not None:
            identities["/dependencies"] = self.order.dependencies_identity
        await means.mounter.dress(
            self._template.namespace, slots=policy.SLOTS, shown=shown, identities=identities
        )
        place = os.open(f"/proc/{self._template.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            network = await means.networks.furnish(place)
        finally:
            os.close(place)
        if self.state in ("ending", "gone"):
            await means.networks.close(network)
            raise GuestError("the sandbox was ended")
        self._network = network
        await self._open_network()
        self._check_network()

    async def _bury(self) -> None:
        """Remove the container, and whoever is left in it."""
        shutil.rmtree(self._meeting_place, ignore_errors=True)
        try:
            await self._containers.remove(self._name)
        except MountError as error:
            self._means.log(f"sandbox={self.id} {error}")

    def _stop_listening(self) -> None:
        if self._first >= 0:
            asyncio.get_running_loop().remove_reader(self._first)
        super()._stop_listening()

    def _close(self) -> None:
        super()._close()
        wire.close([self._first] if self._first >= 0 else [])
        self._first = -1
