"""Obey the warden where executors are of another language: nothing is imported, each fork becomes a program.

Source: runtimes/CONTRACT.md, sections 1 and 2. Loads as little as it can: a cold start waits for it.
"""

from __future__ import annotations

import json
import os
import signal
import struct
from typing import NamedTuple, Sequence

from . import confine
from .jail import CHANNEL, enter_slot, leave_jail
from .output import prepare_output
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

# What the sandbox says of the host's authority (sandbox/policy.py). A user's own wins.
AUTHORITY, AUTHORITY_FILE = "NODE_EXTRA_CA_CERTS", "/etc/ssl/microhost.pem"
NOTHING_YET = {"ok": True, "interface": None, "run": [], "cron": False, "import_s": 0}


class Places(NamedTuple):
    """Name the directories that the launcher works with."""

    micro: str
    slots: str


def serve(*, root: str) -> None:
    """Wait for the warden's messages until the process ends."""
    places = Places(root + "/micro", root + "/x")
    control = open_control()
    confine.name_process(b"micro-boot")
    prepare_output()
    control.send(b"B")
    program: Sequence[str] = ()
    while True:
        record = receive(control)
        if record.verb == b"A" and not program and len(record.descriptors) == 3:
            program = attach(record)
            control.send(b"R0")
        elif record.verb == b"S" and program and len(record.descriptors) == 3 and len(record.payload) == 2:
            control.send(spawn(record, places, program))
        else:
            leave(EXIT_BROKEN)


def attach(record: Record) -> Sequence[str]:
    """Take environment and log, and give the program; ends the process at anything outside the contract."""
    program = read_program(record.payload)
    environment, log, report = record.descriptors
    load_environment(environment)
    take_log(log)
    confine.name_process(b"micro-template")
    write_report(report, NOTHING_YET)
    # executors are reaped by the kernel
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return program


def read_program(payload: bytes) -> Sequence[str]:
    """Give the words of `A`'s program; ends the process when there are none, or the mode is another than fresh."""
    try:
        order = json.loads(payload)
        mode, program = order["mode"], order["program"]
    except (ValueError, KeyError, TypeError):
        leave(EXIT_BROKEN)
    words = isinstance(program, list) and program and all(isinstance(each, str) for each in program)
    if mode != "fresh" or not words:
        leave(EXIT_BROKEN)
    return program


def spawn(record: Record, places: Places, program: Sequence[str]) -> bytes:
    """Fork an executor, and give the answer; comes back in the template only."""
    (slot,) = struct.unpack(">H", record.payload)
    try:
        pid = os.fork()
    except OSError as error:
        answer = b"S1" + struct.pack(">I", error.errno or 0)
    else:
        if pid == 0:
            become(slot, record.descriptors, places, program)
        answer = b"S0"
    for each in record.descriptors:
        os.close(each)
    return answer


def become(slot: int, descriptors: Sequence[int], places: Places, program: Sequence[str]) -> None:
    """Execute the program with the rights, the descriptors and the directory of an executor."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    enter_slot(slot, descriptors, slots=places.slots, micro=places.micro)
    if os.environ.get(AUTHORITY) == AUTHORITY_FILE:
        # read at every start, wanted or not; runtimes/node/guest/trusting.js brings it in its own way
        del os.environ[AUTHORITY]
    os.set_inheritable(CHANNEL, True)
    try:
        os.execv(program[0], program)
    except OSError as error:
        leave_jail(error)
