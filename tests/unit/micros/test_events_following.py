"""A follower gets everything, or is told that it did not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from microhost.errors import NotFoundError
from microhost.limits import FOLLOWER_CHARACTERS, FOLLOWER_RECORDS
from microhost.micros.events import PIECE_CHARACTERS, BehindError, Ended, Executions
from microhost.records import Execution, Micro, RawExchange
from microhost.storage.event_search import EVERY
from microhost.storage.events import EventStore
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
def micros() -> dict[str, Micro]:
    """Give the Micros there are."""
    visible = Micro("m", "p", "m", "python3.11", "abcdef", ENDED.started_at, visor=True)
    return {"m": visible}


@pytest.fixture
def executions(tmp_path: Path, micros: dict[str, Micro]) -> Iterator[Executions]:
    """Give executions of these Micros on empty stores."""
    store = EventStore(tmp_path / "events.db", clock=lambda: ENDED.started_at)
    exchanges = ExchangeStore(tmp_path / "visor.db", clock=lambda: ENDED.started_at, reserve_bytes=0)
    yield Executions(store, exchanges, micros.get)
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
    past = executions.past("m", limit=5, wanted=replace(EVERY, text="needle"))
    assert [[each.id for each in piece] async for piece in past] == [["found"]]


EXCHANGE = RawExchange(
    id="e0",
    micro_id="m",
    started_at=ENDED.started_at,
    head=b"",
    request=b"kept?",
    request_bytes=5,
    status=200,
    lines=b"",
    response=b"",
    response_bytes=0,
)


async def test_an_exchange_is_not_kept_when_visor_was_switched_off_meanwhile(
    executions: Executions, micros: dict[str, Micro]
) -> None:
    assert executions.record(ENDED, EXCHANGE).visor is True
    micros["m"] = replace(micros["m"], visor=False)
    assert executions.record(replace(ENDED, id="e1"), replace(EXCHANGE, id="e1")).visor is False
    found, _ = await executions.page("m", limit=10)
    assert [(each.id, each.visor) for each in found] == [("e1", False), ("e0", True)]
    with pytest.raises(NotFoundError):
        await executions.get_exchange("m", "e1")


async def test_nothing_is_kept_of_a_micro_that_was_deleted_and_its_followers_end(
    executions: Executions, micros: dict[str, Micro]
) -> None:
    executions.record(ENDED, EXCHANGE)
    following = executions.follow("m", limit=1)
    assert await ids_of(following) == ["e0"]
    del micros["m"]
    await executions.forget("m")
    executions.record(replace(ENDED, id="e1"), replace(EXCHANGE, id="e1"))
    assert [ended async for ended in following] == []
    assert await executions.page("m", limit=10) == ([], None)
    # one that was let in just before finds the end, too
    assert [ended async for ended in executions.follow("m", limit=1)] == []
    for identity in ("e0", "e1"):
        with pytest.raises(NotFoundError):
            await executions.get_exchange("m", identity)


async def test_a_past_of_long_logs_comes_in_pieces(executions: Executions) -> None:
    log = "x" * (PIECE_CHARACTERS // 4)
    for number in range(10):
        executions.record(replace(ENDED, id=f"e{number}", log=log))
    pieces = [[each.id for each in piece] async for piece in executions.past("m", limit=9)]
    assert pieces == [["e1", "e2", "e3", "e4"], ["e5", "e6", "e7", "e8"], ["e9"]]
