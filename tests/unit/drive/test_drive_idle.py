"""An index that nobody uses holds no connection, and is there again for the next request."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from driving_drive import (
    PROJECT,
    Clock,
    client_of,
    finish,
    get,
    open_drives,
    put,
    send_part,
    start,
    wait_until,
)

from microhost.drive.upkeep import Upkeep
from microhost.errors import NotFoundError
from microhost.storage.drives import Drives

pytestmark = pytest.mark.anyio


async def test_idle_indexes_are_closed_and_open_again(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    await put(client, "a", b"one")
    upload = await start(client, "big")
    await send_part(client, upload, "big", 1, b"first")
    drives.close_idle(1000)
    assert drives.open_count == 1
    drives.close_idle(0)
    assert drives.open_count == 0
    assert not (tmp_path / "drive" / f"{PROJECT}.db-wal").exists()
    await send_part(client, upload, "big", 2, b"second")
    drives.close_idle(0)
    assert (await finish(client, upload, "big")).status_code == 200
    drives.close_idle(0)
    assert (await get(client, "a")).content == b"one"
    assert (await get(client, "big")).content == b"firstsecond"
    assert drives.open_count == 1


async def test_an_index_in_use_is_not_closed_however_long_it_takes(
    client: httpx.AsyncClient, drives: Drives
) -> None:
    await put(client, "a")
    index = drives.of(PROJECT)._index
    with index._write() as sql:
        drives.close_idle(0)
        assert drives.open_count == 1
        assert sql.execute("SELECT count(*) FROM files").fetchone() == (1,)


async def test_indexes_come_and_go_under_those_who_use_them(drives: Drives) -> None:
    stop = threading.Event()

    def close_all_the_time() -> None:
        while not stop.is_set():
            drives.close_idle(0)

    with ThreadPoolExecutor() as threads:
        closing = threads.submit(close_all_the_time)
        try:
            async with client_of(drives) as client:
                for number in range(60):
                    await put(client, f"{number % 5}", b"%d" % number)
                    assert (await get(client, f"{number % 5}")).content == b"%d" % number
        finally:
            stop.set()
        closing.result(20)


async def test_the_least_recently_used_index_is_closed_when_too_many_are_open(
    drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microhost.storage.drives.DRIVE_INDEXES_OPEN", 3)
    for _ in range(2):
        for number in range(8):
            async with client_of(drives, project=f"project{number}") as client:
                await put(client, "a", b"%d" % number)
                assert drives.open_count <= 4
    assert drives.of("project7").is_open and not drives.of("project0").is_open
    for number in range(8):
        async with client_of(drives, project=f"project{number}") as client:
            assert (await get(client, "a")).content == b"%d" % number


async def test_the_upkeep_closes_idle_indexes_by_itself(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microhost.drive.upkeep.CLOSE_IDLE_S", 0.01)
    drives = open_drives(tmp_path, clock=clock)
    monkeypatch.setattr(drives, "close_idle", lambda: Drives.close_idle(drives, 0))
    async with client_of(drives) as client:
        await put(client, "a")
        upkeep = Upkeep(drives, clock=clock)
        upkeep.start()
        wait_until(lambda: drives.open_count == 0, "the index is closed")
        upkeep.stop()
        assert (await get(client, "a")).status_code == 200
    drives.close()


async def test_a_host_that_drains_makes_no_file_for_a_project_that_its_successor_deleted(
    tmp_path: Path, clock: Clock
) -> None:
    known = {PROJECT}
    draining, successor = (
        Drives(tmp_path, quota_bytes=10**9, clock=clock, is_known=known.__contains__) for _ in range(2)
    )
    async with client_of(draining) as client:
        await put(client, "a")
        draining.close_idle(0)
        known.clear()
        successor.delete_project(PROJECT)
        for answer in (
            await client.post("/files?name=b", content=b"x"),
            await client.get("/files"),
            await get(client, "a"),
        ):
            assert answer.status_code == 404, answer.text
            assert not list((tmp_path / "drive").iterdir())
    with pytest.raises(NotFoundError):
        Drives(tmp_path, quota_bytes=10**9, clock=clock, is_known=known.__contains__).of(PROJECT)
    assert not list((tmp_path / "drive").iterdir())
    draining.close()
    successor.close()


async def test_who_uses_an_index_while_its_project_is_deleted_is_told_that_it_is_gone(drives: Drives) -> None:
    database = drives.of(PROJECT)._index.database
    with pytest.raises(NotFoundError), database._use() as opened:
        drives.delete_project(PROJECT)
        opened.rows("SELECT 1")
    with pytest.raises(NotFoundError):
        database.rows("SELECT 1")


async def test_a_write_that_a_deletion_overtakes_is_told_that_the_project_is_gone(drives: Drives) -> None:
    database = drives.of(PROJECT)._index.database
    with pytest.raises(NotFoundError), database.write() as sql:
        drives.delete_project(PROJECT)
        sql.execute("DELETE FROM files")


async def test_requests_around_a_deletion_of_their_project_never_fail_otherwise(
    drives: Drives, tmp_path: Path
) -> None:
    statuses = set()
    for turn in range(10):
        async with client_of(drives, project=f"turn{turn}") as client:
            await put(client, "a", b"x" * 100_000)
            acts = [
                act
                for n in range(12)
                for act in (
                    client.post(f"/files?name={n}", content=b"y" * 70_000),
                    client.get("/files"),
                    get(client, "a"),
                    client.post("/uploads?name=u"),
                    client.request("DELETE", "/files", json={"names": [f"{n}"]}),
                )
            ]
            going = asyncio.gather(*acts)
            await asyncio.sleep(0.002 * turn)
            await asyncio.to_thread(drives.delete_project, f"turn{turn}")
            statuses |= {answer.status_code for answer in await going}
    assert 404 in statuses and statuses <= {200, 201, 202, 404}, statuses
    assert not list((tmp_path / "drive").iterdir())
