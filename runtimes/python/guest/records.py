"""Read the warden's messages and do what every kind of boot does with them. Source: runtimes/CONTRACT.md, section 2.

The few functions used after an import of the user's are bound at the top: packages such as gevent replace those of `os` and `socket`.
"""

from __future__ import annotations

import array
import json
import os
import socket
import time
from typing import NamedTuple

from .output import flush_output

CONTROL = 3
RECORD_BYTES = 64 * 1024
DESCRIPTORS_MAX = 8
EXIT_BROKEN = 70

_close, _dup2, _read, _write, _exit = os.close, os.dup2, os.read, os.write, os._exit


class Record(NamedTuple):
    """Hold one message of the warden."""

    verb: bytes
    payload: bytes
    descriptors: list


def open_control() -> socket.socket:
    """Take descriptor 3 over."""
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    control.setblocking(True)
    return control


def receive(control: socket.socket) -> Record:
    """Wait for one message; ends the process when the warden is gone."""
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS_MAX * descriptors.itemsize)
    try:
        data, ancillary, flags, _ = control.recvmsg(RECORD_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        leave(EXIT_BROKEN)
    if not data:
        leave(0)
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        leave(EXIT_BROKEN)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return Record(data[:1], data[1:], list(descriptors))


def take_log(log: int) -> None:
    """Make a descriptor standard output and standard error, and close it."""
    _dup2(log, 1)
    _dup2(log, 2)
    _close(log)


def load_environment(descriptor: int) -> None:
    """Add the NUL-separated variables of a file to the environment, and close it."""
    parts = []
    while True:
        part = _read(descriptor, 1 << 20)
        if not part:
            break
        parts.append(part)
    _close(descriptor)
    for each in b"".join(parts).split(b"\0"):
        name, separator, value = each.partition(b"=")
        if name and separator:
            os.environb[name] = value
    time.tzset()


def write_report(descriptor: int, document: dict) -> None:
    """Write the report whole, and close it; the host may have gone."""
    data = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[_write(descriptor, data) :]
    except OSError:
        pass
    _close(descriptor)


def leave(status: int) -> None:
    """End the process now; nothing of the user's is run on the way out."""
    flush_output()
    _exit(status)
