"""Give escape tests real sandboxes (`escape_lab.py`).

Fixtures
    lab        one warden for the test module, all guards on. `lab.start(source) -> Micro` boots a sandbox and attaches
               code; `micro.attack(argument)` runs `attack(argument)` of that source in a fresh executor and gives
               its result (AttackError with `.errno` when it raised); `micro.lease() -> Executor` for more.
    new_lab    a function: `new_lab(guards=Guards(new_network=False), **WardenSettings)` starts another warden, for a
               known-bad twin or a test that kills it; all are stopped at the end of the test.

All need root, so tests that use them carry the mark `root`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from escape_lab import ENGINE, Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start one warden for the whole module."""
    running = Lab(tmp_path_factory.mktemp("data")).serve()
    yield running
    running.stop()


@pytest.fixture
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """Start further wardens, each with a data directory of its own unless `data` is given."""
    started: list[Lab] = []

    def start(*, data: Path | None = None, **settings: Any) -> Lab:
        if ENGINE in os.environ and "guards" in settings:
            pytest.skip("a container's guards have no switches: there is no twin without one")
        running = Lab(data or tmp_path_factory.mktemp("data"), **settings).serve()
        started.append(running)
        return running

    yield start
    for each in started:
        each.stop()
