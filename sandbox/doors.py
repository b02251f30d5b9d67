"""Open the sockets inside a sandbox's own network by which it reaches the host: its doors.

Theory of operation
    A sandbox has a network of its own. Before a sandbox is in it, whoever makes it (plumbing.py) listens there on an
    address and on ports that a tenant cannot bind: the ports are privileged, and the addresses of /etc/hosts and
    the name server of /etc/resolv.conf lead here. The warden keeps the sockets for the sandbox's life and gives
    duplicates to every host that asks. Whoever is accepted on one of them is of this sandbox: the socket is
    the proof, and no route to the machine exists.

    The address is given to the interface, too: a resolver that asks which families the machine has
    (AI_ADDRCONFIG) does not count 127.0.0.1, and would find no IPv4 at all.
"""

from __future__ import annotations

import fcntl
import socket
import struct

ADDRESS = "127.0.0.2"
# In the order of the descriptors: HTTP, HTTPS, DNS over TCP and over UDP.
DOORS = (
    (socket.SOCK_STREAM, 80),
    (socket.SOCK_STREAM, 443),
    (socket.SOCK_STREAM, 53),
    (socket.SOCK_DGRAM, 53),
)
BACKLOG = 128

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR = 0x8913, 0x8914, 0x8916
_IFF_UP = 1


def open_doors() -> list[int]:
    """Listen in the network of this process; gives one descriptor a door, non-blocking.

    Raises: OSError, when the address is taken, too.
    """
    _raise_loopback()
    doors: list[socket.socket] = []
    try:
        for kind, port in DOORS:
            doors.append(socket.socket(socket.AF_INET, kind))
            doors[-1].bind((ADDRESS, port))
            if kind == socket.SOCK_STREAM:
                doors[-1].listen(BACKLOG)
            doors[-1].setblocking(False)
        return [each.detach() for each in doors]
    except OSError:
        for each in doors:
            each.close()
        raise


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, _request(b"lo")), 16)[0]
        if not flags & _IFF_UP:
            fcntl.ioctl(control, _SIOCSIFFLAGS, _request(b"lo", struct.pack("H", flags | _IFF_UP)))
        address = struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(control, _SIOCSIFADDR, _request(b"lo:1", address))


def _request(interface: bytes, value: bytes = b"") -> bytes:
    """Build a `struct ifreq`: a name of 16 bytes, a union of 24."""
    return struct.pack("16s24s", interface, value)
