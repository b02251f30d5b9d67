"""Give every test of the console a host on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from standins import Host, build_host


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Give a console on an empty data directory."""
    host = build_host(tmp_path / "data")
    yield host
    host.stores.close()


@pytest.fixture
async def client(host: Host) -> AsyncIterator[httpx.AsyncClient]:
    """Give the owner's client."""
    async with host.client() as client:
        yield client
