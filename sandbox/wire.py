"""Carry JSON records and descriptors over a `SOCK_SEQPACKET` socket, the same way on both sides.

One record is one JSON object. A record longer than RECORD_BYTES travels in a memfd that rides along as the last
descriptor, so that no side ever waits for the rest of a record.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.protocol import RECORD_BYTES

DESCRIPTORS_PER_RECORD = 8
LARGE_RECORD_BYTES = 8 * 1024 * 1024
_IN_MEMFD = b'{"memfd":true}'
_INT_BYTES = array.array("i").itemsize
_CONTROL_BYTES = socket.CMSG_SPACE(DESCRIPTORS_PER_RECORD * _INT_BYTES)

Record = dict[str, Any]


class WireError(Exception):
    """Report a record that breaks the protocol; whoever reads it closes the socket."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Open two joined non-blocking ends, closed on exec."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (one, other):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * RECORD_BYTES)
    return one, other


def encode(record: Record) -> bytes:
    """Give a record's bytes.

    Raises: WireError when they are more than LARGE_RECORD_BYTES.
    """
    data = json.dumps(record, separators=(",", ":")).encode()
    if len(data) > LARGE_RECORD_BYTES:
        raise WireError(f"a record of {len(data)} bytes; at most {LARGE_RECORD_BYTES} can be sent")
    return data


def send(end: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one encoded record at once; the descriptors stay the caller's.

    Raises: BlockingIOError when the other side does not read fast enough, OSError when it is gone.
    """
    if len(data) <= RECORD_BYTES:
        _send(end, data, descriptors)
        return
    memfd = os.memfd_create("record", os.MFD_CLOEXEC)
    try:
        with open(memfd, "wb", closefd=False) as file:
            file.write(data)
        _send(end, _IN_MEMFD, [*descriptors, memfd])
    finally:
        os.close(memfd)


def receive(end: socket.socket) -> tuple[Record, list[int]] | None:
    """Take one record and the descriptors that came with it, None at the end of file.

    Raises: BlockingIOError when there is none yet, WireError when it is none (its descriptors are closed).
    """
    data, control, flags, _ = end.recvmsg(RECORD_BYTES + 1, _CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(control)
    if not data:
        close(descriptors)
        return None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise WireError("a record that is too long or carries too many descriptors")
        if data == _IN_MEMFD:
            data = _read_memfd(descriptors)
        return _decode(data), descriptors
    except BaseException:
        close(descriptors)
        raise


def close(descriptors: Iterable[int]) -> None:
    """Close every descriptor, whatever becomes of each.

    Raises: OSError (EBADF), after all others are closed, when one was not open: whoever closes twice
        closes, another time, what belongs to somebody else.
    """
    closed_twice: OSError | None = None
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                closed_twice = error
    if closed_twice is not None:
        raise closed_twice


def _send(end: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    end.sendmsg([data], control, socket.MSG_NOSIGNAL)


def _descriptors(control: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return list(found)


def _read_memfd(descriptors: list[int]) -> bytes:
    if not descriptors:
        raise WireError("a long record without its memfd")
    memfd = descriptors.pop()
    try:
        data = os.pread(memfd, LARGE_RECORD_BYTES + 1, 0)
    except OSError as error:
        raise WireError(f"a long record that cannot be read: {error.strerror}") from error
    finally:
        os.close(memfd)
    if len(data) > LARGE_RECORD_BYTES:
        raise WireError("a long record that is too long")
    return data


def _decode(data: bytes) -> Record:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError("a record that is no JSON") from error
    if not isinstance(record, dict):
        raise WireError("a record that is no JSON object")
    return record
