"""One real host for all system tests; every test makes Micros of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.driving import Host, Micro

NAMES = itertools.count(1)


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host that runs for the whole session. Tests that kill or restart one start their own."""
    running = Host(tmp_path_factory.mktemp("host") / "data")
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="session")
def project(host: Host) -> str:
    """A project that the session's Micros live in."""
    return str(host.new_project("system-tests")["id"])


@pytest.fixture
def new_micro(host: Host, project: str) -> Iterator[Callable[..., Micro]]:
    """Make Micros (public unless told otherwise) that are removed after the test."""
    made: list[Micro] = []

    def make(**settings: object) -> Micro:
        made.append(host.new_micro(project, f"micro-{next(NAMES)}", **settings))
        return made[-1]

    yield make
    for micro in made:
        micro.delete()
