"""Lead the router out without root: a process of slirp4netns carries what it sends by ordinary sockets of the user's.

Theory of operation
    Only root may lay a link into the machine's own network. Without, the router's uplink is a tap device of
    slirp4netns, which lives in the machine's network with the rights of the user who runs the host. The router has
    decided before a packet comes to it (router.py); that it leads to no loopback of the machine is its own option, too. It
    ends with the warden: when the pipe that the warden holds is closed. IPv6 is not led.

Sources: slirp4netns(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable

from sandbox import plumbing, router, wire

PROGRAM, DEVICE = "slirp4netns", "/dev/net/tun"
READY_S = 10.0
RETRY_S = 1.0
MTU = 1500


class UplinkError(Exception):
    """Say why nothing leads out."""


class Uplink:
    """Hold one uplink. `start` once, `stop` once; a process that ends is followed by another one."""

    def __init__(self, network: int, log: Callable[[str], None]) -> None:
        """Lead `network` out, the router's namespace."""
        self._network = network
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._watched = -1  # its pidfd
        self._life = -1  # it ends when this is closed
        self._again: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it leads out. Raises: UplinkError."""
        program = shutil.which(PROGRAM, path=plumbing.PROGRAMS)
        if program is None:
            raise UplinkError(f"'{PROGRAM}' is not installed (Debian: apt-get install {PROGRAM})")
        ready, tell = os.pipe2(os.O_CLOEXEC)
        until, self._life = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220  a few milliseconds, once
                [program, *_options(until, tell), f"/proc/self/fd/{self._network}", router.UPLINK],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": plumbing.PROGRAMS},
                cwd="/",
                pass_fds=(until, tell, self._network),
            )
            wire.close([tell])
            tell = -1
            self._watched = os.pidfd_open(self._process.pid)
            await _wait_for(ready)
            asyncio.get_running_loop().add_reader(self._watched, self._on_end)
        except (OSError, TimeoutError) as error:
            self._end()
            raise UplinkError(f"'{PROGRAM}' did not lead out: {error or 'it took too long'}") from error
        finally:
            wire.close([each for each in (ready, tell, until) if each >= 0])

    def stop(self) -> None:
        """End it."""
        if self._again is not None:
            self._again.cancel()
        self._end()

    def _end(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
        wire.close([each for each in (self._watched, self._life) if each >= 0])
        self._watched = self._life = -1
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _on_end(self) -> None:
        self._end()
        self._log(f"'{PROGRAM}' has ended; Micros reach no network until it runs again")
        self._again = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                await self.start()
            except UplinkError as error:
                self._log(str(error))
            else:
                return


def _options(until: int, tell: int) -> list[str]:
    return [
        "--configure",
        f"--mtu={MTU}",
        "--disable-host-loopback",
        "--disable-dns",
        f"--cidr={router.USER_UPLINK4}",
        f"--exit-fd={until}",
        f"--ready-fd={tell}",
        "--netns-type=path",
    ]


async def _wait_for(ready: int) -> None:
    """Wait until something is written. Raises: OSError when the other end was closed instead, TimeoutError."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(ready, readable.set)
    try:
        async with asyncio.timeout(READY_S):
            await readable.wait()
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(ready)
    if not os.read(ready, 1):
        raise OSError("it ended at once")
