"""Follow what a Micro answers and prints, and show it as it happens.

The host gives an execution as lines of text: `<time> <id> GET /path 200 1.2 ms`, then `<time> <id> <what it printed>`,
with control characters written out. What is shown leaves the id away and sets what was printed in.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import click

from microhost.cli.api import API, Api
from microhost.cli.failures import CliError

LINE = re.compile(r"(\S+Z) (\S+) ?(.*)")
STATUS = re.compile(r" ([1-5]\d\d) \d+(\.\d+)? ms\b")
COLORS = {"4": "yellow", "5": "red"}
REMEMBERED = 4_000
RECENT = 200
RETRY_S = 0.5


def follow(api: Api, address: str, is_over: Callable[[], bool]) -> Iterator[str]:
    """Give the lines to show of each execution that begins from now on, until `is_over`.

    Connects anew when the host restarts, and then repeats nothing.
    """
    shown = Shown(datetime.now(UTC))
    while not is_over():
        query = {"follow": "1", "limit": str(RECENT)}
        try:
            with api.open("GET", f"{API}{address}/logs", query=query, silence_s=None) as response:
                shown.begin()
                for line in response.iter_lines():
                    yield from shown.take(line)
        except CliError:
            time.sleep(RETRY_S)


class Shown:
    """Turn the host's lines into those to show, each execution's once."""

    def __init__(self, since: datetime) -> None:
        """Show what began at `since` or later."""
        self._since = f"{since:%Y-%m-%dT%H:%M:%S.%f}Z"
        self._done: deque[str] = deque(maxlen=REMEMBERED)
        self._current = ""
        self._wanted = False

    def begin(self) -> None:
        """Begin a new stream, which may repeat what was shown."""
        self._current = ""

    def take(self, line: str) -> Iterator[str]:
        """Give what to show of one line: itself, made fit for people, or nothing."""
        parts = LINE.fullmatch(line)
        if parts is None:
            return
        moment, identity, text = parts.groups()
        is_head = identity != self._current
        if is_head:
            self._current = identity
            self._wanted = moment >= self._since and identity not in self._done
            self._done.append(identity)
        if self._wanted:
            yield _head(moment, text) if is_head else f"         {text}"


def _head(moment: str, text: str) -> str:
    began = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).astimezone()
    status = STATUS.search(text)
    color = COLORS.get(status[1][0]) if status else None
    return f"{click.style(f'{began:%H:%M:%S}', dim=True)} {click.style(text, fg=color) if color else text}"
