"""Notice that whoever reads our standard output has gone, also while there is nothing to write."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator

GRACE_MS = 200  # whoever is writing has learnt of it by then, and must not be disturbed while it tidies up


class _GoneError(BaseException):
    """Leave what waits. It is no Exception, for nobody on the way may take it for a failure of the network."""


@contextlib.contextmanager
def while_read() -> Iterator[None]:
    """Run a block, on the main thread, for as long as somebody reads standard output.

    A thread waits for the pipe's other end to be closed, and then wakes the main thread by a signal, which ends
    whatever that waits for. Nothing is watched where there is no such thing (Windows), or no standard output.
    Raises: BrokenPipeError soon after the reader has gone.
    """
    descriptor = _find_output()
    if descriptor is None:
        yield
        return
    over, end = os.pipe()
    watcher = threading.Thread(target=_watch, args=(descriptor, over, threading.get_ident()), daemon=True)
    before = signal.signal(signal.SIGUSR1, _leave)
    try:
        try:
            watcher.start()
            yield
        finally:
            os.close(end)
            watcher.join()
    except _GoneError:
        raise BrokenPipeError from None
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(over)


def _find_output() -> int | None:
    if not hasattr(select, "poll") or sys.stdout is None:
        return None
    with contextlib.suppress(OSError, ValueError):  # it is closed, or no file of the system
        return sys.stdout.fileno()
    return None


def _watch(output: int, over: int, main_thread: int) -> None:
    poll = select.poll()
    poll.register(output, 0)  # nothing is asked for: errors and hang-ups are always told
    poll.register(over, select.POLLIN)
    if over in [each for each, _ in poll.poll()]:
        return
    poll.unregister(output)
    if not poll.poll(GRACE_MS):
        signal.pthread_kill(main_thread, signal.SIGUSR1)


def _leave(*_: object) -> None:
    raise _GoneError
