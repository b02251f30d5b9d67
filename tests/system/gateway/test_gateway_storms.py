"""LIM-14: a storm of cold starts is worked off a few at a time, and whoever waits too long is told to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from microhost.records import Micro
from tests.system.gateway.host import Answer, Client, Host

COUNT = 24
HELLO = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


class Boots:
    """Count how many starts run at once, from the boot of a sandbox until its code was attached."""

    def __init__(self, host: Host) -> None:
        self.most = 0
        self._now = 0
        self._boot, self._attach = host.warden.boot, host.warden.attach
        host.warden.boot = self._boot_counted  # type: ignore[method-assign]
        host.warden.attach = self._attach_counted  # type: ignore[method-assign]

    async def _boot_counted(self, sandbox: str, **options: Any) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        await self._boot(sandbox, **options)

    async def _attach_counted(self, sandbox: str, **options: Any) -> None:
        await self._attach(sandbox, **options)
        self._now -= 1


def ask_all(host: Host, micros: list[Micro]) -> list[Answer]:
    """Ask each Micro once, all at the same time."""
    clients: list[Client] = []
    for micro in micros:
        clients.append(host.connect(60.0))
        clients[-1].send(f"GET / HTTP/1.1\r\nHost: {micro.path}.localhost\r\n\r\n")
    answers = [client.answer() for client in clients]
    for client in clients:
        client.sock.close()
    return answers


@pytest.fixture
def cold(new_host: Callable[..., Host]) -> tuple[Host, list[Micro]]:
    host = new_host()
    return host, [host.define(HELLO) for _ in range(COUNT)]


def test_cold_starts_are_worked_off_a_few_at_a_time(cold: tuple[Host, list[Micro]]) -> None:
    host, micros = cold
    boots = Boots(host)
    warm = host.micro(HELLO)
    answers = ask_all(host, [*micros, warm])
    assert answers[-1].status == 200, "who is awake is served meanwhile"
    for answer in answers:
        assert answer.status in (200, 503), answer
        assert answer.status == 200 or answer.header("retry-after"), answer
    for _ in range(5):
        waiting = [micro for micro, answer in zip(micros, answers, strict=False) if answer.status != 200]
        answers = ask_all(host, waiting)
        micros = waiting
    assert all(answer.status == 200 for answer in answers), "all are served who come again"
    assert 1 <= boots.most <= max(4, 2 * host.pools._cores)


def test_without_the_bound_they_all_start_at_once(cold: tuple[Host, list[Micro]]) -> None:
    host, micros = cold
    boots = Boots(host)
    host.pools._boots = asyncio.Semaphore(COUNT)
    ask_all(host, micros[:12])
    assert boots.most > max(4, 2 * host.pools._cores)
