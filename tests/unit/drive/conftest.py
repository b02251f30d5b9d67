"""Give every test of Drive an empty data directory and a client of project `proj`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from driving_drive import Clock, client_of, open_drives

from microhost.storage.drives import Drives


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    """Give a clock that moves when it is told to."""
    return Clock()


@pytest.fixture
def drives(tmp_path: Path, clock: Clock) -> Iterator[Drives]:
    """Give Drives with the ordinary quota."""
    drives = open_drives(tmp_path, clock=clock)
    yield drives
    drives.close()


@pytest.fixture
async def client(drives: Drives) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of Drive `box`."""
    async with client_of(drives) as client:
        yield client
