"""Keep networks ready for sandboxes, and one router that all of them lead to.

Theory of operation
    Making a network with its doors and its link takes some milliseconds of two programs, so a few are made ahead: a
    sandbox's first process is started inside one (launch.py), instead of making one itself, and a cold start does
    not wait. A network also belongs to the warden, not to the sandbox, whose process 1 therefore has no right
    in it, not even that to bind a low port.

    A fresh network is refused everything (router.py). `open` lets it out as its Micro's policy says, while the
    sandbox boots and before any of the user's code; `close` takes that back before the link's number is used again.
    The router lives in no process, only in a descriptor: it ends with the warden, and every link with it. In the
    machine's own network there is one interface and one table, both named after the data directory; the
    interface ends with the router, the table is taken away by whoever starts there next, at the latest. Without root
    there is neither; a program carries what the router sends (uplink.py).
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sandbox import addresses, plumbing, router, wire
from sandbox.router import Address, Policy
from sandbox.slots import Mounter
from sandbox.uplink import Uplink, UplinkError
from sandbox.workers import MountError

READY = 6
RETRY_S = 1.0
NOTE_S = 0.1  # after a notice: addresses change in numbers
PERMIT_MIN_S, PERMIT_MAX_S = 300, 3600


@dataclass(slots=True)
class Network:
    """Be one network; its descriptors live as long as the sandbox."""

    link: int
    namespace: int
    doors: list[int]
    is_public: bool = False
    permitted_until: dict[Address, float] = field(default_factory=dict)  # by the monotonic clock


class Networks:
    """Hand out networks. `start` once; `take`, then `open`, then `close` each."""

    def __init__(self, mounter: Mounter, name: str, log: Callable[[str], None]) -> None:
        """Use `name`, of at most 15 characters, for what must have one in the machine's own network."""
        self.name = name
        self.failure = "it was not started"  # why nothing leads out, empty when something does
        self._mounter = mounter
        self._log = log
        self._router: int | None = None
        self._ipv6 = False
        self._is_linked = False  # with the machine's own network, where there are traces then
        self._uplink: Uplink | None = None
        self._links = itertools.cycle(router.LINKS)
        self._used: set[int] = set()
        self._ready: deque[Network] = deque()
        self._refilling: asyncio.Task[None] | None = None
        self._notices: socket.socket | None = None
        self._noting: asyncio.Task[None] | None = None
        self._own: frozenset[Address] = frozenset()

    async def start(self) -> None:
        """Make the router; without one every network leads nowhere, and the log says why."""
        missing = plumbing.missing_programs()
        try:
            if missing:
                raise MountError(
                    f"'{missing[0]}' is not installed (Debian: apt-get install iproute2 nftables)"
                )
            made = await self._mounter.make_router(_place(self.name), self.name)
            self._router, self._ipv6, self._is_linked = made.namespace, made.ipv6, made.leads_out
            if not made.leads_out:
                self._uplink = Uplink(made.namespace, self._log)
                await self._uplink.start()
            self.failure = ""
            self._watch_addresses()
            await self._note_addresses()
        except (MountError, UplinkError) as error:
            self.failure = str(error)
            self._log(f"Micros reach no network: {error}")
        self._refill()

    def _watch_addresses(self) -> None:
        self._notices = addresses.watch()
        asyncio.get_running_loop().add_reader(self._notices.fileno(), self._on_notice)

    def _on_notice(self) -> None:
        assert self._notices is not None
        addresses.drain(self._notices)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._note_addresses(NOTE_S))

    async def _note_addresses(self, after_s: float = 0.0) -> None:
        """Tell the router which addresses are the machine's own, until what it was told is true."""
        await asyncio.sleep(after_s)
        while self._router is not None and (own := addresses.own_addresses()) != self._own:
            try:
                await self._mounter.set_rules(self._router, router.own_addresses(own))
                self._own = own
            except MountError as error:
                self._log(f"the router was not told of the machine's addresses: {error}")
                await asyncio.sleep(RETRY_S)

    async def take(self) -> Network:
        """Give a network that is refused everything. Raises: MountError."""
        network = self._ready.popleft() if self._ready else await self._make()
        self._refill()
        return network

    async def furnish(self, namespace: int) -> Network:
        """Make a network, refused everything, of a container's empty one. Raises: MountError."""
        return await self._make(namespace)

    async def open(self, network: Network, policy: Policy) -> None:
        """Let a network out as a policy says. Raises: MountError."""
        if policy == "public" and self._router is not None:
            network.is_public = True
            await self._mounter.set_rules(self._router, router.admit_all(network.link))

    async def permit(self, network: Network, found: Iterable[Address], ttl_s: int) -> None:
        """Let the network of an allow-list reach what a listed name resolved to, for a while. Raises: MountError."""
        if self._router is None:
            return
        now, for_s = time.monotonic(), min(max(ttl_s, PERMIT_MIN_S), PERMIT_MAX_S)
        # half of it must be left: whoever asks again after that long is let in for as long again
        fresh = [each for each in found if network.permitted_until.get(each, 0.0) < now + for_s / 2]
        if fresh:
            await self._mounter.set_rules(self._router, router.permit(network.link, fresh, for_s=for_s))
            network.permitted_until = {
                **{each: until for each, until in network.permitted_until.items() if until > now},
                **dict.fromkeys(fresh, now + for_s),
            }

    async def close(self, network: Network) -> None:
        """Take everything back, and let the network end with the last process in it."""
        wire.close([network.namespace, *network.doors])
        network.doors = []
        rules = router.forbid(network.link, network.permitted_until) if self._router is not None else ""
        if network.is_public:
            rules = router.admit_none(network.link)
        try:
            if rules and self._router is not None:
                await self._mounter.set_rules(self._router, rules)
        except MountError as error:  # the number is not used again, so nobody inherits what it may
            self._log(f"the rules of link {network.link} could not be removed: {error}")
            return
        self._used.discard(network.link)

    async def stop(self) -> None:
        """Let go of the networks that nobody took, and of what is in the machine's own network."""
        if self._notices is not None:
            asyncio.get_running_loop().remove_reader(self._notices.fileno())
            self._notices.close()
        tasks = [each for each in (self._refilling, self._noting) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for network in self._ready:
            wire.close([network.namespace, *network.doors])
        self._ready.clear()
        if self._uplink is not None:
            self._uplink.stop()
        if self._router is not None:
            wire.close([self._router])
            self._router = None
        if self._is_linked:
            try:
                await self._mounter.forget_router(self.name)
            except MountError as error:
                self._log(f"the machine's table '{self.name}' could not be removed: {error}")

    def _refill(self) -> None:
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        while len(self._ready) < READY:
            try:
                self._ready.append(await self._make())
            except MountError as error:
                self._log(f"no network could be made ahead: {error}")
                await asyncio.sleep(RETRY_S)

    async def _make(self, place: int | None = None) -> Network:
        link = next(each for each in self._links if each not in self._used)
        self._used.add(link)
        try:
            namespace, *opened = await self._mounter.make_network(
                link, self._router, ipv6=self._ipv6, place=place
            )
        except BaseException:
            self._used.discard(link)
            raise
        return Network(link, namespace, opened)


def _place(name: str) -> int:
    """Choose where among the uplinks' addresses to look first."""
    return int.from_bytes(name.encode(), "big") % 16_381
