"""Give contract tests a guest of each interpreter."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.contract.harness import Guest, find_interpreters, write_files

StartGuest = Callable[..., Guest]


@pytest.fixture(params=find_interpreters(), ids=lambda path: Path(path).name)
def python(request: pytest.FixtureRequest) -> str:
    """Name one interpreter."""
    return str(request.param)


@pytest.fixture
def start_guest(python: str, tmp_path: Path) -> Iterator[StartGuest]:
    """Start guests on bundles given as `{name: text}`, or as the text of main.py."""
    guests: list[Guest] = []

    def start(bundle: str | Mapping[str, str] = "", dependencies: Mapping[str, str] | None = None) -> Guest:
        root = tmp_path / f"root{len(guests)}"
        (root / "micro").mkdir(parents=True)
        files = {"main.py": bundle} if isinstance(bundle, str) else bundle
        write_files(root / "micro", {name: textwrap.dedent(text) for name, text in files.items()})
        if dependencies is not None:
            (root / "dependencies").mkdir()
            write_files(root / "dependencies", {k: textwrap.dedent(v) for k, v in dependencies.items()})
        guests.append(Guest.start(python, root))
        return guests[-1]

    yield start
    for each in guests:
        each.close()
