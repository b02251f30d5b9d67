"""Obey the warden: attach a revision, fork executors. Source: runtimes/CONTRACT.md, section 2.

Theory of operation
    One process, one thread, blocked in recvmsg on descriptor 3. It opens nothing and starts nothing of its
    own, so that what the warden finds in /proc after the import is the user's doing. The few functions used
    after the import are bound at the top: packages such as gevent replace those of `os` and `socket`. Any
    message outside the contract, and the end of the socket, end the process at once.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from typing import NamedTuple, Optional, Tuple

from . import confine
from .faults import Fault
from .importing import Imported, Places, import_entry
from .output import flush_output, prepare_output

CONTROL = 3
RECORD_BYTES = 64 * 1024
DESCRIPTORS_MAX = 8
EXIT_BROKEN = 70

_fork, _close, _dup2, _read, _write, _exit = os.fork, os.close, os.dup2, os.read, os.write, os._exit
_signal = signal.signal


class Record(NamedTuple):
    """Hold one message of the warden."""

    verb: bytes
    payload: bytes
    descriptors: list


class Order(NamedTuple):
    """Hold the payload of `A`: the mode, and the program that executors of another language become."""

    mode: str
    program: Tuple[str, ...]


class Attached(NamedTuple):
    """Hold what the template serves: None in mode `fresh`, where each executor imports for itself.

    `child_signal` is what the user's code wants to happen when a child of its own ends; `program` is empty where
    executors are Python's.
    """

    imported: Optional[Imported]
    child_signal: object
    program: Tuple[str, ...]


def serve(*, runtime: str, root: str, loaded_at_start: frozenset) -> None:
    """Wait for the warden's messages until the process ends."""
    places = Places(
        micro=root + "/micro",
        dependencies=root + "/dependencies",
        slots=root + "/x",
        runtime=runtime,
        loaded_at_start=loaded_at_start,
    )
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    control.setblocking(True)
    confine.name_process(b"micro-boot")
    prepare_output()
    send = control.send
    send(b"B")
    executor = load_executor()
    attached: Optional[Attached] = None
    while True:
        record = receive(control)
        if record.verb == b"A" and attached is None and len(record.descriptors) == 3:
            attached = attach(record, places, send)
        elif (
            record.verb == b"S"
            and attached is not None
            and len(record.descriptors) == 3
            and len(record.payload) == 2
        ):
            spawn(record, places, attached, send, executor)
        else:
            leave(EXIT_BROKEN)


def load_executor():
    """Load what an executor will want, before the user's code and before any fork, and give its module.

    The warden has work to do between our first word and the code; this takes as long.
    """
    from . import blocking, executor, looping  # noqa: F401

    return executor


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


def attach(record: Record, places: Places, send) -> Attached:
    """Take environment and log, import in mode `fork`, report; ends the process when the import failed."""
    order = read_order(record.payload)
    environment, log, report = record.descriptors
    load_environment(environment)
    _dup2(log, 1)
    _dup2(log, 2)
    _close(log)
    confine.name_process(b"micro-template")
    try:
        imported = import_entry(places) if order.mode == "fork" else None
        close_idle_connections()
    except Fault as fault:
        write_report(report, {"ok": False, **fault.document()})
        send(b"F")
        leave(1)
    document = (
        imported.report()
        if imported
        else {"ok": True, "interface": None, "run": [], "cron": False, "import_s": 0}
    )
    write_report(report, document)
    # executors are reaped by the kernel; each gets the user's own disposition back
    child_signal = _signal(signal.SIGCHLD, signal.SIG_IGN)
    # collections in executors would otherwise write to, and so copy, every page that they share with us
    gc.freeze()
    flush_output()
    send(b"R1" if has_interval_timer() else b"R0")
    return Attached(imported, signal.SIG_DFL if child_signal is None else child_signal, order.program)


def close_idle_connections() -> None:
    """Close what our own `deta` package keeps open for the next request: a template that holds a socket is not forked."""
    pool = getattr(sys.modules.get("deta._connections"), "POOL", None)
    with contextlib.suppress(Exception):  # the user's code may have put anything there
        if pool is not None:
            pool.close()


def read_order(payload: bytes) -> Order:
    """Read what `A` asks for; ends the process at anything outside the contract."""
    try:
        document = json.loads(payload)
        mode, program = document["mode"], tuple(document.get("program", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        leave(EXIT_BROKEN)
    words = all(isinstance(each, str) for each in program)
    if mode not in ("fork", "fresh") or not words or (program and mode == "fork"):
        leave(EXIT_BROKEN)
    return Order(mode, program)


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


def has_interval_timer() -> bool:
    """Tell whether the import left an interval timer running: it would not run in a fork."""
    return any(
        any(signal.getitimer(each))
        for each in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    )


def spawn(record: Record, places: Places, attached: Attached, send, executor) -> None:
    """Fork one executor and say so; comes back in the template only."""
    (slot,) = struct.unpack(">H", record.payload)
    try:
        pid = _fork()
    except OSError as error:
        answer = b"S1" + struct.pack(">I", error.errno or 0)
    else:
        if pid == 0:
            _signal(signal.SIGCHLD, attached.child_signal)
            if attached.program:
                executor.become_program(slot, record.descriptors, places, attached.program)
            executor.run(slot, record.descriptors, places, attached.imported)
        answer = b"S0"
    for each in record.descriptors:
        _close(each)
    send(answer)


def leave(status: int) -> None:
    """End the process now; nothing of the user's is run on the way out."""
    flush_output()
    _exit(status)
