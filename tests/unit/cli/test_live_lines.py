"""What `deta dev` shows of the host's lines."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from microhost.cli.live_lines import Shown

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER, EARLIER = "2026-01-02T03:04:06.000000Z", "2026-01-02T03:04:04.000000Z"


def show(shown: Shown, *lines: str) -> list[str]:
    return [click.unstyle(each) for line in lines for each in shown.take(line)]


def test_a_request_and_what_it_printed() -> None:
    lines = show(Shown(SINCE), f"{LATER} a1 GET /x 200 1.2 ms", f"{LATER} a1 hello", f"{LATER} a1 ")
    assert [line[9:] for line in lines] == ["GET /x 200 1.2 ms", "hello", ""]
    assert lines[0][2] == ":"


def test_what_began_before_is_not_shown() -> None:
    assert show(Shown(SINCE), f"{EARLIER} a1 GET / 200 1.0 ms", f"{EARLIER} a1 hello") == []


def test_a_new_stream_repeats_nothing() -> None:
    shown = Shown(SINCE)
    first = [f"{LATER} a1 GET /1 200 1.0 ms", f"{LATER} a1 one"]
    assert len(show(shown, *first)) == 2
    shown.begin()
    assert [line[9:] for line in show(shown, *first, f"{LATER} b2 GET /2 200 1.0 ms")] == [
        "GET /2 200 1.0 ms"
    ]


def test_failures_are_coloured() -> None:
    colours = [
        next(iter(Shown(SINCE).take(f"{LATER} a GET / {status} 1.0 ms"))) for status in (200, 404, 502)
    ]
    assert ["\x1b[33m" in each for each in colours] == [False, True, False]
    assert "\x1b[31m" in colours[2]


def test_other_lines_are_passed_over() -> None:
    assert show(Shown(SINCE), "", "words") == []
