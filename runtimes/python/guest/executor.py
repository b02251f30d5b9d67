"""Turn a fresh fork into an executor: jail, descriptors, seeds; then import (mode `fresh`) and serve, or become
the program of another language that does so.

Source: runtimes/CONTRACT.md, sections 1 and 2.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import socket
import stat
import sys
from typing import NoReturn, Optional, Sequence

from . import blocking, confine, looping
from .faults import Fault, fault_frame
from .importing import Imported, Places, import_entry
from .output import flush_output

CHANNEL = 3
EXIT_JAIL = 71

_close, _dup2, _exit, _open, _fstat, _lseek = os.close, os.dup2, os._exit, os.open, os.fstat, os.lseek
_socket = socket.socket


def run(slot: int, descriptors: Sequence[int], places: Places, imported: Optional[Imported]) -> NoReturn:
    """Be the executor until the process ends."""
    _become_or_leave(slot, descriptors, places)
    channel = _socket(fileno=CHANNEL)
    os.register_at_fork(after_in_child=_leave_channel)
    if imported is None:
        imported = _import_fresh(channel, places)
    if imported.offer.interface == "asgi":
        looping.serve(channel, imported)
    else:
        blocking.serve(channel, imported)
    _exit(0)


def become_program(slot: int, descriptors: Sequence[int], places: Places, program: Sequence[str]) -> NoReturn:
    """Execute `program` with the rights, the descriptors and the directory of an executor."""
    _become_or_leave(slot, descriptors, places)
    os.set_inheritable(CHANNEL, True)
    try:
        os.execv(program[0], program)
    except OSError as error:
        _leave_jail(error)


def _become_or_leave(slot: int, descriptors: Sequence[int], places: Places) -> None:
    try:
        become_executor(slot, descriptors, places)
    except OSError as error:
        _leave_jail(error)


def _leave_jail(error: OSError) -> NoReturn:
    print(f"microhost: the executor could not be set up: {error}", file=sys.stderr, flush=True)
    _exit(EXIT_JAIL)


def become_executor(slot: int, descriptors: Sequence[int], places: Places) -> None:
    """Enter the slot, give up every right, keep three descriptors and what the import left open to read.

    Raises: OSError; the process must end then.
    """
    keep_readable_files(set(descriptors))
    entered = enter_jail(f"{places.slots}/{slot}")
    confine.drop_capabilities()
    confine.name_process(b"micro-executor")
    os.chdir("/micro" if entered else places.micro)
    place_descriptors(descriptors)
    renew_seeds()


def enter_jail(jail: str) -> bool:
    """Make the slot's directory the root, when there is one and the process may; tell whether it did."""
    if not os.path.isdir(jail):
        return False
    try:
        os.chroot(jail)
    except PermissionError:
        return False
    return True


def keep_readable_files(wanted: set) -> None:
    """Close what the template had open above 3, but give each file left open to read an offset of its own.

    A file read through an inherited descriptor would move the offset of every other executor.
    """
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number <= CHANNEL or number in wanted:
            continue
        try:
            mode = _fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode):
            _open_again(number)
        elif not stat.S_ISDIR(mode) and not stat.S_ISCHR(mode):
            _close(number)


def _open_again(number: int) -> None:
    try:
        own = _open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    inheritable = os.get_inheritable(number)
    _lseek(own, _lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
    _dup2(own, number, inheritable)
    _close(own)


def place_descriptors(descriptors: Sequence[int]) -> None:
    """Put channel, stdout and stderr at 3, 1 and 2; the control socket goes with that."""
    channel, stdout, stderr = descriptors
    _dup2(stdout, 1)
    _dup2(stderr, 2)
    _dup2(channel, CHANNEL, False)
    for each in descriptors:
        if each > CHANNEL:
            _close(each)
    os.set_blocking(1, True)
    os.set_blocking(2, True)
    faulthandler.enable(file=2, all_threads=False)


def renew_seeds() -> None:
    """Give this executor random numbers of its own."""
    for name in ("random", "numpy.random"):
        module = sys.modules.get(name)
        if module is not None:
            try:
                module.seed()
            except Exception:  # the name may belong to a module of the user's
                continue


def _import_fresh(channel: socket.socket, places: Places) -> Imported:
    try:
        return import_entry(places)
    except Fault as fault:
        flush_output()
        channel.setblocking(True)
        channel.sendall(fault_frame("import", fault))
        _exit(1)


def _leave_channel() -> None:
    # a process that the user's code forks must not answer on the channel
    with contextlib.suppress(OSError):
        _close(CHANNEL)
