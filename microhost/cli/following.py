"""Follow a Micro's executions over the ends of connections: nothing lost, nothing twice, as far as the server lets.

Theory of operation
    A stream begins with what is recorded, oldest first, and goes on with what ends. After a break the record is
    listed as far back as the server lets; what stands in it after the last execution that was shown is new. Then
    the stream is opened again with as long a past, and what was listed already is passed over. An execution that
    ran while the host was killed is in no record, and so in no stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain, repeat
from typing import Any

from microhost.cli.api import parse_object
from microhost.cli.failures import UNREACHABLE, CliError

PAST_MAX = 1_000  # the server's longest page
REMEMBERED = 5 * PAST_MAX
WAITS_S = (0.1, 0.2, 0.5, 1.0, 2.0)
UNAVAILABLE = (502, 503, 504)

Event = dict[str, Any]
Filters = Mapping[str, str]
# (query) -> a response whose body is a JSON object a line
Open = Callable[[dict[str, str]], AbstractContextManager[Any]]


class Seen:
    """Remember which executions were shown."""

    def __init__(self) -> None:
        """Begin with none."""
        self._ids: dict[str, None] = {}
        self.last: str | None = None

    def is_new(self, event: Event) -> bool:
        """Tell whether an execution was not shown before, and remember it."""
        if event["id"] in self._ids:
            return False
        self._keep(event["id"])
        self.last = event["id"]
        return True

    def catch_up(self, listed: Sequence[Event]) -> list[Event]:
        """Give what is new in a listing, oldest first: what stands after the last one that was shown.

        When that is not in it, all that was not shown. All of it counts as shown from now on.
        """
        ids = [each["id"] for each in listed]
        begin = ids.index(self.last) + 1 if self.last in ids else 0
        for identity in ids[:begin]:
            self._keep(identity)
        return [each for each in listed[begin:] if self.is_new(each)]

    def _keep(self, identity: str) -> None:
        self._ids[identity] = None
        if len(self._ids) > REMEMBERED:
            del self._ids[next(iter(self._ids))]


def read(response: Any) -> Iterator[Event]:
    """Read a JSON object a line; what a Micro printed may hold every other character that ends lines."""
    rest = b""
    for part in response.iter_bytes():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield parse_object(line)


def follow(open_stream: Open, filters: Filters, tell: Callable[[str], None]) -> Iterator[Event]:
    """Give the last executions and those to come, without end. `filters` has `limit`, `since` and the like.

    Raises: CliError when the first connection fails, and later on for a refusal.
    """
    seen = Seen()
    yield from _stream(open_stream, filters, seen, is_first=True)
    while True:
        tell("The connection has ended. Waiting for the server...")
        listed = _list_patiently(open_stream, _anew(filters, seen))
        tell("Connected again.")
        yield from seen.catch_up(listed)
        yield from _stream(open_stream, _anew(filters, seen), seen)


def _stream(open_stream: Open, query: Filters, seen: Seen, *, is_first: bool = False) -> Iterator[Event]:
    """Give what is new until the connection ends."""
    try:
        with open_stream({**query, "follow": "1"}) as response:
            is_first = False
            yield from filter(seen.is_new, read(response))
    except CliError as error:
        if is_first or not _is_break(error):
            raise


def _list_patiently(open_stream: Open, query: Filters) -> list[Event]:
    """List as soon as the server answers again."""
    for wait_s in chain(WAITS_S, repeat(WAITS_S[-1])):
        time.sleep(wait_s)
        try:
            with open_stream(dict(query)) as response:
                return list(read(response))
        except CliError as error:
            if not _is_break(error):
                raise
    raise AssertionError("the waits have no end")


def _anew(filters: Filters, seen: Seen) -> Filters:
    """Ask for the longest past; how far back it was to go at first counts until something was shown."""
    kept = {name: value for name, value in filters.items() if name != "since" or seen.last is None}
    return {**kept, "limit": str(PAST_MAX)}


def _is_break(error: CliError) -> bool:
    """Tell a connection that broke, or a host that is not there yet, from a refusal."""
    return error.exit_code == UNREACHABLE or error.status in UNAVAILABLE
