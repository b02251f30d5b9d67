"""Give tests Docker's daemon, a warden whose sandboxes are its containers, and a whole host on it.

All need root and Debian's docker.io, so tests that use them carry the marks `root` and `docker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import docker_engine
from tests.escapes.escape_lab import Lab


@pytest.fixture(scope="session")
def engine() -> Iterator[Path]:
    """Start one daemon for all tests; gives its socket."""
    with docker_engine.engine() as socket_path:
        yield socket_path


@pytest.fixture(scope="module")
def lab(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start one warden for the whole module."""
    running = Lab(tmp_path_factory.mktemp("data"), driver="docker", docker_socket=engine).serve()
    yield running
    running.stop()


@pytest.fixture
def new_lab(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """Start further wardens, each with a data directory of its own unless `data` is given."""
    started: list[Lab] = []

    def start(*, data: Path | None = None, **settings: Any) -> Lab:
        chosen = {"driver": "docker", "docker_socket": engine, **settings}
        running = Lab(data or tmp_path_factory.mktemp("data"), **chosen).serve()
        started.append(running)
        return running

    yield start
    for each in started:
        each.stop()
