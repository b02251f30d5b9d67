"""The loop that serves all visitors never stands still while something works (OPS-07)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Any

import httpx
import pytest
from standins import Host, zip_of

from microhost.accounts.passwords import hash_password

pytestmark = pytest.mark.anyio
LONGEST_S = 0.05
ROUNDS = 8
MICRO = "/projects/p/micros/m"
ZIP = {"content-type": "application/zip"}
Work = Callable[[], Awaitable[object]]


@cache
def bundle_of_many() -> bytes:
    """Pack two thousand files."""
    many = {f"lib/part{number}/file{number}.py": "x = 1\n" * 50 for number in range(2000)}
    return zip_of({"main.py": "app = 1", **many})


@cache
def bundle_of_one() -> bytes:
    """Pack a large file."""
    return zip_of({"main.py": "app = 1", "data.bin": os.urandom(10_000_000)})


async def measure_lag(work: Work) -> float:
    """Do some work; give for how long, at most, the loop did not come round."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    longest = 0.0
    await work()
    await asyncio.sleep(0)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    return longest


async def least_lag(work: Work, rounds: int = ROUNDS) -> float:
    """Measure several times, less what the machine alone makes a loop wait: what stands still does so every time."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        found.append(await measure_lag(work))
        if found[-1] > LONGEST_S:
            took_s = time.perf_counter() - began
            found[-1] -= await measure_lag(lambda took_s=took_s: asyncio.sleep(took_s))
        if found[-1] < LONGEST_S:
            break
    return min(found)


@pytest.fixture
async def works(host: Host, client: httpx.AsyncClient) -> dict[str, Work]:
    """Give what takes long: by name, something that the console does when it is asked."""
    await client.post("/projects", json={"name": "p"})
    await client.post("/projects/p/micros", json={"name": "m"})
    host.stores.meta.users.put_password("owner", hash_password("a long enough password"))

    async def deploy(content: bytes) -> None:
        answer = await client.post(f"{MICRO}/deployments", content=content, headers=ZIP)
        assert answer.status_code == 201, answer.text

    async def log_in() -> None:
        body = {"name": "owner", "password": "a long enough password"}
        headers = {"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}
        answer = await client.post("/session", json=body, headers=headers)
        assert answer.status_code == 201, answer.text

    async def fetch() -> None:
        if not host.pool.live:
            await deploy(bundle_of_many())
        answer = await client.get(f"{MICRO}/bundle")
        assert answer.status_code == 200, answer.text

    return {
        "a bundle of many files": lambda: deploy(bundle_of_many()),
        "a bundle with a large file": lambda: deploy(bundle_of_one()),
        "a password": log_in,
        "a bundle that is fetched": fetch,
    }


@pytest.mark.parametrize(
    "name", ["a bundle of many files", "a bundle with a large file", "a password", "a bundle that is fetched"]
)
async def test_the_loop_comes_round_while_something_works(works: dict[str, Work], name: str) -> None:
    assert await least_lag(works[name]) < LONGEST_S


async def test_work_on_the_loop_would_be_seen(
    works: dict[str, Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(act: Callable[..., Any], *values: Any, **more: Any) -> Any:
        return act(*values, **more)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    assert await least_lag(works["a bundle of many files"], 1) > LONGEST_S
