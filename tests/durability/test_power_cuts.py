"""What a host acknowledged outlives power cuts of its whole machine, from start to start without a hand (OPS-05, DATA-01). `make test-vm`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_kills import Loop, replay

from tests.vm.__main__ import CACHE
from tests.vm.powered import Powered

CUTS = int(os.environ.get("POWER_CUTS", "4"))
WRITES = 60
LONGEST_DELAY_S = 3.0

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU (make test-vm)"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory for disks that is not in memory."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="power-") as made:
        yield Path(made)


def cut_power(loop: Loop) -> None:
    """Let the host take writes for a moment, cut the power while it does, and switch on again."""
    loop.wait_for_acknowledgements(WRITES)
    time.sleep(loop.chance.uniform(0, LONGEST_DELAY_S))  # the moment itself is at random
    loop.host.kill()
    loop.host.restart()
    print(
        f"acknowledged until then: {loop.count_events()['kept']}; served again after {loop.host.start_s:.0f} s"
    )


def test_power_cuts_lose_nothing_that_was_acknowledged(place: Path) -> None:
    host = Powered(place)
    try:
        loop = Loop(place, host=host)
        try:
            for _ in range(CUTS):
                cut_power(loop)
                assert not loop.count_events()["lost"], replay(loop.record)[0]
            assert loop.finish() == []
        finally:
            loop.stop()
    finally:
        host.stop()


def test_a_power_cut_shows_the_loss_of_a_host_that_waits_for_no_disk(place: Path) -> None:
    host = Powered(place, careless="syncs")
    try:
        loop = Loop(place, host=host)
        try:
            loop.wait_for_acknowledgements(WRITES)
            loop.writers.kill()
            host.kill()
            host.restart()
            try:
                lost = loop.compare()
            except ValueError as error:  # even the project's key has gone
                lost = [str(error)]
            assert lost, "a host that waits for no disk lost nothing: the cut is no cut"
        finally:
            loop.stop()
    finally:
        host.stop()
