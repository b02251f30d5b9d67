"""Take listening sockets over from a service manager, and tell it how we are.

A socket that the manager keeps outlives every restart: who connects meanwhile waits in its backlog and is answered by the next start.
Source: sd_listen_fds(3), sd_notify(3), systemd.socket(5).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import MutableMapping

FIRST = 3
NAMES = ("http", "https", "operations")


class ActivationError(Exception):
    """Report in one sentence what is wrong with the sockets that were given."""


def take_listeners(environment: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """Give the sockets by their names (FileDescriptorName=); a single one without a name of ours is `http`.

    What told of them is taken out of the environment. Raises: ActivationError.
    """
    told = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if told["LISTEN_PID"] != str(os.getpid()) or not told["LISTEN_FDS"].isdigit():
        return {}
    count = int(told["LISTEN_FDS"])
    names = told["LISTEN_FDNAMES"].split(":")
    names = ["http"] if count == 1 and names[0] not in NAMES else names[:count]
    if len(names) != count or len(set(names)) != count or not set(names) <= set(NAMES):
        raise ActivationError(
            f"The service manager gave {count} sockets called {told['LISTEN_FDNAMES'] or 'nothing'};"
            f" name each in its unit: FileDescriptorName={' or '.join(NAMES)}."
        )
    return {name: _take(FIRST + number, name) for number, name in enumerate(names)}


def notify(environment: MutableMapping[str, str], state: str) -> None:
    """Tell the manager a state, such as `READY=1`, if there is one that wants to hear. Never fails."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), f"\0{address[1:]}" if address[0] == "@" else address)


def _take(descriptor: int, name: str) -> socket.socket:
    try:
        taken = socket.socket(fileno=descriptor)
        listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ActivationError(
            f"The socket '{name}' of the service manager is none: {error.strerror}."
        ) from error
    if not listens or taken.family not in (socket.AF_INET, socket.AF_INET6):
        raise ActivationError(
            f"The socket '{name}' of the service manager does not listen on TCP: ListenStream=PORT."
        )
    if name == "operations" and not ipaddress.ip_address(taken.getsockname()[0]).is_loopback:
        raise ActivationError(
            "The socket 'operations' is for this machine alone: ListenStream=127.0.0.1:PORT."
        )
    taken.set_inheritable(False)
    taken.setblocking(False)
    return taken
