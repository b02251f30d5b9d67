"""Chunked uploads: parts in any order and again, one commit at the end, nothing left of what is not finished."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import httpx
import pytest
from driving_drive import MIB, PROJECT, Clock, client_of, finish, get, names, on_disk, put, send_part, start

from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives

pytestmark = pytest.mark.anyio


async def test_an_upload_speaks_as_the_docs_do(client: httpx.AsyncClient) -> None:
    begun = await client.post("/uploads?name=a+b%2Fc.txt", headers={"content-type": "application/json"})
    upload = begun.json()["upload_id"]
    common = {"name": "a b/c.txt", "upload_id": upload, "project_id": PROJECT, "drive_name": "box"}
    assert (begun.status_code, begun.json()) == (202, common)
    assert len(upload) >= 32
    part = await send_part(client, upload, "a b/c.txt", 1, b"hello")
    assert (part.status_code, part.json()) == (200, {**common, "part": 1})
    ended = await finish(client, upload, "a b/c.txt")
    assert (ended.status_code, ended.json()) == (200, common)
    found = await get(client, "a b/c.txt")
    assert (found.content, found.headers["content-type"]) == (b"hello", "text/plain")


async def test_the_type_is_that_of_the_parts_when_a_user_chose_it(client: httpx.AsyncClient) -> None:
    for told, kept in (
        ("image/x-own", "image/x-own"),
        ("binary/octet-stream", "image/png"),
        ("application/octet-stream", "image/png"),
    ):
        upload = await start(client, "a.png")
        await send_part(
            client, upload, "a.png", 2, b"2", **{"content-type": "x/second"} if kept == "image/x-own" else {}
        )
        await send_part(client, upload, "a.png", 1, b"1", **{"content-type": told})
        await finish(client, upload, "a.png")
        assert (await get(client, "a.png")).headers["content-type"] == kept


async def test_parts_may_come_at_once_in_any_order_and_again(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    parts = [os.urandom(random.randint(1, 300_000)) for _ in range(24)]
    upload = await start(client, "x")
    order = [(number, os.urandom(1000)) for number in random.sample(range(1, 25), 10)]
    for number, other in order:
        await send_part(client, upload, "x", number, other)
    shuffled = random.sample(list(enumerate(parts, start=1)), len(parts))
    answers = await asyncio.gather(
        *(send_part(client, upload, "x", number, part) for number, part in shuffled)
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await names(client) == []
    assert (await finish(client, upload, "x")).status_code == 200
    content = b"".join(parts)
    found = await get(client, "x")
    assert found.content == content
    assert found.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert len(on_disk(tmp_path)) == 24
    for _ in range(30):
        first = random.randrange(len(content))
        last = random.randrange(first, len(content))
        assert (await get(client, "x", range=f"bytes={first}-{last}")).content == content[first : last + 1]


async def test_an_upload_without_parts_is_an_empty_file(client: httpx.AsyncClient) -> None:
    upload = await start(client, "empty")
    assert (await finish(client, upload, "empty")).status_code == 200
    assert (await get(client, "empty")).content == b""
    assert await names(client) == ["empty"]


async def test_empty_parts_count_and_hold_nothing(client: httpx.AsyncClient, drives: Drives) -> None:
    upload = await start(client, "x")
    for number, part in ((1, b""), (2, b"a" * 70_000), (3, b""), (4, b"b")):
        assert (await send_part(client, upload, "x", number, part)).status_code == 200
    await finish(client, upload, "x")
    assert (await get(client, "x")).content == b"a" * 70_000 + b"b"
    drives.of(PROJECT).sweep(orphan_age_s=-1)
    assert drives.verify(PROJECT, "box", "x").damaged == ()
    await client.request("DELETE", "/files", json={"names": ["x"]})
    assert drives.usage(PROJECT).used_bytes == 0


async def test_a_missing_part_is_named(client: httpx.AsyncClient) -> None:
    upload = await start(client, "x")
    for number in (1, 2, 4):
        await send_part(client, upload, "x", number, b"x")
    answer = await finish(client, upload, "x")
    assert answer.status_code == 400
    assert answer.json()["errors"] == ["Part 3 is missing; the last one is 4. Upload it, then finish."]
    await send_part(client, upload, "x", 3, b"y")
    assert (await finish(client, upload, "x")).status_code == 200
    assert (await get(client, "x")).content == b"xxyx"


async def test_an_upload_opens_only_its_own_place(client: httpx.AsyncClient, drives: Drives) -> None:
    upload = await start(client, "x")
    others = [
        (client_of(drives, project="b0projectb"), "x"),
        (client_of(drives, drive="other"), "x"),
        (client, "y"),
    ]
    for other, name in others:
        assert (await send_part(other, upload, name, 1, b"evil")).status_code == 404
        assert (await finish(other, upload, name)).status_code == 404
        assert (await other.delete(f"/uploads/{upload}", params={"name": name})).status_code == 404
    assert (await send_part(client, "0" * 48, "x", 1, b"x")).status_code == 404
    assert (await send_part(client, upload, "x", 1, b"good")).status_code == 200
    await finish(client, upload, "x")
    assert (await get(client, "x")).content == b"good"


@pytest.mark.parametrize("part", ["0", "-1", "1000000000", "99999999999999999999", "x", "", "1.0", "²"])
async def test_a_bad_part_number_is_refused(client: httpx.AsyncClient, part: str) -> None:
    upload = await start(client, "x")
    assert (await send_part(client, upload, "x", part, b"x")).status_code == 400


async def test_a_part_beyond_10_mib_is_refused(client: httpx.AsyncClient, tmp_path: Path) -> None:
    upload = await start(client, "x")
    assert (await send_part(client, upload, "x", 1, b"x" * (10 * MIB + 1))).status_code == 413
    assert (await send_part(client, upload, "x", 1, b"x" * (10 * MIB))).status_code == 200
    assert len(on_disk(tmp_path)) == 1


async def test_an_aborted_upload_leaves_nothing(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    await put(client, "x", b"old")
    upload = await start(client, "x")
    await send_part(client, upload, "x", 1, b"new")
    answer = await client.delete(f"/uploads/{upload}", params={"name": "x"})
    assert (answer.status_code, answer.json()["upload_id"]) == (200, upload)
    assert len(on_disk(tmp_path)) == 1
    assert (await get(client, "x")).content == b"old"
    for again in (await finish(client, upload, "x"), await send_part(client, upload, "x", 1, b"new")):
        assert again.status_code == 404
    assert len(on_disk(tmp_path)) == 1


async def test_a_second_finish_says_yes_again_until_the_file_is_another(client: httpx.AsyncClient) -> None:
    upload = await start(client, "x")
    await send_part(client, upload, "x", 1, b"1")
    answers = await asyncio.gather(finish(client, upload, "x"), finish(client, upload, "x"))
    assert [answer.status_code for answer in answers] == [200, 200]
    await put(client, "x", b"2")
    assert (await finish(client, upload, "x")).status_code == 404
    assert (await get(client, "x")).content == b"2"


async def test_an_upload_that_nobody_touches_is_swept(
    client: httpx.AsyncClient, drives: Drives, clock: Clock, tmp_path: Path
) -> None:
    idle, busy = await start(client, "idle"), await start(client, "busy")
    await send_part(client, idle, "idle", 1, b"x")
    clock.move(hours=11)
    await send_part(client, busy, "busy", 1, b"y")
    clock.move(hours=11)
    drives.of(PROJECT).sweep()
    assert (await finish(client, idle, "idle")).status_code == 404
    assert (await finish(client, busy, "busy")).status_code == 200
    assert len(on_disk(tmp_path)) == 1


async def test_parts_survive_a_restart(
    client: httpx.AsyncClient, drives: Drives, clock: Clock, tmp_path: Path
) -> None:
    upload = await start(client, "x")
    await send_part(client, upload, "x", 1, b"one")
    again = Drives(tmp_path, quota_bytes=10**9, clock=clock)
    async with client_of(again) as later:
        await send_part(later, upload, "x", 2, b"two")
        assert (await finish(later, upload, "x")).status_code == 200
        assert (await get(later, "x")).content == b"onetwo"
        assert again.of(PROJECT).verify(Place("box", "x")).damaged == ()
    again.close()
