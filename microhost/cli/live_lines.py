"""Follow what a Micro answers and prints, and show it as it happens.

The host gives an execution as lines of text: `<time> <id> GET /path 200 1.2 ms`, then `<time> <id> <what it printed>`,
with control characters written out. What is shown leaves the id away and sets what was printed in.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import httpx2

from microhost.cli.api import API, Api
from microhost.cli.failures import CliError

LINE = re.compile(r"(\S+Z) (\S+) ?(.*)")
STATUS = re.compile(r" ([1-5]\d\d) \d+(\.\d+)? ms\b")
COLORS = {"4": "yellow", "5": "red"}
REMEMBERED = 4_000
RECENT = 200
RETRY_S = 0.5


class Follower:
    """Follow one Micro from a thread of its own; `stop` ends it from another."""

    def __init__(self, api: Api, address: str) -> None:
        """Follow the Micro at `address` below the API, over a connection that is used for nothing else."""
        self._api = api
        self._address = address
        self._over = threading.Event()
        self._connection: Any = None

    def lines(self) -> Iterator[str]:
        """Give the lines to show of each execution that begins from now on, until `stop`.

        Connects anew when the host restarts, and then repeats nothing.
        """
        shown = Shown(datetime.now(UTC))
        query = {"follow": "1", "limit": str(RECENT)}
        while not self._over.is_set():
            try:
                with self._api.open(
                    "GET", f"{API}{self._address}/logs", query=query, silence_s=None
                ) as response:
                    self._connection = response.extensions.get("network_stream")
                    shown.begin()
                    yield from self._read(response, shown)
            except CliError:
                self._over.wait(RETRY_S)

    def stop(self) -> None:
        """End the connection, which a host that stops would wait for."""
        self._over.set()
        if self._connection is not None:
            with contextlib.suppress(OSError):  # it may have ended by itself
                self._connection.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _read(self, response: httpx2.Response, shown: Shown) -> Iterator[str]:
        if self._over.is_set():
            return
        for line in response.iter_lines():
            for each in shown.take(line):
                if self._over.is_set():
                    return
                yield each


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
