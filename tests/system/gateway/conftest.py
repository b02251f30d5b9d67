"""Give the gateway's tests a host without sandboxes (see unboxed.py), shared by a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.gateway.host import Host

NewHost = Callable[..., Host]


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[NewHost]:
    """Start hosts with settings of their own."""
    hosts: list[Host] = []

    def start(**options: Any) -> Host:
        hosts.append(Host(tmp_path / f"host{len(hosts)}", **options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Give one host to all tests of a module."""
    started = Host(tmp_path_factory.mktemp("host"))
    yield started
    started.close()
