"""How long who asked first waits for a Micro that starts slowly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from microhost.limits import QUEUE_WAIT_S
from microhost.micros.executor import Executor
from microhost.micros.pool import Fleet, Pools
from microhost.micros.template import Template
from microhost.micros.work import Work
from microhost.records import Micro, Revision
from microhost.settings import Settings
from sandbox.client import Evidence, Lease, WardenClient

MICRO = Micro("micro00001", "project1", "blog", "python3.11", "m", datetime.now(UTC))
REVISION = Revision("revision01", MICRO.id, 1, datetime.now(UTC), "python3.11", None, 1, 1)


class Waiting(Work):
    """Be an execution that only tells whether it was refused."""

    def __init__(self) -> None:
        super().__init__(MICRO)
        self.refusals: list[Exception] = []

    def refused(self, error: Exception) -> None:
        self.refusals.append(error)


@contextlib.contextmanager
def leased(home: Template) -> Iterator[Executor]:
    """Make an executor without a process, on its way to who asked for it."""
    ours, theirs = socket.socketpair()
    null = [os.open(os.devnull, os.O_RDWR) for _ in range(2)]
    pipes = [os.pipe(), os.pipe()]
    lease = Lease("x", "s", False, ours, pipes[0][0], pipes[1][0], *null, b"f", b"t")
    executor = Executor(home, lease, asyncio.get_running_loop())
    home.leasing += 1
    home.executors[executor.id] = executor
    yield executor
    executor.finish(Evidence("killed", -9, None, None))
    theirs.close()
    for each in (pipes[0][1], pipes[1][1]):
        os.close(each)


def test_a_turn_between_ready_and_its_news_refuses_nobody() -> None:
    asyncio.run(_turn_between())


async def _turn_between() -> None:
    pools = Pools(cast(WardenClient, None), Settings(), lambda *_: None)
    fleet, work = Fleet(MICRO), Waiting()
    template = fleet.live = Template(pools, fleet, "s", revision=REVISION, mode="fork", log=None)
    fleet.queue.append(work)
    now = work.asked_at + QUEUE_WAIT_S + 1
    with leased(template) as executor:
        executor.frame_received(b'r{"ok": true}', b"")
        assert executor.ready.done()
        pools._tend_queue(fleet, now)
        assert work.refusals == [], "it has waited for the start, not for its turn"
        executor.serves = True
        pools._tend_queue(fleet, now)
        assert len(work.refusals) == 1, "who waits that long while others are served is refused"
