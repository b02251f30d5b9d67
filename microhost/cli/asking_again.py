"""Ask a server again that was too busy, when it wants to be asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from microhost.cli.failures import CliError

Given = TypeVar("Given")
BUSY = frozenset({429, 503})  # nothing was done
TRIES = 5


def patiently(act: Callable[[], Given], *, pause: Callable[[float], None] = time.sleep) -> Given:
    """Do what a busy server has not done, again after the time that it names. Raises: CliError of the last try."""
    for left in reversed(range(TRIES)):
        try:
            return act()
        except CliError as error:
            if error.status not in BUSY or not left:
                raise
            pause(error.retry_after_s)
    raise AssertionError("unreachable")
