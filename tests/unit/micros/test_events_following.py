"""A follower gets everything, or is told that it did not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microhost.limits import FOLLOWER_CHARACTERS, FOLLOWER_RECORDS
from microhost.micros.events import BehindError, Ended, Executions
from microhost.records import Execution
from microhost.storage.events import EVERY, EventStore
from microhost.storage.exchanges import ExchangeStore

ENDED = Execution(
    id="e0",
    micro_id="m",
    revision_id="r",
    trigger="http",
    started_at=datetime(2026, 11, 1, tzinfo=UTC),
    duration_s=0.0,
    queued_s=0.0,
    start="warm",
    status=200,
)
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Use asyncio."""
    return "asyncio"


@pytest.fixture
def executions(tmp_path: Path) -> Iterator[Executions]:
    """Give executions on empty stores."""
    store = EventStore(tmp_path / "events.db", clock=lambda: ENDED.started_at)
    exchanges = ExchangeStore(tmp_path / "visor.db", clock=lambda: ENDED.started_at)
    yield Executions(store, exchanges)
    exchanges.close()
    store.close()


async def ids_of(following: AsyncIterator[list[Ended]]) -> list[str]:
    """Give the ids of what comes next."""
    return [each.execution.id for each in await anext(following)]


async def test_a_follower_that_is_too_slow_is_told_so(executions: Executions) -> None:
    executions.record(ENDED)
    following = executions.follow("m", limit=1)
    assert await ids_of(following) == ["e0"]
    for number in range(1, FOLLOWER_RECORDS + 500):
        executions.record(replace(ENDED, id=f"e{number}"))
    got = []
    with pytest.raises(BehindError):
        async for ended in following:
            got += [each.execution.id for each in ended]
    assert got == [f"e{number}" for number in range(1, FOLLOWER_RECORDS + 1)]


async def test_a_slow_follower_of_long_logs_holds_little(executions: Executions) -> None:
    following = executions.follow("m", limit=1)
    executions.record(ENDED)
    assert await ids_of(following) == ["e0"]
    log = "x" * (FOLLOWER_CHARACTERS // 4)
    for number in range(1, 10):
        executions.record(replace(ENDED, id=f"e{number}", log=log))
    assert len(await ids_of(following)) == 4
    with pytest.raises(BehindError):
        await anext(following)


async def test_what_ends_is_written_once_for_all_who_follow(executions: Executions) -> None:
    executions.record(ENDED)
    followings = [executions.follow("m", limit=1) for _ in range(3)]
    for following in followings:
        assert await ids_of(following) == ["e0"]
    executions.record(replace(ENDED, id="e1"))
    executions.record(replace(ENDED, id="e2"))
    gathered = [await anext(following) for following in followings]
    writings: list[str] = []

    def write(execution: Execution) -> str:
        writings.append(execution.id)
        return execution.id

    assert [[each.written(write) for each in ended] for ended in gathered] == [["e1", "e2"]] * 3
    assert writings == ["e1", "e2"]
    for following in followings:
        await following.aclose()  # type: ignore[attr-defined]


async def test_a_follower_goes_on_after_the_last_it_had(executions: Executions) -> None:
    for number in range(10):
        executions.record(replace(ENDED, id=f"e{number}"))
    following = executions.follow("m", limit=0, after="e6")
    assert await ids_of(following) == ["e7", "e8", "e9"]
    executions.record(replace(ENDED, id="e10"))
    assert await ids_of(following) == ["e10"]
    await following.aclose()  # type: ignore[attr-defined]


async def test_a_follower_that_was_away_too_long_is_told_so(executions: Executions) -> None:
    for number in range(FOLLOWER_RECORDS + 2):
        executions.record(replace(ENDED, id=f"e{number}"))
    for after in ("e0", "unknown"):
        with pytest.raises(BehindError):
            await anext(executions.follow("m", limit=0, after=after))


async def test_a_text_is_looked_for_beyond_many_records_without_it(executions: Executions) -> None:
    executions.record(replace(ENDED, id="found", log="a Needle here"))
    for number in range(1_200):
        executions.record(replace(ENDED, id=f"e{number}"))
    found, last = await executions.page("m", limit=5, wanted=replace(EVERY, text="needle"))
    assert ([each.id for each in found], last) == (["found"], None)
