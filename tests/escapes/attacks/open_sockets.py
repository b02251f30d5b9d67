"""Open sockets of every family and type, and every protocol of netlink; four families are for everybody."""

import socket
import sys

sys.path.insert(0, "/runtime")
from verdict import end

FOR_ALL = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
found = []


def opens(family, kind, protocol=0):
    try:
        socket.socket(family, kind, protocol).close()
    except OSError:
        return False
    return True


for family in range(0, 64):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET, 6):
        if opens(family, kind) and family not in FOR_ALL:
            found.append(f"family {int(family)} type {int(kind)}")
for protocol in range(1, 32):
    if opens(socket.AF_NETLINK, socket.SOCK_RAW, protocol):
        found.append(f"netlink {protocol}")
for kind, protocol in (
    (socket.SOCK_STREAM, 132),
    (socket.SOCK_STREAM, 262),
    (6, 33),
    (socket.SOCK_DGRAM, 136),
):
    if opens(socket.AF_INET, kind, protocol):
        found.append(f"internet protocol {protocol}")
for family, kind in (
    (socket.AF_UNIX, socket.SOCK_STREAM),
    (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
):
    assert opens(family, kind), "ordinary sockets must open"
assert opens(socket.AF_NETLINK, socket.SOCK_RAW), "the list of addresses must be readable"
end(found)
