"""Every endpoint says who may call it, and nobody else gets in; no secret is kept in the clear (AUTH-01, 02,
04, 09, 12).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address

import httpx
import pytest
from standins import Host, now, zip_of
from starlette.requests import Request

from microhost.accounts.browsers import ENTER_PATH
from microhost.console.app import list_endpoints
from microhost.console.guard import Guard
from microhost.console.routes import API, Endpoint, Policy, build
from microhost.console.site import Site
from microhost.errors import ClientError, OverloadedError
from microhost.limits import TOKEN_DAYS, WRONG_TOKENS_PER_MINUTE
from microhost.micros.throttle import CLIENTS_REMEMBERED
from microhost.records import Session, User

pytestmark = pytest.mark.anyio
PUBLIC = {
    ("GET", "/health"),
    ("GET", ENTER_PATH),
    ("GET", f"{API}/openapi.json"),
    ("GET", f"{API}/version"),
    ("POST", f"{API}/login"),
    ("POST", f"{API}/login/{{login}}"),
    ("POST", f"{API}/session"),
    ("POST", f"{API}/invitations/accept"),
}
CLIENTS = itertools.count()


def test_exactly_these_endpoints_are_public(host: Host) -> None:
    public = {(e.method, e.path) for e in list_endpoints(host.services) if e.policy is Policy.PUBLIC}
    assert public == PUBLIC


def test_an_endpoint_without_a_policy_cannot_be_built(host: Host) -> None:
    async def handler(request: Request) -> None: ...

    with pytest.raises(TypeError):
        Endpoint(method="GET", path="/x", handler=handler, summary="x")  # type: ignore[call-arg]
    undecided = Endpoint(method="GET", path="/x", handler=handler, summary="x", policy=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="declares no policy"):
        build([undecided], Guard(host.services.accounts), Site())


def test_two_endpoints_cannot_share_an_address(host: Host) -> None:
    endpoints = list_endpoints(host.services)
    with pytest.raises(ValueError, match="declared twice"):
        build([*endpoints, endpoints[0]], Guard(host.services.accounts), Site())


async def make_credentials(client: httpx.AsyncClient) -> dict[str, str]:
    """Make one of each credential that is not the owner's valid access token; give them as they would be
    presented.
    """
    await client.post("/projects", json={"name": "p"})
    await client.post("/projects/p/micros", json={"name": "m"})
    project_key = (await client.post("/projects/p/keys", json={"name": "k"})).json()["key"]
    api_key = (await client.post("/projects/p/micros/m/api-keys", json={"name": "k"})).json()["api_key"]
    revoked = (await client.post("/tokens")).json()
    assert (await client.delete(f"/tokens/{revoked['id']}")).status_code == 204
    return {
        "none": "",
        "a project key": f"Bearer {project_key}",
        "an API key": f"Bearer {api_key}",
        "a revoked token": f"Bearer {revoked['token']}",
        "an unknown token": "Bearer abcdefghijk_" + "x" * 43,
        "no token": "Bearer",
        "an empty token": "Bearer ",
        "another scheme": "Basic {token}",
        "the token alone": "{token}",
        "the token's id": "Bearer {id}",
        "the id and an empty secret": "Bearer {id}_",
        "the token and more": "Bearer {token}x",
        "the token in upper case": "Bearer {TOKEN}",
        "two tokens": "Bearer {token} {token}",
        "a very long token": "Bearer " + "x" * 1_000_000,
        "a NUL": "Bearer {id}_\0",
        "not ASCII": "Bearer \u00e9\u00e9\u00e9_\u00e9",
    }


async def test_every_endpoint_refuses_every_wrong_credential(host: Host) -> None:
    async with host.client() as owner:
        credentials = await make_credentials(owner)
    words = {"token": host.token, "id": host.token.split("_")[0], "TOKEN": host.token.upper()}
    refused = 0
    for endpoint in list_endpoints(host.services):
        for name, shape in credentials.items():
            value = shape.format(**words) if "{" in shape else shape
            answer = await present(host, endpoint, value, next(CLIENTS))
            if endpoint.policy is Policy.PUBLIC:
                elsewhere = endpoint.path == ENTER_PATH  # it is a Micro's host's, and nothing here
                wanted = 404 if elsewhere else 400 if endpoint.takes else 200
                assert answer.status_code == wanted, (endpoint.path, name)
                continue
            assert answer.status_code == 401, (endpoint.method, endpoint.path, name)
            assert answer.json() == {"errors": ["Unauthorized"]}
            assert answer.headers["www-authenticate"] == "Bearer"
            refused += 1
    assert refused > 400
    async with host.client() as owner:
        assert (await owner.get("/projects/p/micros/m")).status_code == 200


async def present(host: Host, endpoint: Endpoint, value: str, client_number: int) -> httpx.Response:
    """Call an endpoint with an Authorization header, from an address that has guessed nothing yet."""
    headers = {} if value == "" else {"authorization": value.encode("utf-8")}
    return await call(host, endpoint, headers, f"client {client_number}")


async def call(
    host: Host, endpoint: Endpoint, headers: Mapping[str, str | bytes], client: str
) -> httpx.Response:
    """Call an endpoint with headers, from an address. What it names is not there."""
    path = endpoint.path.replace(":path}", "}").format(
        path="main.py",
        user="u",
        domain="d.example",
        project="p",
        micro="m",
        name="k",
        token="t",
        deployment="d",
        event="e",
        drive="b",
        base="b",
        login="l",
        code="c",
    )
    transport = httpx.ASGITransport(app=host.app, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as there:
        return await there.request(endpoint.method, path, headers=headers)  # type: ignore[arg-type]


async def test_two_authorization_headers_are_refused(host: Host) -> None:
    async with host.client(None) as client:
        headers = [("authorization", f"Bearer {host.token}"), ("authorization", f"Bearer {host.token}")]
        assert (await client.get("/projects", headers=headers)).status_code == 401


async def test_unknown_addresses_are_closed_to_strangers_too(host: Host) -> None:
    async with host.client(None) as client:
        assert (await client.get("/nothing")).status_code == 401
        assert (await client.put("/projects")).status_code == 401
        assert (await client.get("http://localhost:8000/nothing")).status_code == 404


async def test_a_deleted_token_is_refused_at_once(host: Host) -> None:
    async with host.client() as owner:
        made = (await owner.post("/tokens")).json()
        async with host.client(made["token"]) as other:
            assert (await other.get("/projects")).status_code == 200
            await owner.delete(f"/tokens/{made['id']}")
            assert (await other.get("/projects")).status_code == 401


async def test_the_last_token_cannot_be_deleted(host: Host) -> None:
    async with host.client() as owner:
        answer = await owner.delete(f"/tokens/{host.token.split('_')[0]}")
        assert answer.status_code == 409
        assert (await owner.get("/tokens")).status_code == 200


async def test_tokens_and_project_keys_have_exactly_one_underscore(host: Host) -> None:
    async with host.client() as owner:
        await owner.post("/projects", json={"name": "p"})
        for text in [
            host.token,
            *[(await owner.post("/tokens")).json()["token"] for _ in range(20)],
            *[
                (await owner.post("/projects/p/keys", json={"name": f"k{n}"})).json()["key"]
                for n in range(20)
            ],
        ]:
            identity, _, secret = text.partition("_")
            assert 8 <= len(identity) <= 11
            assert identity.isalnum()
            assert identity == identity.lower()
            assert secret.isalnum()
            assert len(secret) == 43


async def test_no_secret_stands_in_the_data_directory(host: Host) -> None:
    async with host.client() as owner:
        await owner.post("/projects", json={"name": "p"})
        await owner.post("/projects/p/micros", json={"name": "m"})
        secrets = {
            "token": (await owner.post("/tokens")).json()["token"],
            "owner's token": host.token,
            "project key": (await owner.post("/projects/p/keys", json={"name": "k"})).json()["key"],
            "API key": (await owner.post("/projects/p/micros/m/api-keys", json={"name": "k"})).json()[
                "api_key"
            ],
            "variable": "canary-in-the-environment",
        }
        answer = await owner.put("/projects/p/micros/m/env", json={"CANARY": secrets["variable"]})
        assert answer.json() == {"names": ["CANARY"]}
        content = zip_of({"main.py": "app = 1"})
        await owner.post(
            "/projects/p/micros/m/deployments", content=content, headers={"content-type": "application/zip"}
        )
        environment = next(iter(host.pool.live.values())).environment
        assert environment["CANARY"] == secrets["variable"]
        secrets["the Micro's own key"] = environment["DETA_PROJECT_KEY"]
    await asyncio.to_thread(host.stores.close)
    searched = 0
    for file in host.data.rglob("*"):
        if file.is_file() and file.name != "owner.token":
            content = file.read_bytes()
            for name, secret in secrets.items():
                assert secret.encode() not in content, (file, name)
                assert secret.rpartition("_")[2].rpartition(".")[2].encode() not in content, (file, name)
            searched += 1
    assert searched >= 3


def test_secret_files_are_the_owners_alone(host: Host) -> None:
    for name in ("owner.token", "meta.db", "events.db", "secrets/master.key"):
        assert (host.data / name).stat().st_mode & 0o077 == 0, name
    assert host.data.stat().st_mode & 0o077 == 0


def request_of(client: str, token: str) -> Request:
    """Make a request of a client's address with a token."""
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return Request({"type": "http", "client": (client, 1), "headers": headers})


class OneToken:
    """Know one token."""

    def find_user_of(self, token: str) -> User | None:
        """Find its user."""
        return User("owner", "owner", "owner", now()) if token == "owner_secret" else None

    def find_session(self, secret: str) -> Session | None:
        """Find none."""
        return None


def test_guessing_one_tokens_secret_is_slowed_down_and_forgotten_after_a_minute() -> None:
    now = [0.0]
    guard = Guard(OneToken(), lambda: now[0])
    for _ in range(WRONG_TOKENS_PER_MINUTE):
        with pytest.raises(ClientError, match="Unauthorized"):
            guard.check(request_of("1.2.3.4", "owner_guess"))
    with pytest.raises(OverloadedError):
        guard.check(request_of("1.2.3.4", "owner_secret"))
    guard.check(request_of("5.6.7.8", "owner_secret"))
    now[0] = 61.0
    guard.check(request_of("1.2.3.4", "owner_secret"))


def test_guessing_many_ids_is_slowed_down_without_locking_the_owner_out() -> None:
    guard = Guard(OneToken(), lambda: 0.0)
    outcomes = []
    for number in range(3 * WRONG_TOKENS_PER_MINUTE):
        with pytest.raises((ClientError, OverloadedError)) as caught:
            guard.check(request_of("1.2.3.4", f"id{number}_guess"))
        outcomes.append(caught.type)
    assert outcomes.count(ClientError) == WRONG_TOKENS_PER_MINUTE
    guard.check(request_of("1.2.3.4", "owner_secret"))


def test_guesses_of_many_clients_are_remembered_in_bounded_memory() -> None:
    guard = Guard(OneToken(), lambda: 0.0)
    for number in range(CLIENTS_REMEMBERED):
        with pytest.raises(ClientError):
            guard.check(request_of(f"client {number}", "x_y"))
    assert len(guard._wrong._counts) == CLIENTS_REMEMBERED


async def test_throttled_guesses_get_429_with_retry_after(host: Host) -> None:
    async with host.client("wrong_token") as client:
        statuses = [(await client.get("/projects")).status_code for _ in range(WRONG_TOKENS_PER_MINUTE + 1)]
        assert statuses == [401] * WRONG_TOKENS_PER_MINUTE + [429]
        assert (await client.get("/projects")).headers["retry-after"] == "60"


OWNERS_ALONE = {
    ("GET", f"{API}/users"),
    ("POST", f"{API}/users"),
    ("POST", f"{API}/users/{{user}}/invitation"),
    ("DELETE", f"{API}/users/{{user}}"),
}


async def make_callers(host: Host) -> dict[str, dict[str, str]]:
    """Make everybody who may knock; give the headers that each comes with."""
    accounts = host.services.accounts
    member, _ = await accounts.invite("member")
    gone, _ = await accounts.invite("gone")
    _, members_token = await accounts.make_token(member.id, "")
    _, gone_token = await accounts.make_token(gone.id, "")
    await accounts.delete_user(gone.id)
    accounts.clock = lambda: now() - timedelta(days=TOKEN_DAYS, seconds=1)
    _, expired = await accounts.make_token(member.id, "")
    accounts.clock = now
    same = {"sec-fetch-site": "same-origin"}
    ended = await accounts.log_in_by_token(members_token, "", former="")
    await accounts.log_out(ended.secret)
    async with host.client() as owner:
        keys = await make_credentials(owner)
    opened = await accounts.log_in_by_token(members_token, "", former="")
    cookie = {"cookie": f"microhost-local={opened.secret}"}
    return {
        "anonymous": {},
        "a project key": {"authorization": keys["a project key"]},
        "a project key as an API key": {"x-api-key": keys["a project key"].removeprefix("Bearer ")},
        "a Micro's API key": {"x-api-key": keys["an API key"].removeprefix("Bearer ")},
        "a deleted member": {"authorization": f"Bearer {gone_token}"},
        "an expired token": {"authorization": f"Bearer {expired}"},
        "an ended session": {"cookie": f"microhost-local={ended.secret}", **same},
        "a member's session from a Micro's page": {**cookie, "sec-fetch-site": "same-site"},
        "a member's session without a page": cookie,
        "a member's session": {**cookie, **same},
        "a member": {"authorization": f"Bearer {members_token}"},
        "the owner": {"authorization": f"Bearer {host.token}"},
    }


def admission(endpoint: Endpoint, caller: str) -> int:
    """Give the status of who may not call, 0 for who may."""
    if endpoint.policy is Policy.PUBLIC or caller == "the owner":
        return 0
    if caller in ("a member", "a member's session"):
        return 403 if (endpoint.method, endpoint.path) in OWNERS_ALONE else 0
    return 403 if caller.startswith("a member's session") else 401


async def test_everybody_may_call_what_the_table_says_and_nothing_else(host: Host) -> None:
    endpoints = list_endpoints(host.services)
    assert {(e.method, e.path) for e in endpoints if e.policy is Policy.OWNER} == OWNERS_ALONE
    callers = await make_callers(host)
    asked = 0
    for endpoint in endpoints:
        if (endpoint.method, endpoint.path) == ("DELETE", f"{API}/session"):
            continue  # it would end the sessions of the others
        for caller, headers in callers.items():
            answer = await call(host, endpoint, headers, str(ip_address("127.0.0.1") + next(CLIENTS)))
            wanted = admission(endpoint, caller)
            if wanted:
                assert answer.status_code == wanted, (endpoint.method, endpoint.path, caller)
            else:
                assert answer.status_code not in (401, 500), (endpoint.method, endpoint.path, caller)
                assert "Only the owner" not in answer.text, (endpoint.method, endpoint.path, caller)
            asked += 1
    assert asked > 500


async def test_a_member_neither_sees_nor_deletes_the_owners_tokens(host: Host) -> None:
    member, _ = await host.services.accounts.invite("member")
    own, text = await host.services.accounts.make_token(member.id, "mine")
    async with host.client(text) as client:
        assert [each["id"] for each in (await client.get("/tokens")).json()["tokens"]] == [own.id]
        assert (await client.delete(f"/tokens/{host.token.split('_')[0]}")).status_code == 404
        made = (await client.post("/tokens")).json()
    async with host.client(made["token"]) as client:
        assert (await client.get("/session")).json()["user"]["role"] == "member"
        assert (await client.get("/users")).status_code == 403
