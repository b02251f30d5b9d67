"""A Micro is made of a repository's commit with what deta.json asks for, or nothing is made."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from standins import Host, build_host, until

from microhost.limits import FETCHES_OF_ONE, FETCHES_WAITING

pytestmark = pytest.mark.anyio

URL = "https://git.example/ada/shop"
COMMIT = "c" * 40
DETA_JSON = {
    "name": "Shop",
    "description": "<b>Sells</b>",
    "env": [
        {"key": "TOKEN", "description": "Of the shop", "required": True},
        {"key": "COLOUR", "value": "red"},
    ],
    "cron": "3 minutes",
}


def put(host: Host, deta_json: object = DETA_JSON, url: str = URL, **files: str) -> None:
    """Put a repository on the far side."""
    content = {name.replace("_", "."): text for name, text in (files or {"main_py": "app = 1"}).items()}
    told: dict[str, object] = {
        "commit": COMMIT,
        "branch": "main",
        "entries": [name for name in ("main.py", "index.js") if name in content],
        "deta_json": deta_json if isinstance(deta_json, str | None) else json.dumps(deta_json),
        "warnings": [],
    }
    host.installer.repositories[url] = (told, dict(content))


@pytest.fixture
async def project(client: httpx.AsyncClient) -> str:
    answer = await client.post("/projects", json={"name": "p"})
    assert answer.status_code == 201
    return "/projects/p"


async def look(client: httpx.AsyncClient, repo: str = URL) -> httpx.Response:
    return await client.post("/repositories/look", json={"repo": repo})


async def deploy(client: httpx.AsyncClient, **wanted: Any) -> httpx.Response:
    asked = {"repo": URL, "commit": COMMIT, "env": {"TOKEN": "t"}, **wanted}
    return await client.post("/projects/p/repositories", json=asked)


async def micros(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/projects/p/micros")).json()["micros"]
    return found


async def test_a_repository_is_shown_before_anything_is_made(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host)
    answer = await look(client, f"{URL}/tree/main")
    assert answer.status_code == 200
    assert answer.json() == {
        "url": URL,
        "branch": "main",
        "commit": COMMIT,
        "name": "Shop",
        "description": "<b>Sells</b>",
        "runtime": "python3.13",
        "env": [
            {"key": "TOKEN", "description": "Of the shop", "value": "", "required": True},
            {"key": "COLOUR", "description": "", "value": "red", "required": False},
        ],
        "cron": "3 minutes",
        "notes": [],
    }
    assert await micros(client) == []


async def test_what_deta_json_says_becomes_a_micro(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host)
    answer = await deploy(client, env={"TOKEN": "secret", "COLOUR": ""})
    assert answer.status_code == 201, answer.text
    micro = answer.json()["micro"]
    assert (micro["name"], micro["cron"], micro["http_auth"]) == ("Shop", "3 minutes", True)
    assert answer.json()["deployment"]["state"] == "live"
    live = host.pool.live[micro["id"]]
    assert (live.environment["TOKEN"], live.environment["COLOUR"]) == ("secret", "")
    assert "secret" not in answer.text
    assert host.stores.meta.list_unfinished() == []
    assert list((host.data / "staging").iterdir()) == []


async def test_name_schedule_and_values_are_the_users_to_change(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host)
    answer = await deploy(client, name="mine", cron="")
    assert (answer.json()["micro"]["name"], answer.json()["micro"]["cron"]) == ("mine", None)
    live = host.pool.live[answer.json()["micro"]["id"]]
    assert live.environment["COLOUR"] == "red"


@pytest.mark.parametrize(
    ("wanted", "status", "sentence"),
    [
        ({"env": {}}, 400, "'TOKEN' is required; give it a value."),
        ({"env": {"TOKEN": "  "}}, 400, "'TOKEN' is required; give it a value."),
        ({"env": {"TOKEN": "t", "OTHER": "x"}}, 400, "deta.json names no variable 'OTHER'."),
        ({"env": {"TOKEN": "t\u0000"}}, 400, "The value of 'TOKEN' is not text"),
        ({"cron": "every day"}, 400, "every day"),
        ({"name": "a/b"}, 400, "is not a Micro's name"),
        ({"commit": "main"}, 400, "'commit'"),
        ({"repo": "file:///etc"}, 400, "is not an https address"),
        ({"repo": "https://git.example/ada/none"}, 422, "There is no public repository at"),
        ({"surplus": 1}, 400, "'surplus' is not a field"),
    ],
)
async def test_what_will_not_do_makes_nothing(
    client: httpx.AsyncClient, host: Host, project: str, wanted: dict[str, Any], status: int, sentence: str
) -> None:
    put(host)
    answer = await deploy(client, **wanted)
    assert answer.status_code == status
    assert sentence in answer.json()["errors"][0]
    assert await micros(client) == []
    assert list((host.data / "staging").iterdir()) == []


async def test_code_that_does_not_start_leaves_no_micro(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host, main_py="raise ValueError")
    answer = await deploy(client)
    assert (answer.status_code, answer.json()["cause"]) == (422, "import_error")
    put(host, main_py="app = 1", requirements_txt="nothing")
    assert "'nothing' was not found" in (await deploy(client)).json()["errors"][0]
    assert await micros(client) == []
    assert list((host.data / "bundles").iterdir()) == []
    put(host)
    assert (await deploy(client)).status_code == 201


async def test_a_name_that_is_taken_is_refused_before_anything_is_fetched(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    await client.post("/projects/p/micros", json={"name": "Shop"})
    host.installer.fetching = asyncio.Event()  # a fetch would wait for ever
    answer = await asyncio.wait_for(deploy(client, name="Shop"), 10)
    assert answer.status_code == 409
    assert [each["name"] for each in await micros(client)] == ["Shop"]


async def test_a_wrong_deta_json_gets_a_sentence_a_field(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host, {"runtime": "cobol", "cron": "sometimes"}, README_md="x")
    answer = await look(client)
    assert answer.status_code == 422
    nothing, runtime, cron = answer.json()["errors"]
    assert "neither 'main.py' nor 'index.js'" in nothing
    assert runtime.startswith("deta.json: 'runtime': 'cobol' is not a runtime of this host")
    assert cron.startswith("deta.json: 'cron': ")
    put(host, {"env": [{}]})
    assert (await look(client)).json()["errors"] == ["deta.json: 'env.0.key' is required."]
    assert (await deploy(client)).json()["errors"] == ["deta.json: 'env.0.key' is required."]


async def test_without_deta_json_the_repository_lends_its_name(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host, None)
    assert (await look(client)).json() | {"env": []} == {
        "url": URL,
        "branch": "main",
        "commit": COMMIT,
        "name": "shop",
        "description": "",
        "runtime": "python3.13",
        "env": [],
        "cron": "",
        "notes": [],
    }
    put(host, {"name": "a/b", "runtime": "node14"})
    shown = (await look(client)).json()
    assert (shown["name"], shown["runtime"]) == ("shop", "python3.13")
    assert len(shown["notes"]) == 2


async def test_old_runtimes_bring_packages_of_their_time(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host, {"runtime": "python3.7"})
    shown = (await look(client)).json()
    assert (shown["runtime"], len(shown["notes"])) == ("python3.9", 1)
    micro = (await deploy(client, env={})).json()["micro"]
    assert (micro["runtime"], micro["packages_as_of"]) == ("python3.9", "2023-05-01")


async def test_only_users_look_and_deploy(host: Host, client: httpx.AsyncClient, project: str) -> None:
    put(host)
    async with host.client(None) as stranger:
        assert (await look(stranger)).status_code == 401
        assert (await deploy(stranger)).status_code == 401
    assert await micros(client) == []


async def test_a_page_of_another_origin_deploys_nothing(
    host: Host, client: httpx.AsyncClient, project: str
) -> None:
    put(host)
    async with host.client(None) as browser:
        own = {"sec-fetch-site": "same-origin"}
        made = await browser.post("/session", json={"token": host.token}, headers=own)
        assert made.status_code == 201
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "http://evil.localhost:8000"},
        ):
            browser.headers = {**browser.headers, **headers}  # type: ignore[assignment]
            assert (await deploy(browser)).status_code == 403
        browser.headers = own  # type: ignore[assignment]
        assert (await look(browser)).status_code == 200
    assert await micros(client) == []


async def test_the_phases_are_streamed(client: httpx.AsyncClient, host: Host, project: str) -> None:
    put(host, {}, main_py="app = 1", requirements_txt="six")
    wanted = {"repo": URL, "commit": COMMIT}
    stream = {"accept": "text/event-stream"}
    answer = await client.post("/projects/p/repositories", json=wanted, headers=stream)
    events = [each.splitlines() for each in answer.text.split("\n\n") if each]
    phases = [json.loads(data[6:])["phase"] for name, data in events if name == "event: phase"]
    assert phases == ["fetch", "waiting", "validate", "dependencies", "publish", "start", "switch"]
    assert events[-1][0] == "event: live"
    assert json.loads(events[-1][1][6:])["micro"]["name"] == "shop"
    answer = await client.post("/projects/p/repositories", json=wanted, headers=stream)
    assert answer.text.split("\n\n")[-2].startswith("event: refused")


async def test_too_many_at_once_are_told_to_come_again(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host)
    host.installer.fetching = asyncio.Event()
    repositories = host.services.repositories
    own = [asyncio.create_task(repositories.look("ada", URL)) for _ in range(FETCHES_OF_ONE)]
    await until(lambda: repositories._fetching["ada"] == FETCHES_OF_ONE, "the fetches of one user")
    assert await status_of(repositories.look("ada", URL)) == "caller's"
    rest = FETCHES_WAITING - FETCHES_OF_ONE
    others = [asyncio.create_task(repositories.look(f"user-{each}", URL)) for each in range(rest)]
    await until(lambda: repositories._fetching.total() == FETCHES_WAITING, "the fetches of all")
    assert await status_of(repositories.look("bob", URL)) == "everybody's"
    host.installer.fetching.set()
    assert len(await asyncio.gather(*own, *others)) == FETCHES_WAITING
    assert (await look(client)).status_code == 200


async def status_of(call: Any) -> str:
    from microhost.errors import OverloadedError

    with pytest.raises(OverloadedError) as refused:
        await call
    return "caller's" if refused.value.is_callers else "everybody's"


async def test_a_micro_that_a_killed_host_did_not_finish_is_gone_at_the_next_start(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    catalog = host.services.catalog
    await catalog.create_micro(catalog.get_project("p"), "half", runtime=None, is_finished=False)
    await client.post("/projects/p/micros", json={"name": "whole"})
    host.stores.close()
    again = build_host(host.data)
    try:
        assert [each.name for each in again.stores.meta.list_micros()] == ["whole"]
        assert again.stores.meta.list_unfinished() == []
    finally:
        again.stores.close()


async def test_what_a_sandbox_describes_wrongly_is_our_failure(
    client: httpx.AsyncClient, host: Host, project: str
) -> None:
    put(host)
    host.installer.repositories[URL][0]["entries"] = "main.py"
    assert (await look(client)).status_code == 500
