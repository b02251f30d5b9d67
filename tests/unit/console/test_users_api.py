"""Sessions, invitations and tokens end when they should."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest
from standins import Host, now

from microhost.limits import INVITATION_DAYS, SESSION_IDLE_DAYS, SESSION_MAX_DAYS, TOKEN_DAYS

pytestmark = pytest.mark.anyio
COOKIE = "microhost-local"
PASSWORD = "four words of mine"


class Time:
    """Be a clock that a test sets."""

    def __init__(self, host: Host) -> None:
        self.moment = now()
        host.services.accounts.clock = self.read
        host.services.directory._clock = self.read

    def read(self) -> datetime:
        """Tell the time."""
        return self.moment

    def pass_by(self, **length: float) -> None:
        """Let time go by."""
        self.moment += timedelta(**length)


def browser(host: Host, client: str = "127.0.0.1") -> httpx.AsyncClient:
    """Give a browser on the console's page, without a session."""
    transport = httpx.ASGITransport(app=host.app, client=(client, 1))
    return httpx.AsyncClient(
        transport=transport,
        base_url="http://localhost:8000/api/v1",
        headers={"sec-fetch-site": "same-origin"},
    )


async def settle(host: Host) -> None:
    """Wait until what is noted of sessions is on the disk."""
    for noting in list(host.services.accounts._noting.values()):
        await noting


async def test_a_session_ends_when_it_is_idle_for_a_week_or_a_month_old(host: Host) -> None:
    time = Time(host)
    async with browser(host) as client:
        answer = await client.post("/session", json={"token": host.token})
        assert answer.status_code == 201
        ends = datetime.fromisoformat(answer.json()["expires_at"])
        assert ends == time.moment + timedelta(days=SESSION_IDLE_DAYS)
        for _ in range(SESSION_MAX_DAYS // 6):
            assert (await client.get("/session")).status_code == 200
            await settle(host)
            time.pass_by(days=6)
        assert (await client.get("/session")).status_code == 401

        time.moment = now()
        await client.post("/session", json={"token": host.token})
        time.pass_by(days=SESSION_IDLE_DAYS, seconds=-1)
        assert (await client.get("/session")).status_code == 200
        await settle(host)
        time.pass_by(days=SESSION_IDLE_DAYS)
        assert (await client.get("/session")).status_code == 401


async def test_an_invitation_ends_after_a_week(host: Host, client: httpx.AsyncClient) -> None:
    time = Time(host)
    made = (await client.post("/users", json={"name": "anna"})).json()
    body = {"code": made["invitation"].partition("#")[2], "password": PASSWORD}
    time.pass_by(days=INVITATION_DAYS)
    async with browser(host) as guest:
        assert (await guest.post("/invitations/accept", json=body)).status_code == 404
        time.pass_by(seconds=-1)
        assert (await guest.post("/invitations/accept", json=body)).status_code == 201


async def test_a_token_ends_after_a_year_and_the_first_one_never(
    host: Host, client: httpx.AsyncClient
) -> None:
    time = Time(host)
    made = (await client.post("/tokens")).json()
    time.pass_by(days=TOKEN_DAYS, seconds=-1)
    async with host.client(made["token"]) as other:
        assert (await other.get("/projects")).status_code == 200
        time.pass_by(seconds=1)
        assert (await other.get("/projects")).status_code == 401
    assert (await client.get("/projects")).status_code == 200


async def test_over_tls_the_cookie_has_the_prefix_that_no_sibling_can_set(host: Host) -> None:
    transport = httpx.ASGITransport(app=host.app, client=("192.0.2.9", 1))
    async with httpx.AsyncClient(
        transport=transport, base_url="https://example.org/api/v1", headers={"sec-fetch-site": "same-origin"}
    ) as client:
        answer = await client.post("/session", json={"token": host.token})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-microhost=")
        assert cookie.endswith("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure")
        assert "domain" not in cookie.lower()
        assert (await client.get("/session")).status_code == 200
        secret = cookie.partition("=")[2].partition(";")[0]
        client.cookies.clear()
        under_the_other_name = {"cookie": f"{COOKIE}={secret}"}
        assert (await client.get("/session", headers=under_the_other_name)).status_code == 401


async def test_from_another_machine_without_tls_no_session_begins_nor_counts(host: Host) -> None:
    async with browser(host) as near:
        answer = await near.post("/session", json={"token": host.token})
        secret = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    async with browser(host, client="192.0.2.9") as far:
        assert (await far.post("/session", json={"token": host.token})).status_code == 400
        assert (await far.get("/session", headers={"cookie": f"{COOKIE}={secret}"})).status_code == 401


async def test_the_oldest_of_too_many_sessions_end(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microhost.storage.sessions.SESSIONS_OF_ONE", 3)
    time = Time(host)
    secrets = []
    for _ in range(5):
        time.pass_by(seconds=1)
        async with browser(host) as client:
            answer = await client.post("/session", json={"token": host.token})
            secrets.append(answer.headers["set-cookie"].partition(";")[0])
    async with browser(host) as client:
        statuses = [(await client.get("/session", headers={"cookie": each})).status_code for each in secrets]
    assert statuses == [401, 401, 200, 200, 200]
