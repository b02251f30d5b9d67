"""Bodies that are kept whole take no more memory together than was said, and no project starves another."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from microhost.base.http import create_app as create_base
from microhost.drive.http import create_app as create_drive
from microhost.errors import OverloadedError
from microhost.intake import Intake, Share
from microhost.limits import BODY_FREE_BYTES, MB, MIB
from microhost.storage.bases import Bases
from microhost.storage.drives import Drives
from microhost.storage.events import utc_now

pytestmark = pytest.mark.anyio
SMALL = BODY_FREE_BYTES


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_project_has_at_most_half_and_others_pass_it_by() -> None:
    intake = Intake(most_bytes=8, wait_s=5)
    await intake.take("hog", 4)
    waiting = asyncio.create_task(intake.take("hog", 1))
    await intake.take("other", 4)
    assert (intake.taken_bytes, waiting.done()) == (8, False)
    intake.give_back("hog", 4)
    await waiting
    assert intake.taken_bytes == 5


async def test_places_are_given_in_the_order_of_asking() -> None:
    intake = Intake(most_bytes=8, wait_s=5)
    await intake.take("a", 4)
    await intake.take("b", 4)
    large = asyncio.create_task(intake.take("c", 4))
    await asyncio.sleep(0)
    small = asyncio.create_task(intake.take("d", 1))
    await asyncio.sleep(0)
    intake.give_back("a", 4)
    await large
    assert not small.done()
    intake.give_back("b", 4)
    await small


async def test_one_larger_than_all_comes_alone() -> None:
    intake = Intake(most_bytes=8, wait_s=0.01)
    await intake.take("a", 20)
    with pytest.raises(OverloadedError):
        await intake.take("b", 1)
    intake.give_back("a", 20)
    await intake.take("b", 1)


async def test_who_gives_up_leaves_nothing_behind() -> None:
    intake = Intake(most_bytes=8, wait_s=5)
    await intake.take("a", 8)
    first, second = (asyncio.create_task(intake.take(name, 8)) for name in "bc")
    await asyncio.sleep(0)
    first.cancel()
    intake.give_back("a", 8)  # in the very moment
    await second
    assert (first.cancelled() or first.exception(), intake.taken_bytes) == (True, 8)


async def test_small_bodies_need_no_place() -> None:
    intake = Intake(most_bytes=1, wait_s=0.01)
    await intake.take("a", 1)
    share = Share(intake)
    await share.take("b", SMALL)
    share.close()
    assert intake.taken_bytes == 1


class Sender:
    """Be a client whose body counts as in flight from its first byte that is read until its answer."""

    in_flight = 0
    most = 0

    def __init__(self, method: str, path: str, body: bytes, *, chunked: bool, stalls: bool = False) -> None:
        headers = [] if chunked else [(b"content-length", b"%d" % len(body))]
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        self._rest = body
        self._read = 0
        self._stalls = stalls
        self.status = 0
        self.answer = b""

    async def receive(self) -> dict[str, Any]:
        if self._stalls and self._read:
            await asyncio.Event().wait()
        piece, self._rest = self._rest[:SMALL], self._rest[SMALL:]
        self._read += len(piece)
        Sender.in_flight += len(piece)
        Sender.most = max(Sender.most, Sender.in_flight)
        await asyncio.sleep(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._rest)}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")

    async def go(self, app: Any) -> int:
        await app(self.scope, self.receive, self.send)
        Sender.in_flight -= self._read
        return self.status


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_in_flight_are_bounded_in_base_and_drive(tmp_path: Path, *, chunked: bool) -> None:
    most, count = 40 * MIB, 20
    intake = Intake(most_bytes=most, wait_s=60)
    bases, drives = Bases(tmp_path / "base"), Drives(tmp_path, quota_bytes=100 * MB, clock=utc_now)
    items = json.dumps({"items": [{"v": "x" * 300_000}] * 10}).encode()
    names = json.dumps({"names": ["x" * 1000] * 1000, "more": "x" * 2_000_000}).encode()
    base, drive = create_base(bases, intake), create_drive(drives, intake)
    Sender.in_flight = Sender.most = 0
    puts = [
        Sender("PUT", f"/v1/a0project{n % 5}/b/items", items, chunked=chunked).go(base) for n in range(count)
    ]
    deletes = [
        Sender("DELETE", f"/v1/a0project{n % 5}/d/files", names, chunked=chunked).go(drive)
        for n in range(count)
    ]
    statuses = await asyncio.gather(*puts, *deletes)
    assert statuses == [207] * count + [200] * count
    free = 2 * count * 5 * SMALL  # each reads some before it has a place
    assert (len(items) + len(names)) * count > most + free > Sender.most
    assert intake.taken_bytes == 0
    bases.close()
    drives.close()


async def test_who_finds_no_place_in_time_is_told_to_come_again_and_small_ones_pass(tmp_path: Path) -> None:
    intake = Intake(most_bytes=MIB, wait_s=0.05)
    bases = Bases(tmp_path / "base")
    base = create_base(bases, intake)
    large = json.dumps({"items": [{"v": "x" * 300_000}] * 3}).encode()
    stalled = asyncio.create_task(
        Sender("PUT", "/v1/a0project1/b/items", large, chunked=False, stalls=True).go(base)
    )
    while not intake.taken_bytes:
        await asyncio.sleep(0)
    late = Sender("PUT", "/v1/a0project2/b/items", large, chunked=False)
    assert await late.go(base) == 503
    assert json.loads(late.answer)["errors"] == [
        "Too many large requests arrive at once. Try again in a few seconds."
    ]
    small = Sender("PUT", "/v1/a0project2/b/items", b'{"items":[{"a":1}]}', chunked=False)
    assert await small.go(base) == 207
    stalled.cancel()
    await asyncio.gather(stalled, return_exceptions=True)
    assert intake.taken_bytes == 0
    assert await Sender("PUT", "/v1/a0project2/b/items", large, chunked=False).go(base) == 207
    bases.close()
