"""A file appears whole or not at all, within its quota; what is left over or rotten is found."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from driving_drive import (
    MIB,
    PROJECT,
    Clock,
    client_of,
    finish,
    get,
    names,
    on_disk,
    open_drives,
    put,
    send_part,
    start,
    wait_until,
)

from microhost.drive.upkeep import Upkeep
from microhost.errors import NotFoundError
from microhost.storage import contents
from microhost.storage.contents import Contents, MovedError
from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives

pytestmark = pytest.mark.anyio

WRITER = """
import hashlib, itertools, os, random, sys
from datetime import UTC, datetime
from pathlib import Path
from microhost.storage.drive_records import Place
from microhost.storage.drives import Drives
project = Drives(Path(sys.argv[1]), quota_bytes=10**10, clock=lambda: datetime.now(UTC)).of("a0projecta")
early = sys.argv[2] == "acknowledges-early"
def tell(word, name, sha256):
    print(word, name, sha256.hex(), flush=True)
for number in itertools.count():
    place, body = Place("box", f"f{random.randrange(40)}"), os.urandom(random.randrange(200_000))
    sha256 = hashlib.sha256(body).digest()
    tell("begun", place.name, sha256)
    if early:
        tell("kept", place.name, sha256)
    if number % 2:
        incoming = project.begin(0)
        incoming.write(body)
        project.put(place, "a/b", incoming)
    else:
        upload = project.start_upload(place)
        for part in (2, 1, 3):
            incoming = project.begin_part(upload, place, part, 0)
            incoming.write(body[(part - 1) * 70_000 : part * 70_000])
            project.put_part(upload, part, None, incoming)
        project.finish_upload(upload, place, content_type="a/b")
    if not early:
        tell("kept", place.name, sha256)
"""


def kill_while_writing(data: Path, manner: str, round_s: float, allowed: dict[str, set[str]]) -> None:
    """Let a process write until it is killed; note for each name which hashes it may have now: the one that was
    acknowledged last, and those that were begun after that.
    """
    command = [sys.executable, "-c", WRITER, str(data), manner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        killer = threading.Timer(round_s, writer.send_signal, [signal.SIGKILL])
        killer.start()
        lines += writer.stdout.readlines()
        killer.join()
    for word, name, sha256 in [line.split() for line in lines if line.endswith("\n")]:
        if word == "kept":
            allowed[name] = {sha256}
        elif name in allowed:
            allowed[name].add(sha256)


def lost(data: Path, allowed: dict[str, set[str]]) -> list[str]:
    """Give the names that are gone, or older than what was acknowledged. Fails when a content is not whole."""
    drives = open_drives(data)
    project = drives.of(PROJECT)
    project.sweep(orphan_age_s=-1)
    gone = []
    for name, hashes in allowed.items():
        try:
            opened = project.open(Place("box", name))
        except NotFoundError:
            gone.append(name)
            continue
        body = b"".join(opened.reader.pieces(MIB))
        assert hashlib.sha256(body).digest() == opened.file.sha256
        if opened.file.sha256.hex() not in hashes:
            gone.append(name)
        project.release(opened)
    drives.close()
    return gone


@pytest.mark.timeout(300)
def test_a_kill_loses_no_acknowledged_file_and_leaves_no_torn_one(tmp_path: Path) -> None:
    allowed: dict[str, set[str]] = {}
    for _ in range(12):
        kill_while_writing(tmp_path, "honest", random.uniform(0.0, 0.3), allowed)
        assert lost(tmp_path, allowed) == []
    assert len(allowed) > 10


@pytest.mark.timeout(300)
def test_the_kill_would_show_an_acknowledgement_that_came_too_early(tmp_path: Path) -> None:
    for _ in range(40):
        allowed: dict[str, set[str]] = {}
        kill_while_writing(tmp_path, "acknowledges-early", random.uniform(0.0, 0.1), allowed)
        if lost(tmp_path, allowed):
            return
    pytest.fail("no early acknowledgement was lost: the harness does not see")


async def test_what_is_left_over_is_swept_when_it_is_old(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    await put(client, "kept")
    (kept,) = on_disk(tmp_path)
    orphans = [kept.with_name("a" * 32), kept.with_name("b" * 32 + ".new")]
    for orphan in orphans:
        orphan.write_bytes(b"left")
    drives.of(PROJECT).sweep()
    assert len(on_disk(tmp_path)) == 3, "a young one may be about to get its name"
    for orphan in orphans:
        os.utime(orphan, (1, 1))
    drives.of(PROJECT).sweep()
    assert on_disk(tmp_path) == [kept]


async def test_an_upload_in_progress_survives_every_sweep(client: httpx.AsyncClient, drives: Drives) -> None:
    project, place = drives.of(PROJECT), Place("box", "x")
    incoming = project.begin(0)
    incoming.write(b"first ")
    project.sweep()
    incoming.write(b"second")
    project.sweep()
    project.put(place, "a/b", incoming)
    project.sweep()
    assert (await get(client, "x")).content == b"first second"


async def test_a_reader_keeps_what_it_opened(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    upload = await start(client, "x")
    old = [os.urandom(100_000) for _ in range(5)]
    for number, part in enumerate(old, start=1):
        await send_part(client, upload, "x", number, part)
    await finish(client, upload, "x")
    project = drives.of(PROJECT)
    opened = project.open(Place("box", "x"))
    first = opened.reader.read(0, 1000)
    await put(client, "x", b"new")
    other = open_drives(tmp_path)
    other.of(PROJECT).sweep(orphan_age_s=-1)
    assert (await get(client, "x")).content == b"new"
    assert first + b"".join(opened.reader.pieces(MIB, start=1000)) == b"".join(old)
    assert len(on_disk(tmp_path)) == 6
    project.release(opened)
    assert len(on_disk(tmp_path)) == 1
    await client.request("DELETE", "/files", json={"names": ["x"]})
    assert drives.usage(PROJECT).used_bytes == 0
    other.close()


async def test_what_a_backup_holds_is_gone_for_readers_all_the_same(tmp_path: Path) -> None:
    held = Contents(tmp_path / "contents")
    segments = []
    for _ in range(2):
        writer = held.create()
        writer.write(b"x" * 1000)
        segments.append(writer.publish())
    first = held.path(segments[0].id)
    os.link(first, tmp_path / "backup")
    flock = fcntl.flock

    def remove_then_lock(descriptor: int, operation: int) -> None:
        monkeypatch.undo()  # between the opening and the lock of the reader
        assert held.remove(segments)
        flock(descriptor, operation)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(fcntl, "flock", remove_then_lock)
        with pytest.raises(MovedError):
            held.open(segments)


async def test_a_committed_file_survives_what_fails_after_its_commit(
    client: httpx.AsyncClient, drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("the disk")

    await put(client, "x", b"old")
    upload = await start(client, "y")
    with monkeypatch.context() as patch:
        patch.setattr(drives.of(PROJECT), "collect", fail)
        answer = await client.post("/files", params={"name": "x"}, content=b"new")
        assert answer.status_code == 500
        assert (await send_part(client, upload, "y", 1, b"part")).status_code == 500
    assert (await finish(client, upload, "y")).status_code == 200
    assert [(await get(client, name)).content for name in ("x", "y")] == [b"new", b"part"]


async def test_a_cancellation_after_the_commit_takes_nothing_away(
    client: httpx.AsyncClient, drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = drives.of(PROJECT)
    at_collect, go_on = threading.Event(), threading.Event()
    collect = project.collect

    def collect_slowly() -> None:
        at_collect.set()
        go_on.wait(20)
        collect()

    await put(client, "x", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(project, "collect", collect_slowly)
        putting = asyncio.create_task(put(client, "x", b"new"))
        assert await asyncio.to_thread(at_collect.wait, 20)
        putting.cancel()
        asyncio.get_running_loop().call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await putting
    assert (await get(client, "x")).content == b"new"


async def test_readers_see_one_version_while_writers_replace_it(drives: Drives) -> None:
    project, place = drives.of(PROJECT), Place("box", "x")
    stopping = threading.Event()
    bodies = {os.urandom(1) * 300_000 for _ in range(4)}
    faults: list[object] = []

    def write() -> None:
        while not stopping.is_set():
            incoming = project.begin(0)
            incoming.write(random.choice(sorted(bodies)))
            project.put(place, "a/b", incoming)

    def read() -> None:
        try:
            for _ in range(150):
                opened = project.open(place)
                if b"".join(opened.reader.pieces(10_000)) not in bodies:
                    faults.append("torn")
                project.release(opened)
        except Exception as error:
            faults.append(error)

    incoming = project.begin(0)
    incoming.write(next(iter(bodies)))
    project.put(place, "a/b", incoming)
    writers = [threading.Thread(target=write) for _ in range(2)]
    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in writers + readers:
        thread.start()
    for thread in readers:
        thread.join()
    stopping.set()
    for thread in writers:
        thread.join()
    assert faults == []


@pytest.mark.parametrize("size", [1000, 500_000])
async def test_rot_is_found_and_not_served(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path, size: int
) -> None:
    await put(client, "good", b"g")
    (good,) = on_disk(tmp_path)
    await put(client, "x", os.urandom(size))
    (content,) = set(on_disk(tmp_path)) - {good}
    assert drives.verify(PROJECT, "box", "x").damaged == ()
    rotten = bytearray(content.read_bytes())
    rotten[size // 2] ^= 1
    content.write_bytes(rotten)
    assert drives.verify(PROJECT, "box", "x").damaged == ("x",)
    answer = await get(client, "x")
    assert answer.status_code == 500
    assert "damaged" in answer.json()["errors"][0]
    assert (await get(client, "good")).status_code == 200
    await put(client, "x", b"healed")
    assert (await get(client, "x")).content == b"healed"


async def test_rot_in_a_small_file_is_seen_when_it_is_read(client: httpx.AsyncClient, tmp_path: Path) -> None:
    await put(client, "x", b"0123456789")
    (content,) = on_disk(tmp_path)
    content.write_bytes(b"0123456780")
    assert (await get(client, "x")).status_code == 500


async def test_a_missing_or_short_content_is_an_error_and_never_a_short_file(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    await put(client, "x", os.urandom(200_000))
    (content,) = on_disk(tmp_path)
    os.truncate(content, 100_000)
    assert drives.verify(PROJECT, "box", "x").damaged == ("x",)
    await put(client, "x", os.urandom(200_000))
    (content,) = on_disk(tmp_path)
    content.unlink()
    drives.of(PROJECT).sweep()
    assert (await get(client, "x")).status_code == 500
    await put(client, "y", os.urandom(200_000))
    (content,) = on_disk(tmp_path)
    content.unlink()
    assert (await get(client, "y")).status_code == 500


async def test_the_upkeep_finds_rot_by_itself(
    client: httpx.AsyncClient, drives: Drives, clock: Clock, tmp_path: Path
) -> None:
    await put(client, "x", os.urandom(300_000))
    (content,) = on_disk(tmp_path)
    content.write_bytes(os.urandom(300_000))
    clock.move(days=31)
    upkeep = Upkeep(drives, clock=clock)
    upkeep.start()
    project = drives.of(PROJECT)
    wait_until(lambda: project._get(Place("box", "x")).damaged, "the rot is found")
    upkeep.stop()


async def test_a_quota_counts_files_parts_and_what_is_on_its_way(tmp_path: Path) -> None:
    drives = open_drives(tmp_path, quota_bytes=3 * MIB)
    async with client_of(drives) as client:
        await put(client, "a", b"x" * MIB)
        upload = await start(client, "b")
        await send_part(client, upload, "b", 1, b"y" * MIB)
        project = drives.of(PROJECT)
        coming = project.begin(MIB // 2)
        for answer in (
            await client.post("/files?name=c", content=b"z" * MIB),
            await send_part(client, upload, "b", 2, b"z" * MIB),
        ):
            assert answer.status_code == 507
            assert "Delete files" in answer.json()["errors"][0]
        coming.discard()
        await put(client, "c", b"z" * (MIB // 2))
        assert (await client.post("/files?name=c", content=b"z" * MIB)).status_code == 507
        assert (await get(client, "c")).content == b"z" * (MIB // 2)
        assert (await finish(client, upload, "b")).status_code == 200
        await client.request("DELETE", "/files", json={"names": ["a"]})
        await put(client, "d", b"x" * MIB)
        assert await names(client) == ["b", "c", "d"]
        assert len(on_disk(tmp_path)) == 3
        await client.request("DELETE", "/files", json={"names": ["b", "c", "d"]})
        assert drives.usage(PROJECT).used_bytes == 0
    drives.close()


async def test_empty_files_are_not_free(tmp_path: Path) -> None:
    drives = open_drives(tmp_path, quota_bytes=20 * 1024)
    async with client_of(drives) as client:
        statuses = [(await client.post(f"/files?name={n}", content=b"")).status_code for n in range(30)]
    assert 507 in statuses
    drives.close()


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
async def test_a_failing_disk_is_never_a_success(
    client: httpx.AsyncClient, drives: Drives, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    await put(client, "x", b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        if call == "rename":
            broken.setattr(Path, "rename", fail)
        else:
            broken.setattr(contents.os, call, fail)
        answer = await client.post("/files?name=x", content=b"new")
    assert answer.status_code == 500
    assert "Input/output" not in answer.text
    assert (await get(client, "x")).content == b"old"
    assert len(on_disk(tmp_path)) == 1
    await put(client, "x", b"new")
    assert (await get(client, "x")).content == b"new"


FILLER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from driving_drive import client_of, get, names, on_disk, open_drives, put
async def fill():
    data = Path(sys.argv[1])
    (ballast := data / "ballast").write_bytes(b"b")
    drives = open_drives(data)
    async with client_of(drives) as client:
        await put(client, "first", b"1" * 1_000_000)
        statuses = [(await client.post(f"/files?name={n}", content=bytes([n]) * 1_000_000)).status_code for n in range(40)]
        # now as good as nothing is left, for the index neither
        with open(ballast, "wb", buffering=0) as stream:
            try:
                while stream.write(b"b" * 4096):
                    pass
            except OSError:
                pass
        statuses += [(await client.post(f"/files?name=s{n}", content=b"x" * 100)).status_code for n in range(50)]
        assert set(statuses) == {201, 507}, set(statuses)
        for name in await names(client):
            assert (await get(client, name)).status_code == 200
        stored = await names(client)
        ballast.unlink()
        answer = await client.request("DELETE", "/files", json={"names": stored[:10]})
        assert answer.status_code == 200, answer.text
        await put(client, "again", b"2" * 1_000_000)
        damaged = [drives.verify("a0projecta", "box", name).damaged for name in await names(client)]
        assert not any(damaged), damaged
    print("recovered")
asyncio.run(fill())
"""


@pytest.mark.root
@pytest.mark.timeout(120)
def test_a_full_disk_is_507_and_recovers(tmp_path: Path) -> None:
    here = Path(__file__).parent
    script = tmp_path / "fill.py"
    script.write_text(FILLER)
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"mount -t tmpfs -o size=24m tmpfs {disk} && exec {sys.executable} {script} {disk} {here}"
    environment = os.environ | {"PYTHONPATH": str(here.parents[2])}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=100, env=environment
    )
    assert done.stdout == "recovered\n", done.stderr


async def test_a_list_reads_only_what_it_gives(
    client: httpx.AsyncClient, drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = drives.of(PROJECT)._index
    with index._write() as sql:
        for directory in ("a", "b", "c"):
            values = [(f"{directory}/{n:05}", f"{directory}{n}") for n in range(5000)]
            sql.executemany("INSERT INTO files VALUES ('box', ?, ?, 0, 't/t', x'', 0, 0, 0)", values)
        plan = sql.execute(
            "EXPLAIN QUERY PLAN SELECT name FROM files WHERE drive = 'x' AND name > 'y' ORDER BY name LIMIT 9"
        ).fetchall()
    assert ["SEARCH" in str(step[3]) for step in plan] == [True], plan
    read: list[str] = []
    names_of = index._names

    def count(*arguments: object) -> list[str]:
        found = names_of(*arguments)  # type: ignore[arg-type]
        read.extend(found)
        return found

    monkeypatch.setattr(index, "_names", count)
    assert await names(client, recursive="false") == ["a/", "b/", "c/"]
    assert len(read) <= 4
    read.clear()
    assert len(await names(client, prefix="b/", limit=10)) == 10
    assert len(read) <= 11
