"""SECURITY.md answers for every threat of the list and every guard of the doctor, by tests that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from sandbox import doctor

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "SECURITY.md").read_text()
ROW = re.compile(r"^\| ([A-Z]+-\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")

# The threats that we answer for; a number that is not here was merged into another.
THREATS = {
    "ISO": {*range(1, 23)} - {9},
    "LIM": {*range(1, 15)},
    "HTTP": {*range(1, 21)} - {2, 18},
    "AUTH": {*range(1, 13)},
    "SCHED": {*range(1, 11)},
    "DEP": {*range(1, 14)},
    "OPS": {*range(1, 13)} - {11},
}


def _rows() -> dict[str, str]:
    return {number: held_by for number, _, held_by in ROW.findall(DOCUMENT)}


def _missing(held_by: str) -> list[str]:
    """Give what is named and does not exist."""
    missing = []
    for file, test in NAMED.findall(held_by):
        path = ROOT / "tests" / file
        if not path.exists() or (test and not re.search(rf"def {test}\(", path.read_text())):
            missing.append(f"{file}::{test}")
    return missing


def test_every_threat_has_one_row() -> None:
    wanted = {f"{family}-{number:02}" for family, numbers in THREATS.items() for number in numbers}
    counted = Counter(number for number, _, _ in ROW.findall(DOCUMENT))
    assert counted.keys() == wanted
    assert max(counted.values()) == 1


def test_every_row_names_a_test_that_exists_or_a_reason() -> None:
    for number, held_by in _rows().items():
        assert _missing(held_by) == [], number
        assert NAMED.search(held_by) or re.match(r"\*reason\*: .{10}", held_by), (number, held_by)


def test_every_row_of_isolation_names_its_twin() -> None:
    for number, held_by in _rows().items():
        if number.startswith("ISO") and not held_by.startswith("*reason*"):
            _, twin, names = held_by.partition("; twin: ")
            assert twin and NAMED.search(names), (number, held_by)


def test_a_wrong_name_would_be_seen() -> None:
    assert _missing("`spec/test_security.py::test_every_threat_has_one_row`") == []
    assert _missing("`spec/test_security.py::test_nothing`, `spec/test_nothing.py`") == [
        "spec/test_security.py::test_nothing",
        "spec/test_nothing.py::",
    ]


def test_every_guard_of_the_doctor_is_explained() -> None:
    _, _, levels = DOCUMENT.partition("### The levels of `insecure_sandbox`")
    table, _, _ = levels.partition("\n## ")
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)))
    assert sorted(explained) == sorted(
        each.name for each in doctor.probe(docker_socket="/nonexistent").guards
    )
