"""A follower of logs whose connection breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from microhost.cli import following
from microhost.cli.failures import UNREACHABLE, CliError


def event(number: int) -> dict[str, Any]:
    return {"id": f"e{number}", "log": "a\u2028b\x85c"}


class Response:
    def __init__(self, parts: list[bytes], *, breaks: bool) -> None:
        self._parts = parts
        self._breaks = breaks

    def iter_bytes(self) -> Iterator[bytes]:
        yield from self._parts
        if self._breaks:
            raise CliError("The connection broke.", exit_code=UNREACHABLE)


class Server:
    """A far side that plays what it was told: what is recorded, or a failure, for each connection in turn."""

    def __init__(self, *plays: range | CliError) -> None:
        self.plays = list(plays)
        self.asked: list[dict[str, str]] = []

    @contextmanager
    def open(self, query: dict[str, str]) -> Iterator[Response]:
        self.asked.append(query)
        play = self.plays.pop(0)
        if isinstance(play, CliError):
            raise play
        text = "".join(f"{json.dumps(event(each), ensure_ascii=False)}\n" for each in play).encode()
        parts = [text[place : place + 7] for place in range(0, len(text), 7)]
        yield Response(parts, breaks="follow" in query)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WAITS_S", (0.0,))


def follow(server: Server, count: int, **filters: str) -> list[str]:
    said: list[str] = []
    found = following.follow(server.open, filters, said.append)
    return [each["id"] for each in islice(found, count)]


def ids(*numbers: int) -> list[str]:
    return [f"e{each}" for each in numbers]


def gone() -> CliError:
    return CliError("The server cannot be reached.", exit_code=UNREACHABLE)


def test_what_came_in_between_is_given_once() -> None:
    server = Server(range(3, 6), gone(), gone(), range(8), range(9))
    assert follow(server, 6, limit="3") == ids(3, 4, 5, 6, 7, 8)
    assert [each.get("limit") for each in server.asked] == ["3", *["1000"] * 4]


def test_what_was_not_asked_for_at_first_does_not_come_later() -> None:
    server = Server(range(4, 5), range(6), range(2, 7))
    assert follow(server, 3, limit="1") == ids(4, 5, 6)


def test_when_the_last_one_is_out_of_reach_all_that_is_new_is_given() -> None:
    server = Server(range(2), range(5, 7), range(5, 8))
    assert follow(server, 5) == ids(0, 1, 5, 6, 7)


def test_how_far_back_it_goes_counts_until_something_was_shown() -> None:
    server = Server(range(0), range(0), range(1), range(2), range(3))
    assert follow(server, 3, since="10m", status="5xx") == ids(0, 1, 2)
    assert [each.get("since") for each in server.asked] == ["10m", "10m", "10m", None, None]
    assert {each["status"] for each in server.asked} == {"5xx"}


def test_a_second_break_while_reconnecting_is_survived() -> None:
    unavailable = CliError("The host starts.", status=503)
    server = Server(range(1), range(2), gone(), unavailable, range(3), range(4))
    assert follow(server, 4) == ids(0, 1, 2, 3)


def test_the_first_connection_must_succeed() -> None:
    with pytest.raises(CliError, match="cannot be reached"):
        follow(Server(gone()), 1)


def test_a_refusal_later_on_ends_it() -> None:
    with pytest.raises(CliError, match="not logged in"):
        follow(Server(range(1), CliError("You are not logged in.", status=401, exit_code=3)), 2)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REMEMBERED", 10)
    seen = following.Seen()
    assert all(seen.is_new(event(each)) for each in range(100))
    assert [seen.is_new(event(each)) for each in (99, 90, 0)] == [False, False, True]
