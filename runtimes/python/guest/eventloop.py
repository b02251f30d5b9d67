"""Find the event loop that an executor works with."""

from __future__ import annotations

import asyncio
import warnings
from typing import Optional


def find_loop(*, imported_here: bool) -> asyncio.AbstractEventLoop:
    """Give a loop of the current policy, made current; the one that the import made current when that ran here.

    Before Python 3.10 locks and queues made at import belong to the loop that was current then. A loop that came
    through a fork would share its descriptors with every other executor.
    """
    loop = _find_current() if imported_here else None
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def _find_current() -> Optional[asyncio.AbstractEventLoop]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return asyncio.get_event_loop()
    except RuntimeError:
        return None
