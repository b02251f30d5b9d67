"""A log that cannot be written costs the log, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.driving import Host, Micro, wait_until, zip_app

pytestmark = pytest.mark.root
COMMAND = str(Path(sys.executable).parent / "microhost")


@pytest.fixture
def own_host(tmp_path: Path) -> Iterator[Host]:
    """A host whose standard error is a full disk."""
    host = Host(tmp_path / "data", command=["/bin/sh", "-c", 'exec "$@" 2>/dev/full', "sh", COMMAND])
    yield host
    host.stop()


def test_a_host_whose_log_is_full_serves_records_and_starts_again(own_host: Host) -> None:
    micro = own_host.new_micro(str(own_host.get("/projects")["projects"][0]["id"]), "m", visor=True)
    micro.must_deploy(zip_app("plain-asgi"))
    micro.call("/first")
    assert micro.events()[0]["path"] == "/first"
    own_host.kill_host_process()
    wait_until(lambda: _answers(micro), "the host to serve again", timeout_s=30)
    micro.call("/second")
    assert micro.events()[0]["path"] == "/second"


def _answers(micro: Micro) -> bool:
    try:
        return micro.call("/up").status_code < 500
    except httpx.HTTPError:
        return False
