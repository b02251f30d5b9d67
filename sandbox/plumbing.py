"""Lay the links of networks, in a worker that does nothing else: it moves from network to network.

Every function is for a process of one thread that ends soon (slots.py forks one for each job); it leaves that
process in another network than before. `ip` (iproute2) and `nft` (nftables) do the work; their complaint is the
error's text.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox import doors, kernel, router, users


@dataclass(frozen=True, slots=True)
class Router:
    """Hold the router's namespace, and say whether it leads IPv6, and anything out at all."""

    namespace: int
    ipv6: bool
    leads_out: bool


PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
COMMAND_S = 4.0
COMPLAINT_CHARACTERS = 300


def missing_programs() -> list[str]:
    """Name what is not installed."""
    return [each for each in ("ip", "nft") if shutil.which(each, path=PROGRAMS) is None]


def make_network(link: int, place: int | None, *, ipv6: bool, here: int | None = None) -> list[int]:
    """Make a sandbox's network, in the namespace `here` where it has an empty one already; gives it and its doors.

    `place` is the router's namespace; without it the network leads nowhere. Raises: OSError.
    """
    if here is None:
        kernel.leave_network()
    else:
        kernel.enter_network(here)
    network = own_network()
    set_kernel("ipv6/conf/default/accept_dad", "0")
    opened = doors.open_doors()
    if place is not None:
        os.set_inheritable(place, True)
        run_ip(router.make_link(link, f"/proc/self/fd/{place}", ipv6=ipv6), descriptors=[place])
        kernel.enter_network(place)
        run_ip(router.join_link(link, ipv6=ipv6))
    return [network, *opened]


def make_router(place: int, interface: str) -> Router:
    """Make the router, with an uplink into the network of this process, the machine's, where that may be changed.

    IPv6 is led when the machine forwards it already: to switch that on would end a machine's own
    autoconfiguration (RFC 4861, section 6.2.2). Raises: OSError, and then the router is gone.
    """
    machine = own_network()
    if not may_change_network():
        namespace = _make_lone_router()
        run_ip(router.be_gateway())
        return Router(namespace, ipv6=False, leads_out=False)
    _sweep_tables()
    taken = run_ip([f"address show to {router.UPLINKS4}"])
    while f" {router.uplink4(place)[1]}/" in taken:
        place += 1
    ipv6 = read_kernel("ipv6/conf/all/forwarding") == "1" and bool(
        run_ip(["route show default"], family="-6")
    )
    if _is_interface(interface):  # of a warden that was killed a moment ago
        run_ip([f"link delete {interface}"])
    namespace = _make_lone_router()
    run_ip(router.make_uplink(place, interface, f"/proc/self/fd/{machine}", ipv6=ipv6), descriptors=[machine])
    kernel.enter_network(machine)
    run_nft(router.machine_rules(interface))
    run_ip(router.join_uplink(place, interface, ipv6=ipv6))
    if read_kernel("ipv4/ip_forward") != "1":
        set_kernel("ipv4/ip_forward", "1")
    return Router(namespace, ipv6=ipv6, leads_out=True)


def _make_lone_router() -> int:
    """Enter a new network that is a router without an uplink; gives its namespace."""
    kernel.leave_network()
    set_kernel("ipv4/ip_forward", "1")
    set_kernel("ipv6/conf/all/forwarding", "1")
    set_kernel("ipv6/conf/default/accept_dad", "0")  # addresses are given once: none need be asked for
    # a refusal is for a sandbox alone, so each may have one for each packet
    set_kernel("ipv4/icmp_ratemask", "0")
    set_kernel("ipv6/icmp/ratelimit", "0")
    run_nft(router.rules())
    return own_network()


def may_change_network() -> bool:
    """Tell whether links and rules may be made in the network of this process: not by root of a user namespace below it."""
    if not users.in_namespace():
        return True
    try:
        run_nft("list tables inet\n")
    except OSError:
        return False
    return True


def forget_router(interface: str) -> None:
    """Take the router's table out of the network of this process, the machine's; its interface goes with the router."""
    run_nft(router.forget_machine_rules(interface))


def _sweep_tables() -> None:
    """Remove the tables of wardens that were killed: those whose interface has gone."""
    for table in re.findall(r"^table inet (mh-[0-9a-f]{12})$", run_nft("list tables inet\n"), re.MULTILINE):
        if not _is_interface(table):
            forget_router(table)


def _is_interface(name: str) -> bool:
    """Tell whether there is one in the network of this process (what /sys shows may be another's)."""
    return name in [each[1] for each in socket.if_nameindex()]


def own_network() -> int:
    """Open the network namespace of this process."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def read_kernel(name: str) -> str:
    """Read a setting below /proc/sys/net of the network that this process is in; empty for a kernel without it."""
    path = Path("/proc/sys/net", name)
    return path.read_text().strip() if path.exists() else ""


def set_kernel(name: str, value: str) -> None:
    """Write such a setting; one of a kernel without IPv6 is passed over."""
    path = Path("/proc/sys/net", name)
    if path.exists():
        path.write_text(value)


def run_ip(
    lines: Sequence[str], *, family: Literal["-4", "-6"] | None = None, descriptors: Sequence[int] = ()
) -> str:
    """Run `ip -batch`. Raises: OSError."""
    return _run(["ip", *([family] if family else []), "-batch", "-"], "\n".join(lines) + "\n", descriptors)


def run_nft(text: str) -> str:
    """Run `nft -f`: all of it or nothing. Raises: OSError."""
    return _run(["nft", "-f", "-"], text, ())


def _run(command: list[str], text: str, descriptors: Sequence[int]) -> str:
    # the mounter ignores this signal, and so would the status of what ends here be lost
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        done = subprocess.run(
            [_find(command[0]), *command[1:]],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
            pass_fds=descriptors,
            env={"PATH": PROGRAMS, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"'{command[0]}' did not end within {COMMAND_S:.0f} s") from None
    if done.returncode != 0:
        complaint = " ".join(done.stderr.split())[:COMPLAINT_CHARACTERS]
        raise OSError(f"'{command[0]}' failed: {complaint or done.returncode}")
    return done.stdout


def _find(program: str) -> str:
    found = shutil.which(program, path=PROGRAMS)
    if found is None:
        raise OSError(f"'{program}' is not installed")
    return found
