"""Give every test of the console a host on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from standins import Host, build_host

from tests.name_server import NameServer, serving_names


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    """Run the name server that the host asks."""
    with serving_names() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, name_server: NameServer) -> Iterator[Host]:
    """Give a console on an empty data directory."""
    host = build_host(tmp_path / "data", name_server)
    yield host
    host.stores.close()


@pytest.fixture
async def client(host: Host) -> AsyncIterator[httpx.AsyncClient]:
    """Give the owner's client."""
    async with host.client() as client:
        yield client
