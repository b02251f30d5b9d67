"""Sessions, invitations and tokens end when they should."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest
from standins import Host, now

from microhost.limits import (
    INVITATION_DAYS,
    PASSWORDS_WAITING_OF_ONE,
    SESSION_IDLE_DAYS,
    SESSION_MAX_DAYS,
    TOKEN_DAYS,
    WRONG_TOKENS_PER_MINUTE,
)

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


async def log_in(host: Host, password: str, client: str = "127.0.0.1") -> int:
    """Try to log the owner in; give the status."""
    async with browser(host, client) as there:
        answer = await there.post("/session", json={"name": "owner", "password": password})
        return answer.status_code


@pytest.fixture
async def with_password(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Give a host whose owner has a password, and which compares passwords in no time."""
    assert await host.services.accounts.set_first_password(PASSWORD)

    async def fit(self: object, password: str, kept: str | None, client: str) -> bool:
        await asyncio.sleep(0)
        return password == PASSWORD

    monkeypatch.setattr("microhost.accounts.passwords.Passwords.fit", fit)
    return host


async def test_wrong_tokens_do_not_push_the_count_of_a_password_out(
    with_password: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microhost.micros.throttle.CLIENTS_REMEMBERED", 50)
    for _ in range(WRONG_TOKENS_PER_MINUTE):
        assert await log_in(with_password, "wrong") == 401
    assert await log_in(with_password, PASSWORD) == 429
    async with browser(with_password) as guesser:
        for number in range(100):
            await guesser.post("/session", json={"token": f"id{number}_wrong"})
    assert await log_in(with_password, PASSWORD) == 429


async def test_log_ins_that_find_no_room_push_no_count_out(
    with_password: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microhost.micros.throttle.CLIENTS_REMEMBERED", 50)
    for _ in range(WRONG_TOKENS_PER_MINUTE):
        assert await log_in(with_password, "wrong") == 401
    accounts = with_password.services.accounts
    accounts._passwords._waiting["127.0.0.1"] = PASSWORDS_WAITING_OF_ONE
    async with browser(with_password) as guesser:
        for number in range(100):
            answer = await guesser.post("/session", json={"name": f"n{number}", "password": "x"})
            assert answer.status_code == 429
    accounts._passwords._waiting.clear()
    assert await log_in(with_password, PASSWORD) == 429


async def test_a_guess_at_the_current_password_counts_before_it_is_compared(with_password: Host) -> None:
    async with browser(with_password) as there:
        assert (await there.post("/session", json={"token": with_password.token})).status_code == 201
        body = {"current": "wrong", "password": "another four words"}
        answers = await asyncio.gather(
            *(there.put("/session/password", json=body) for _ in range(WRONG_TOKENS_PER_MINUTE + 10))
        )
        statuses = [each.status_code for each in answers]
        assert (statuses.count(403), statuses.count(429)) == (WRONG_TOKENS_PER_MINUTE, 10)
        answer = await there.put("/session/password", json={**body, "current": PASSWORD})
        assert answer.status_code == 429


async def test_addresses_of_one_network_are_one_guesser(with_password: Host) -> None:
    transport = "https://example.org/api/v1"
    for number in range(WRONG_TOKENS_PER_MINUTE + 1):
        there = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=with_password.app, client=(f"2001:db8::{number:x}", 1)),
            base_url=transport,
            headers={"sec-fetch-site": "same-origin"},
        )
        async with there:
            answer = await there.post("/session", json={"name": "owner", "password": "wrong"})
            wanted = 401 if number < WRONG_TOKENS_PER_MINUTE else 429
            assert answer.status_code == wanted


async def test_an_invitation_that_two_accept_at_once_makes_one_session(
    host: Host, client: httpx.AsyncClient
) -> None:
    made = (await client.post("/users", json={"name": "anna"})).json()
    code = made["invitation"].partition("#")[2]
    words = [f"{PASSWORD} {number}" for number in range(2)]
    async with browser(host) as one, browser(host, "127.0.0.2") as two:
        answers = await asyncio.gather(
            *(
                there.post("/invitations/accept", json={"code": code, "password": each})
                for there, each in zip((one, two), words, strict=True)
            )
        )
    statuses = sorted(each.status_code for each in answers)
    assert statuses == [201, 404]
    winner = words[[each.status_code for each in answers].index(201)]
    async with browser(host) as there:
        for each in words:
            answer = await there.post("/session", json={"name": "anna", "password": each})
            assert answer.status_code == (201 if each == winner else 401)


async def test_a_change_of_the_password_ends_every_other_session_and_no_token(
    host: Host, client: httpx.AsyncClient
) -> None:
    assert await host.services.accounts.set_first_password(PASSWORD)
    async with browser(host) as one, browser(host) as two:
        for there in (one, two):
            body = {"name": "owner", "password": PASSWORD}
            assert (await there.post("/session", json=body)).status_code == 201
        before = one.cookies[COOKIE]
        changed = await one.put(
            "/session/password", json={"current": PASSWORD, "password": "quite other words"}
        )
        assert changed.status_code == 200
        assert (await one.get("/session")).status_code == 200
        assert (await two.get("/session")).status_code == 401
        one.cookies.clear()
        former = {"cookie": f"{COOKIE}={before}"}
        assert (await one.get("/session", headers=former)).status_code == 401
    assert (await client.get("/session")).status_code == 200
    assert await log_in(host, PASSWORD) == 401
    assert await log_in(host, "quite other words") == 201
