"""What Base acknowledges is on the disk, whoever dies and whatever the disk says (DATA-01, 05, 06, 07)."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from base_client import BaseClient
from faulty import FaultyDisk

from microhost.base.http import create_app
from microhost.errors import HostError, OverloadedError, StorageFullError
from microhost.storage import committing
from microhost.storage.base_file import StoredItem
from microhost.storage.bases import Bases

pytestmark = pytest.mark.anyio
WAL = ("-wal",)

WRITER = """
import asyncio, sys, json
from pathlib import Path
from microhost.storage.bases import Bases
from microhost.storage.base_file import StoredItem

async def write(bases, worker, start):
    for n in range(start, start + 1_000_000):
        key = f"{worker}-{n:07}"
        item = StoredItem(key.encode(), json.dumps({"key": key, "n": n}))
        if sys.argv[2] == "early":
            print(key, flush=True)
        await bases.put("p", "b", [item])
        if sys.argv[2] != "early":
            print(key, flush=True)

async def main():
    bases = Bases(Path(sys.argv[1]))
    await asyncio.gather(*(write(bases, worker, int(sys.argv[3])) for worker in range(8)))

asyncio.run(main())
"""


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    """Give a disk that can fail."""
    disk = FaultyDisk()
    yield disk
    disk.unregister()


def item(key: str, **fields: object) -> StoredItem:
    """Make an item."""
    return StoredItem(key.encode(), json.dumps({"key": key, **fields}))


async def until(probe: Callable[[], bool]) -> None:
    """Let the loop turn until `probe` holds."""
    deadline = time.monotonic() + 20
    while not probe():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def kill_while_writing(directory: Path, manner: str, start: int, count: int) -> set[str]:
    """Let a process write and acknowledge, kill it, and give the keys that it acknowledged."""
    command = [sys.executable, "-c", WRITER, str(directory), manner, str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return {line.strip() for line in lines if line.endswith("\n")}


def read_keys(directory: Path) -> set[str]:
    """Give the keys that are on the disk, all items being whole."""
    sql = apsw.Connection(str(directory / "p.db"))
    assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    rows = sql.execute("SELECT key, body FROM items").fetchall()
    sql.close()
    keys = {bytes(key).decode() for key, _ in rows}  # type: ignore[arg-type]
    assert keys == {json.loads(str(body))["key"] for _, body in rows}
    return keys


def test_no_acknowledged_item_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for round_number in range(6):
        acknowledged |= kill_while_writing(tmp_path, "late", round_number * 10**6, random.randint(10, 400))
        assert acknowledged <= read_keys(tmp_path)
    assert len(acknowledged) > 100


def test_the_kill_test_sees_the_loss_of_a_writer_that_acknowledges_early(tmp_path: Path) -> None:
    for round_number in range(20):
        acknowledged = kill_while_writing(tmp_path, "early", round_number * 10**6, 50)
        if not acknowledged <= read_keys(tmp_path):
            return
    pytest.fail("a writer that acknowledges early lost nothing: the test is blind")


async def test_nothing_is_acknowledged_before_it_is_on_the_disk(disk: FaultyDisk, bases: Bases) -> None:
    await bases.put("p", "b", [item("a")])
    disk.may_sync.clear()
    waiting = asyncio.ensure_future(bases.put("p", "b", [item("b")]))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    assert await bases.find("p", "b", b"b") is None
    disk.may_sync.set()
    await waiting
    assert await bases.find("p", "b", b"b") is not None


async def test_writes_of_the_same_moment_share_their_waits_for_the_disk(
    disk: FaultyDisk, bases: Bases
) -> None:
    await bases.put("p", "b", [item("first")])
    before = disk.sync_count
    disk.may_sync.clear()
    writes = [asyncio.ensure_future(bases.put("p", "b", [item(f"{n}")])) for n in range(200)]
    await asyncio.sleep(0)
    disk.may_sync.set()
    await asyncio.gather(*writes)
    assert disk.sync_count - before <= 10
    for n in range(200):
        assert await bases.find("p", "b", f"{n}".encode()) is not None


async def test_a_failed_sync_is_no_success_and_the_next_write_works(
    disk: FaultyDisk, bases: Bases, base: BaseClient, tmp_path: Path
) -> None:
    await base.put_items({"key": "a", "n": 1})
    disk.fail_sync = WAL
    answers = await asyncio.gather(
        base.put_items({"key": "a", "n": 2}),
        base.insert({"key": "b"}),
        base.update("a", set={"n": 3}),
        base.remove("a"),
    )
    assert [answer.status_code for answer in answers] == [500] * 4
    for answer in answers:
        assert "incident" in answer.json()["errors"][0]
        assert "injected" not in answer.text
    assert (await base.find("a")).json() == {"key": "a", "n": 1}
    disk.fail_sync = ()
    assert (await base.put_items({"key": "c"})).status_code == 207
    assert {each["key"] for each in await base.fetch()} == {"a", "c"}
    await bases.stop()
    again = Bases(tmp_path / "base")
    async with BaseClient(create_app(again), "/v1/a0project/things") as base:
        assert {each["key"] for each in await base.fetch()} == {"a", "c"}
    await again.stop()


async def test_a_full_disk_is_507_and_recovers(disk: FaultyDisk, base: BaseClient) -> None:
    await base.put_items({"key": "a", "n": 1})
    disk.fail_write = WAL
    for answer in (await base.put_items({"key": "a", "n": 2}), await base.insert({"key": "b"})):
        assert answer.status_code == 507
        assert answer.json()["errors"] == [
            "The disk is full; nothing was stored. Free some space, then try again."
        ]
    assert (await base.find("a")).json()["n"] == 1
    disk.fail_write = ()
    assert (await base.insert({"key": "b"})).status_code == 201
    assert {each["key"] for each in await base.fetch()} == {"a", "b"}


async def test_bases_leave_room_on_the_disk_for_deletions(
    base: BaseClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        await base.put_items({"key": f"k{number}", "text": "x" * 100_000})
    monkeypatch.setattr("microhost.storage.base_file.free_bytes", lambda _below, _reserve: 1000)
    for answer in (
        await base.put_items({"key": "a"}),
        await base.insert({"key": "b"}),
        await base.update("k0", set={"n": 1}),
    ):
        assert answer.status_code == 507
    for number in range(10):
        assert (await base.remove(f"k{number}")).status_code == 200
    assert (await base.insert({"key": "b"})).status_code == 201


async def test_a_disk_that_fails_at_random_never_makes_a_false_success(
    disk: FaultyDisk, base: BaseClient
) -> None:
    chance = random.Random(3)
    known: dict[str, set[int | None]] = {f"k{n}": {None} for n in range(5)}
    for n in range(300):
        disk.fail_sync = WAL if chance.random() < 0.2 else ()
        disk.fail_write = chance.choice([(), (), (), (), WAL, ("db",)])
        key = chance.choice(sorted(known))
        answer = await base.put_items({"key": key, "n": n})
        assert answer.status_code in (207, 500, 507)
        if answer.status_code == 207:
            known[key] = {n}
        else:
            known[key].add(n)
        found = (await base.find(key)).json().get("n")
        assert found in known[key]
    disk.fail_sync = disk.fail_write = ()
    assert (await base.put_items({"key": "end"})).status_code == 207


async def test_a_refused_piece_undoes_itself_alone(disk: FaultyDisk, bases: Bases) -> None:
    await bases.put("p", "b", [item("taken")])
    disk.may_sync.clear()
    first = asyncio.ensure_future(bases.put("p", "b", [item("0")]))
    await asyncio.sleep(0.01)
    writes = [
        bases.insert("p", "b", item("taken")),
        bases.insert("p", "b", item("1")),
        bases.insert("p", "b", item("1")),
    ]
    gathered = asyncio.gather(*writes, return_exceptions=True)
    await asyncio.sleep(0)
    disk.may_sync.set()
    await first
    results = await gathered
    assert [type(each).__name__ for each in results] == ["ConflictError", "NoneType", "ConflictError"]


async def test_no_increment_is_lost_and_an_insert_wins_once(base: BaseClient) -> None:
    await base.put_items({"key": "a", "n": 0})

    async def work() -> int:
        won = 0
        for n in range(125):
            assert (await base.update("a", increment={"n": 1})).status_code == 200
            won += (await base.insert({"key": f"i{n}"})).status_code == 201
        return won

    assert sum(await asyncio.gather(*(work() for _ in range(8)))) == 125
    assert (await base.find("a")).json()["n"] == 1000


async def test_closing_loses_nothing_that_was_accepted(bases: Bases, tmp_path: Path) -> None:
    await bases.put("p", "b", [item("first")])
    writes = [asyncio.ensure_future(bases.put("p", "b", [item(f"{n}")])) for n in range(300)]
    await asyncio.sleep(0)
    await bases.stop()
    await asyncio.gather(*writes)
    assert len(read_keys(tmp_path / "base")) == 301
    with pytest.raises(HostError):
        await bases.put("p", "b", [item("late")])
    await bases.stop()


async def test_a_write_whose_caller_went_away_is_whole(bases: Bases, disk: FaultyDisk) -> None:
    disk.may_sync.set()
    await bases.put("p", "b", [item("first")])
    disk.may_sync.clear()
    write = asyncio.ensure_future(bases.put("p", "b", [item("a"), item("b")]))
    await asyncio.sleep(0.01)
    write.cancel()
    disk.may_sync.set()
    await bases.put("p", "b", [item("c")])
    assert [await bases.find("p", "b", key) is not None for key in (b"a", b"b", b"c")] == [True] * 3


async def test_more_writes_than_may_wait_are_refused(
    bases: Bases, base: BaseClient, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await base.put_items({"key": "a"})
    monkeypatch.setattr(committing, "BASE_WRITES_WAITING", 10)
    disk.may_sync.clear()
    writes = [asyncio.ensure_future(base.put_items({"key": f"{n}"})) for n in range(10)]
    await until(lambda: bases.waiting_count("a0project") == 10)
    refused = await base.put_items({"key": "b"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    disk.may_sync.set()
    assert [answer.status_code for answer in await asyncio.gather(*writes)] == [207] * 10
    assert (await base.put_items({"key": "b"})).status_code == 207


def test_the_failures_are_what_they_say() -> None:
    assert issubclass(StorageFullError, HostError)
    assert not issubclass(OverloadedError, HostError)
