"""A follower gets everything, or is told that it did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microhost.micros.events import FOLLOWER_RECORDS, BehindError, Executions
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


async def test_a_follower_that_is_too_slow_is_told_so(executions: Executions) -> None:
    executions.record(ENDED)
    following = executions.follow("m", limit=1)
    assert (await anext(following)).id == "e0"
    for number in range(1, FOLLOWER_RECORDS + 500):
        executions.record(replace(ENDED, id=f"e{number}"))
    got = []
    with pytest.raises(BehindError):
        async for each in following:
            got.append(each.id)
    assert got == [f"e{number}" for number in range(1, FOLLOWER_RECORDS + 1)]


async def test_a_follower_goes_on_after_the_last_it_had(executions: Executions) -> None:
    for number in range(10):
        executions.record(replace(ENDED, id=f"e{number}"))
    following = executions.follow("m", limit=0, after="e6")
    assert [(await anext(following)).id for _ in range(3)] == ["e7", "e8", "e9"]
    executions.record(replace(ENDED, id="e10"))
    assert (await anext(following)).id == "e10"
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
