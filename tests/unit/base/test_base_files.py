"""Bases expire, are listed and indexed, and their files open and close by themselves (DATA-10)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import apsw
import pytest
from base_client import BaseClient

from microhost.base.http import create_app
from microhost.base.query import parse
from microhost.base.query_sql import compile_query
from microhost.errors import ClientError, ConflictError, HostError, NotFoundError
from microhost.limits import BASE_INDEXES
from microhost.storage.base_file import BaseFile, StoredItem, open_reader
from microhost.storage.base_pages import Wanted
from microhost.storage.bases import Bases

pytestmark = pytest.mark.anyio


def count_rows(tmp_path: Path, table: str = "items", project: str = "a0project") -> int:
    """Count what is on the disk."""
    sql = apsw.Connection(str(tmp_path / "base" / f"{project}.db"))
    found = sql.execute(f"SELECT count(*) FROM {table}").fetchone()
    sql.close()
    assert found is not None
    return int(found[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("lasts_s", [1, 0.5, 86_400, 8_000 * 365 * 86_400])
async def test_an_item_is_gone_at_its_second_and_not_before(
    base: BaseClient, clock: Any, lasts_s: float
) -> None:
    expires = clock.now + lasts_s
    item = {"key": "a", "__expires": expires}
    assert (await base.put_items(item)).json() == {"processed": {"items": [item]}}
    clock.now = expires - 0.25
    assert (await base.find("a")).json() == item
    assert await base.fetch() == [item]
    assert (await base.insert({"key": "a"})).status_code == 409
    clock.now = expires
    assert (await base.find("a")).status_code == 404
    assert await base.fetch() == []
    assert (await base.update("a", set={"n": 1})).status_code == 404
    assert (await base.insert({"key": "a", "n": 2})).status_code == 201
    clock.now += 10**12
    assert (await base.find("a")).json() == {"key": "a", "n": 2}


@pytest.mark.parametrize("expires", [0, -1, -0.5, 1_699_999_999, 1_700_000_000])
async def test_storing_what_has_expired_succeeds_and_is_gone(base: BaseClient, expires: float) -> None:
    item = {"key": "a", "__expires": expires}
    await base.put_items({"key": "a", "n": 1})
    assert (await base.put_items(item)).json() == {"processed": {"items": [item]}}
    assert (await base.find("a")).status_code == 404
    assert (await base.insert(item)).status_code == 201
    assert await base.fetch() == []


async def test_an_update_renews_only_when_it_touches_the_moment(base: BaseClient, clock: Any) -> None:
    await base.put_items({"key": "a", "__expires": clock.now + 10}, {"key": "b", "__expires": clock.now + 10})
    await base.update("a", set={"n": 1})
    await base.update("b", set={"__expires": clock.now + 100})
    clock.now += 50
    assert [item["key"] for item in await base.fetch()] == ["b"]
    await base.update("b", delete=["__expires"])
    clock.now += 1000
    assert (await base.find("b")).json() == {"key": "b"}


async def test_expired_items_leave_the_disk_and_the_indexes(
    base: BaseClient, bases: Bases, clock: Any, tmp_path: Path
) -> None:
    await bases.add_index("a0project", "things", "n")
    for _ in range(30):
        await base.put_items(*({"n": n, "__expires": clock.now + 10} for n in range(25)))
    await base.put_items({"key": "stays", "n": 1})
    await bases.keep_once()
    assert (count_rows(tmp_path), count_rows(tmp_path, "entries")) == (751, 751)
    clock.now += 10
    await bases.keep_once()
    assert (count_rows(tmp_path), count_rows(tmp_path, "entries")) == (1, 1)


async def test_expired_items_leave_files_that_nobody_opens(
    base: BaseClient, bases: Bases, clock: Any, tmp_path: Path
) -> None:
    await base.put_items({"key": "a", "__expires": clock.now + 10})
    await bases.stop()
    clock.now += 11
    later = Bases(tmp_path / "base", now=clock)
    await later.look_into_next()
    assert count_rows(tmp_path) == 0
    await later.stop()


async def test_only_so_many_files_are_open_and_those_longest_unused_are_closed(tmp_path: Path) -> None:
    bases = Bases(tmp_path / "base", files_open=4)
    for round_number in range(2):
        for n in range(12):
            await bases.put(f"p{n}", "b", [StoredItem(b"%d" % round_number, "{}")])
            assert bases.open_count <= 4
    for n in range(12):
        assert await bases.find(f"p{n}", "b", b"0") == "{}"
        assert bases.open_count <= 5
    await asyncio.gather(*(bases.put(f"p{n}", "b", [StoredItem(b"2", "{}")]) for n in range(12)))
    assert [await bases.find(f"p{n}", "b", b"2") for n in range(12)] == ["{}"] * 12
    await bases.stop()


async def test_idle_files_are_closed_and_open_again(tmp_path: Path) -> None:
    bases = Bases(tmp_path / "base", idle_s=0)
    await bases.put("p", "b", [StoredItem(b"a", "{}")])
    await asyncio.sleep(0.001)
    await bases.keep_once()
    assert bases.open_count == 0
    assert not (tmp_path / "base" / "p.db-wal").exists()
    assert await bases.find("p", "b", b"a") == "{}"
    await bases.stop()


async def test_the_keeper_works_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microhost.storage.bases.KEEPER_S", 0.01)
    bases = Bases(tmp_path / "base", idle_s=0)
    await bases.start()
    await bases.put("p", "b", [StoredItem(b"a", "{}")])
    deadline = time.monotonic() + 20
    while bases.open_count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await bases.stop()


async def test_a_host_that_drains_makes_no_file_for_a_project_that_its_successor_deleted(
    tmp_path: Path,
) -> None:
    known = {"p"}
    draining = Bases(tmp_path / "base", is_known=known.__contains__)
    await draining.put("p", "b", [StoredItem(b"a", "{}")])
    await draining._close_idle(time.monotonic() + 1)
    successor = Bases(tmp_path / "base", is_known=known.__contains__)
    known.clear()
    await successor.delete_project("p")
    for act in (
        draining.put("p", "b", [StoredItem(b"b", "{}")]),
        draining.insert("p", "b", StoredItem(b"c", "{}")),
        draining.update("p", "b", b"a", lambda body: StoredItem(b"a", body)),
    ):
        with pytest.raises(NotFoundError):
            await act
        assert not list((tmp_path / "base").iterdir())
    await draining.stop()
    await successor.stop()


async def test_a_query_that_comes_too_late_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(apsw.CantOpenError):
        open_reader(tmp_path / "p.db")
    assert not list(tmp_path.iterdir())


async def test_a_deleted_project_leaves_no_file_and_takes_no_more(
    base: BaseClient, bases: Bases, tmp_path: Path
) -> None:
    await base.put_items({"key": "a"})
    await bases.put("other", "b", [StoredItem(b"a", "{}")])
    for _ in range(2):
        await bases.delete_project("a0project")
        assert sorted(file.stem for file in (tmp_path / "base").glob("*.db*") if file.suffix == ".db") == [
            "other"
        ]
        assert not list((tmp_path / "base").glob("a0project*"))
    with pytest.raises(NotFoundError):
        await bases.put("a0project", "b", [StoredItem(b"a", "{}")])
    assert (await base.put_items({"key": "late"})).status_code == 404
    assert await bases.list_bases("a0project") == []
    assert await bases.find("other", "b", b"a") == "{}"


async def test_a_start_removes_what_a_killed_deletion_left(tmp_path: Path) -> None:
    before = Bases(tmp_path / "base")
    for project in ("kept", "gone"):
        await before.put(project, "b", [StoredItem(b"a", "{}")])
    await before.stop()
    for suffix in ("-wal", "-shm"):
        (tmp_path / "base" / f"gone.db{suffix}").write_bytes(b"")
    again = Bases(tmp_path / "base")

    def list_kept() -> set[str]:
        (tmp_path / "base" / "young.db").touch()  # by a predecessor, for a project it has just made
        return {"kept"}

    await again.keep_only(list_kept)
    assert not list((tmp_path / "base").glob("gone*"))
    assert (tmp_path / "base" / "young.db").exists()
    assert await again.find("kept", "b", b"a") == "{}"
    assert await again.list_bases("gone") == []
    with pytest.raises(NotFoundError):
        await again.put("gone", "b", [StoredItem(b"a", "{}")])
    await again.stop()


async def test_what_a_predecessor_still_stores_is_seen(tmp_path: Path) -> None:
    predecessor, successor = Bases(tmp_path / "base"), Bases(tmp_path / "base")
    await predecessor.put("p", "b", [StoredItem(b"a", "{}")])
    assert await successor.find("p", "b", b"a") == "{}"
    assert await successor.list_bases("p") == ["b"]
    await predecessor.stop()
    await successor.stop()


async def test_one_bad_file_does_not_keep_the_others_from_being_looked_after(
    bases: Bases, clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = BaseFile.sweep

    async def fail_for_bad(file: BaseFile) -> int:
        if file is bad:
            raise HostError("the disk")
        return await sweep(file)

    for project in ("bad", "good"):
        await bases.put(project, "b", [StoredItem(b"a", "{}", clock.now + 1)])
    bad = bases._open["bad"].file.result()
    clock.now += 2
    monkeypatch.setattr(BaseFile, "sweep", fail_for_bad)
    await bases.keep_once()
    assert [count_rows(tmp_path, project=project) for project in ("bad", "good")] == [1, 0]


async def test_a_file_that_cannot_be_opened_can_be_deleted(tmp_path: Path) -> None:
    bases = Bases(tmp_path / "base")
    (tmp_path / "base" / "p.db").write_bytes(b"no database" * 1000)
    finding = asyncio.create_task(bases.find("p", "b", b"a"))
    await asyncio.sleep(0)  # it is being opened now
    await bases.delete_project("p")
    with pytest.raises(NotFoundError):
        await finding
    assert not list((tmp_path / "base").iterdir())
    await bases.stop()


async def test_who_uses_a_project_while_it_is_deleted_is_told_so(bases: Bases) -> None:
    async def use(number: int) -> None:
        for _ in range(20):
            await bases.put("a0project", "b", [StoredItem(b"%d" % number, '{"key": "a"}')])
            await bases.query("a0project", "b", Wanted(compile_query(parse(None)), limit=10))
            await bases.find("a0project", "b", b"1")

    uses = [asyncio.create_task(use(number)) for number in range(8)]
    await bases.put("a0project", "b", [StoredItem(b"a", "{}")])
    await bases.delete_project("a0project")
    ends = await asyncio.gather(*uses, return_exceptions=True)
    assert [type(end) for end in ends] == [NotFoundError] * 8


async def test_everything_is_there_after_a_restart(base: BaseClient, bases: Bases, tmp_path: Path) -> None:
    await base.put_items({"key": "a", "n": 1})
    await bases.add_index("a0project", "things", "n")
    await bases.stop()
    again = Bases(tmp_path / "base")
    async with BaseClient(create_app(again), "/v1/a0project/things") as base:
        assert await base.fetch({"n": 1}) == [{"key": "a", "n": 1}]
        assert await again.list_bases("a0project") == ["things"]
        await again.build_indexes("a0project")
        assert [(index.path, index.state) for index in await again.list_indexes("a0project", "things")] == [
            ("n", "ready")
        ]
    await again.stop()


async def test_an_index_is_built_beside_writes_and_then_spares_the_scan(
    base: BaseClient, bases: Bases
) -> None:
    for start in range(0, 3000, 25):
        await base.put_items(
            *({"key": f"{n:05}", "n": n % 100, "s": "x" * 700} for n in range(start, start + 25))
        )
    page = (await base.query({"n": 7})).json()
    assert page["paging"]["last"]
    assert [each.path for each in bases.suggest_indexes("a0project", "things")] == ["n"]
    await bases.add_index("a0project", "things", "n")
    for n in range(0, 3000, 50):
        await base.update(f"{n:05}", set={"n": 7})
        await base.remove(f"{n + 7:05}")
        await base.put_items({"key": f"{n + 8:05}", "n": 7})
    await bases.build_indexes("a0project")
    page = (await base.query({"n": 7})).json()
    expected = sorted([f"{n:05}" for n in range(0, 3000, 50)] + [f"{n + 8:05}" for n in range(0, 3000, 50)])
    assert [item["key"] for item in page["items"]] == expected
    assert page["paging"] == {"size": len(expected)}
    assert [item["key"] for item in await base.fetch({"n": 7}, limit=7)] == expected
    await bases.drop_index("a0project", "things", "n")
    assert [item["key"] for item in await base.fetch({"n": 7})] == expected


async def test_indexes_are_few_and_their_own(base: BaseClient, bases: Bases) -> None:
    for n in range(BASE_INDEXES):
        await bases.add_index("a0project", "things", f"n{n}")
    with pytest.raises(ConflictError):
        await bases.add_index("a0project", "things", "n1")
    with pytest.raises(ClientError, match="at most 16 indexes"):
        await bases.add_index("a0project", "things", "more")
    with pytest.raises(NotFoundError):
        await bases.drop_index("a0project", "things", "more")
    await bases.drop_index("a0project", "things", "n1")
    await bases.add_index("a0project", "things", "n1")
    await bases.build_indexes("a0project")
    assert len(await bases.list_indexes("a0project", "things")) == BASE_INDEXES
    assert await bases.list_indexes("a0project", "other") == []


async def test_two_hosts_that_overlap_see_each_others_writes(tmp_path: Path) -> None:
    old, new = Bases(tmp_path / "base"), Bases(tmp_path / "base")
    assert await new.find("p", "b", b"a") is None
    for n in range(20):
        await asyncio.gather(
            old.put("p", "b", [StoredItem(b"a%d" % n, "{}")]),
            new.put("p", "c", [StoredItem(b"c%d" % n, "{}")]),
        )
        assert await new.find("p", "b", b"a%d" % n) == "{}"
        assert await old.find("p", "c", b"c%d" % n) == "{}"
    await old.stop()
    assert await new.list_bases("p") == ["b", "c"]
    assert await new.find("p", "b", b"a0") == "{}"
    await new.stop()


@pytest.mark.parametrize("project_id", ["", "..", "../meta", "a/b", "a\0b"])
async def test_a_project_is_never_a_path(tmp_path: Path, project_id: str) -> None:
    bases = Bases(tmp_path / "base")
    assert await bases.find(project_id, "b", b"a") is None
    with pytest.raises(HostError):
        await bases.put(project_id, "b", [StoredItem(b"a", "{}")])
    await bases.stop()
    assert list((tmp_path / "base").iterdir()) == []
