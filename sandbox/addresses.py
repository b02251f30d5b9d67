"""Know the addresses of the network that this process is in, and hear when they change.

Sources: rtnetlink(7), proc(5).
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from sandbox.router import Address

_NETLINK_ROUTE = 0
_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_LOCAL4 = re.compile(r"\|-- (\S+)\n\s*/32 host LOCAL")
_NOTICE_BYTES = 65_536


def own_addresses() -> frozenset[Address]:
    """Give every address that is this machine's own."""
    found: set[Address] = set()
    trie, table = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
    if trie.exists():
        found.update(IPv4Address(each) for each in _LOCAL4.findall(trie.read_text()))
    if table.exists():
        found.update(IPv6Address(int(each.split()[0], 16)) for each in table.read_text().splitlines())
    return frozenset(found)


def watch() -> socket.socket:
    """Open a socket that becomes readable when an address comes or goes. Raises: OSError."""
    notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    notices.setblocking(False)
    notices.bind((0, _GROUPS))
    return notices


def drain(notices: socket.socket) -> None:
    """Take what has come, unread: the addresses are looked up anew."""
    while True:
        try:
            notices.recv(_NOTICE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # more came than was kept, which says as much
            continue
