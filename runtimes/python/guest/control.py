"""Obey the warden: attach a revision, fork executors. Source: runtimes/CONTRACT.md, section 2.

Theory of operation
    One process, one thread, blocked in recvmsg on descriptor 3. It opens nothing and starts nothing of its
    own, so that what the warden finds in /proc after the import is the user's doing. The few functions used
    after the import are bound at the top: packages such as gevent replace those of `os` and `socket`. Any
    message outside the contract, and the end of the socket, end the process at once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import struct
import sys
from typing import NamedTuple, Optional

from . import confine
from .faults import Fault
from .importing import Imported, Places, import_entry
from .output import flush_output, prepare_output
from .records import (
    EXIT_BROKEN,
    Record,
    leave,
    load_environment,
    open_control,
    receive,
    take_log,
    write_report,
)

_fork, _close = os.fork, os.close
_signal = signal.signal


class Attached(NamedTuple):
    """Hold what the template serves: None in mode `fresh`, where each executor imports for itself.

    `child_signal` is what the user's code wants to happen when a child of its own ends.
    """

    imported: Optional[Imported]
    child_signal: object


def serve(*, runtime: str, root: str, loaded_at_start: frozenset) -> None:
    """Wait for the warden's messages until the process ends."""
    places = Places(
        micro=root + "/micro",
        dependencies=root + "/dependencies",
        slots=root + "/x",
        runtime=runtime,
        loaded_at_start=loaded_at_start,
    )
    control = open_control()
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


def attach(record: Record, places: Places, send) -> Attached:
    """Take environment and log, import in mode `fork`, report; ends the process when the import failed."""
    mode = read_mode(record.payload)
    environment, log, report = record.descriptors
    load_environment(environment)
    take_log(log)
    confine.name_process(b"micro-template")
    try:
        imported = import_entry(places) if mode == "fork" else None
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
    return Attached(imported, signal.SIG_DFL if child_signal is None else child_signal)


def close_idle_connections() -> None:
    """Close what our own `deta` package keeps open for the next request: a template that holds a socket is not forked."""
    pool = getattr(sys.modules.get("deta._connections"), "POOL", None)
    with contextlib.suppress(Exception):  # the user's code may have put anything there
        if pool is not None:
            pool.close()


def read_mode(payload: bytes) -> str:
    """Give "fork" or "fresh"; ends the process at anything else."""
    try:
        mode = json.loads(payload)["mode"]
    except (ValueError, KeyError, TypeError):
        mode = None
    if mode not in ("fork", "fresh"):
        leave(EXIT_BROKEN)
    return mode


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
            executor.run(slot, record.descriptors, places, attached.imported)
        answer = b"S0"
    for each in record.descriptors:
        _close(each)
    send(answer)
