"""SPECIFICATION.md names tests that exist, and no promise twice."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([A-Z]+\d+) \| (.+) \| (.+) \|$", re.MULTILINE)


def _rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "SPECIFICATION.md").read_text())


def test_every_promise_has_a_number_of_its_own() -> None:
    numbers = [number for number, _, _ in _rows()]
    assert len(numbers) > 90
    assert len(set(numbers)) == len(numbers)


def test_every_promise_names_a_test_that_exists_or_is_pending() -> None:
    wrong = []
    for number, _, held_by in _rows():
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", held_by)
        for file, test in named:
            path = ROOT / "tests" / file
            if not path.exists() or f"def {test}(" not in path.read_text():
                wrong.append(f"{number}: {file}::{test}")
        if not named and not re.match(r"\*(pending|see)\*", held_by):
            wrong.append(f"{number}: {held_by}")
    assert wrong == []
