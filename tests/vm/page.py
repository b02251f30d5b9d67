"""Read the commands of a page: the indented blocks of its numbered steps and of its points. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "docs" / "server.md"
_STEP = re.compile(r"(?:\d+\.|\*) \*\*(.+?)\.?\*\*")
_BLOCK = re.compile(r" {6,7}(\S.*)")
_COMMENT = re.compile(r"\s+# (.*)$")


@dataclass(frozen=True)
class Line:
    """Be one line of a block: what is typed, and the comment after it."""

    typed: str
    comment: str = ""


def read_steps(file: Path = SERVER) -> dict[str, tuple[Line, ...]]:
    """Give the lines of every step by its name, in the page's order; those of a step without a block are none.

    Raises: ValueError for a block that belongs to no step, or two steps of one name.
    """
    steps: dict[str, list[Line]] = {}
    name = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := _STEP.match(line):
            name = found[1]
            if name in steps:
                raise ValueError(f"{file.name}: there are two steps '{name}'")
            steps[name] = []
        elif line.startswith("#"):
            name = ""
        elif found := _BLOCK.fullmatch(line):
            if not name:
                raise ValueError(f"{file.name}: '{found[1]}' belongs to no step")
            steps[name].append(_split(found[1]))
    return {name: tuple(lines) for name, lines in steps.items()}


def _split(text: str) -> Line:
    comment = _COMMENT.search(text)
    return Line(text, "") if comment is None else Line(text[: comment.start()], comment[1])
