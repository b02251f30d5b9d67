"""Give a fresh fork up to the rights and descriptors of an executor. Source: runtimes/CONTRACT.md, section 1."""

from __future__ import annotations

import os
import stat
import sys
from typing import NoReturn, Sequence

from . import confine

CHANNEL = 3
EXIT_JAIL = 71

_close, _dup2, _exit, _open, _fstat, _lseek = os.close, os.dup2, os._exit, os.open, os.fstat, os.lseek


def enter_slot(slot: int, descriptors: Sequence[int], *, slots: str, micro: str) -> None:
    """Enter the slot, give up every right, keep three descriptors and what the import left open to read.

    The process ends when it cannot.
    """
    try:
        keep_readable_files(set(descriptors))
        entered = enter_jail(f"{slots}/{slot}")
        confine.drop_capabilities()
        confine.name_process(b"micro-executor")
        os.chdir("/micro" if entered else micro)
        place_descriptors(descriptors)
    except OSError as error:
        leave_jail(error)


def leave_jail(error: OSError) -> NoReturn:
    """End a process that could not be made an executor."""
    print(f"microhost: the executor could not be set up: {error}", file=sys.stderr, flush=True)
    _exit(EXIT_JAIL)


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
