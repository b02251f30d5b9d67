"""Give every test of Base an application on real files, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from base_client import BaseClient

from microhost.base.http import create_app
from microhost.storage.bases import Bases


class Clock:
    """Count seconds since 1970 as the test says."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
async def bases(tmp_path: Path, clock: Clock) -> AsyncIterator[Bases]:
    """Give the store."""
    bases = Bases(tmp_path / "base", now=clock)
    yield bases
    await bases.stop()


@pytest.fixture
async def base(bases: Bases) -> AsyncIterator[BaseClient]:
    """Give a client for the Base `things` of the project `a0project`."""
    async with BaseClient(create_app(bases), "/v1/a0project/things") as client:
        yield client
