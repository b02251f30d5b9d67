"""Find the event loop that an executor works with."""

from __future__ import annotations

import asyncio
import warnings


def find_loop() -> asyncio.AbstractEventLoop:
    """Give the loop that the import made current, else a new one of the current policy, made current.

    Before Python 3.10 locks and queues made at import belong to the loop that was current then. In mode
    `fork` there is none: a template that holds a loop's descriptors is not forked.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = asyncio.get_event_loop()
    except RuntimeError:
        loop = None
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop
