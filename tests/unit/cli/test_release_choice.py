"""Which deployment `deta rollback` takes."""

from __future__ import annotations

import pytest

from microhost.cli.commands.releases import choose
from microhost.cli.failures import CliError


def kept(*numbers: int, live: int) -> list[dict[str, object]]:
    return [
        {"number": each, "id": f"id{each}", "state": "live" if each == live else "retired"}
        for each in numbers
    ]


@pytest.mark.parametrize(
    ("found", "wanted", "number"),
    [
        (kept(3, 2, 1, live=3), None, 2),
        (kept(3, 2, 1, live=2), None, 1),
        (kept(9, 4, live=9), None, 4),
        (kept(3, 2, 1, live=3), "1", 1),
        (kept(3, 2, 1, live=2), "3", 3),
        (kept(3, 2, 1, live=3), "id2", 2),
    ],
)
def test_the_one_before_or_the_named_one(
    found: list[dict[str, object]], wanted: str | None, number: int
) -> None:
    assert choose(found, wanted)["number"] == number


@pytest.mark.parametrize(
    ("found", "wanted", "why"),
    [
        ([], None, "Nothing was deployed yet."),
        (kept(3, live=3), None, "No deployment before number 3 is kept."),
        (kept(3, 2, live=2), None, "No deployment before number 2 is kept."),
        (kept(3, 2, live=3), "7", "There is no deployment '7'."),
    ],
)
def test_there_is_none(found: list[dict[str, object]], wanted: str | None, why: str) -> None:
    with pytest.raises(CliError) as refused:
        choose(found, wanted)
    assert (refused.value.message, refused.value.exit_code) == (why, 4)
