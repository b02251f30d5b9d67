"""Turn a fresh fork into an executor: jail, descriptors, seeds; then import (mode `fresh`) and serve.

Source: runtimes/CONTRACT.md, sections 1 and 2.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import socket
import sys
from typing import NoReturn, Optional, Sequence

from . import blocking, looping
from .faults import Fault, fault_frame
from .importing import Imported, Places, import_entry
from .jail import CHANNEL, enter_slot
from .output import flush_output

_close, _exit = os.close, os._exit
_socket = socket.socket


def run(slot: int, descriptors: Sequence[int], places: Places, imported: Optional[Imported]) -> NoReturn:
    """Be the executor until the process ends."""
    enter_slot(slot, descriptors, slots=places.slots, micro=places.micro)
    faulthandler.enable(file=2, all_threads=False)
    renew_seeds()
    channel = _socket(fileno=CHANNEL)
    os.register_at_fork(after_in_child=_leave_channel)
    if imported is None:
        imported = _import_fresh(channel, places)
    if imported.offer.interface == "asgi":
        looping.serve(channel, imported)
    else:
        blocking.serve(channel, imported)
    _exit(0)


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
