"""Projects and Micros over the API: made, shown, changed, deleted; names kept apart."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from standins import Host, build_host, zip_of

from microhost.errors import StorageFullError
from microhost.limits import CRON_NEXT_TIMES
from microhost.micros.names import QUARANTINE, RESERVED

pytestmark = pytest.mark.anyio
MICRO = "/projects/p/micros/m"
ZIP = {"content-type": "application/zip"}


@pytest.fixture
async def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give the owner's client, with a project `p` and a Micro `m` in it."""
    assert (await client.post("/projects", json={"name": "p"})).status_code == 201
    assert (await client.post("/projects/p/micros", json={"name": "m"})).status_code == 201
    return client


async def change(client: httpx.AsyncClient, micro: str = MICRO, **settings: Any) -> httpx.Response:
    """Change a Micro's settings."""
    return await client.patch(micro, json=settings)


async def test_a_project_is_found_by_its_id_and_its_name(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/projects/p")).json()
    assert 8 <= len(shown["id"]) <= 11
    assert (await client.get(f"/projects/{shown['id']}")).json() == shown
    assert (await client.get("/projects")).json() == {"projects": [shown]}


async def test_a_project_is_renamed_and_keeps_all_it_has(client: httpx.AsyncClient, host: Host) -> None:
    before = (await client.get("/projects/p")).json()
    key = (await client.post("/projects/p/keys", json={"name": "k"})).json()["key"]
    changed = await client.patch("/projects/p", json={"name": " shop "})
    assert changed.json() == (await client.get("/projects/shop")).json() == before | {"name": "shop"}
    assert (await client.get("/projects/p")).status_code == 404
    micro = (await client.get(f"/projects/{before['id']}/micros/m")).json()
    assert micro["project_name"] == "shop"
    assert host.services.directory.find_project_of(key) == before["id"]


async def test_a_project_allows_builds_and_forbids_them_again(client: httpx.AsyncClient) -> None:
    before = (await client.get("/projects/p")).json()
    for allowed in (True, False):
        changed = await client.patch("/projects/p", json={"builds_allowed": allowed})
        assert (
            changed.json() == (await client.get("/projects/p")).json() == before | {"builds_allowed": allowed}
        )
    assert (await client.patch("/projects/p", json={})).json() == before


async def test_a_change_of_a_project_is_all_or_none(client: httpx.AsyncClient) -> None:
    before = (await client.get("/projects/p")).json()
    await client.post("/projects", json={"name": "q"})
    for body, status in (
        ({"name": "q", "builds_allowed": True}, 409),
        ({"name": "a/b", "builds_allowed": True}, 400),
        ({"name": None}, 400),
        ({"builds_allowed": "yes"}, 400),
        ({"id": "x"}, 400),
    ):
        assert (await client.patch("/projects/p", json=body)).status_code == status, body
    assert (await client.get("/projects/p")).json() == before
    assert (await client.patch("/projects/none", json={"name": "r"})).status_code == 404


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a/b", "..", "a\nb", "a?b", "a#b", "\u202e"])
async def test_names_that_could_not_stand_in_an_address_are_refused(
    client: httpx.AsyncClient, name: str
) -> None:
    for path in ("/projects", "/projects/p/micros"):
        answer = await client.post(path, json={"name": name})
        assert answer.status_code == 400
        assert answer.json()["errors"][0].endswith(".")


async def test_names_of_projects_and_of_their_micros_are_taken_once(client: httpx.AsyncClient) -> None:
    assert (await client.post("/projects", json={"name": "p"})).status_code == 409
    assert (await client.post("/projects/p/micros", json={"name": "m"})).status_code == 409
    await client.post("/projects", json={"name": "q"})
    assert (await client.post("/projects/q/micros", json={"name": "m"})).status_code == 201


async def test_a_new_micro_is_closed_new_and_on_the_newest_runtime(client: httpx.AsyncClient) -> None:
    shown = (await client.get(MICRO)).json()
    assert shown["http_auth"] is True
    assert shown["state"] == "new"
    assert shown["runtime"] == "python3.13"
    assert shown["packages_as_of"] is None
    assert len(shown["path"]) == 6
    assert shown["endpoint"] == f"http://{shown['path']}.localhost:8000"
    assert (shown["timeout_s"], shown["memory_mb"], shown["concurrency"]) == (10.0, 512, 1)
    assert shown["warnings"] == []


@pytest.mark.parametrize(
    ("asked", "given", "as_of", "warned"),
    [
        ("python3.7", "python3.9", "2023-05-01", True),
        ("python3.8", "python3.9", "2023-05-01", True),
        ("python3.9", "python3.9", "2023-05-01", False),
        ("3.9", "python3.9", "2023-05-01", False),
        ("python3.10", "python3.11", None, True),
        ("python3.11.4", "python3.11", None, False),
        ("python3.99", "python3.13", None, True),
        ("python3.", "python3.13", None, False),
        ("python", "python3.13", None, False),
    ],
)
async def test_runtimes_are_mapped_to_those_of_the_host(
    client: httpx.AsyncClient, asked: str, given: str, as_of: str | None, warned: bool
) -> None:
    shown = (await client.post("/projects/p/micros", json={"name": "r", "runtime": asked})).json()
    assert (shown["runtime"], shown["packages_as_of"]) == (given, as_of)
    assert bool(shown["warnings"]) is warned


@pytest.mark.parametrize("asked", ["python2.7", "ruby", " ", "3.9.1.2"])
async def test_runtimes_that_are_none_are_refused(client: httpx.AsyncClient, asked: str) -> None:
    answer = await client.post("/projects/p/micros", json={"name": "r", "runtime": asked})
    assert answer.status_code == 400
    assert "it has python3.9" in answer.json()["errors"][0]


async def test_a_language_that_the_host_lacks_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/projects/p/micros", json={"name": "r", "runtime": "nodejs14.x"})
    assert answer.status_code == 503
    assert "no Node runtime; it has python3.9" in answer.json()["errors"][0]


async def test_settings_change_one_by_one(client: httpx.AsyncClient, host: Host) -> None:
    before = (await client.get(MICRO)).json()
    changes: dict[str, Any] = {
        "http_auth": False,
        "timeout_s": 60,
        "memory_mb": 1024,
        "packages_as_of": "2024-02-29",
        "subdomain": "my-app_1",
    }
    for name, value in changes.items():
        answer = await change(client, **{name: value})
        assert answer.status_code == 200, answer.text
        assert answer.json()[name] == value
    after = (await client.get(MICRO)).json()
    assert {name for name in after if after[name] != before[name]} == {*changes, "subdomain_endpoint"}
    assert len(host.pool.updated) == len(changes)
    route = host.services.directory.find("my-app_1")
    assert route is not None
    assert route.micro.timeout_s == 60
    assert (await change(client, packages_as_of=None, subdomain=None)).json()["subdomain"] is None
    assert host.services.directory.find("my-app_1") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout_s": 0},
        {"timeout_s": 901},
        {"timeout_s": "10"},
        {"memory_mb": 63},
        {"memory_mb": 1e9},
        {"memory_mb": 10**400},
        {"memory_mb": 512.5},
        {"concurrency": 0},
        {"concurrency": 2},
        {"http_auth": 1},
        {"http_auth": None},
        {"name": ""},
        {"name": None},
        {"runtime": "cobol"},
        {"packages_as_of": "yesterday"},
        {"unknown": 1},
        {"id": "x"},
        {"timeout_s": 20, "memory_mb": 1},
    ],
)
async def test_wrong_settings_are_refused_and_change_nothing(
    client: httpx.AsyncClient, settings: dict[str, Any]
) -> None:
    before = (await client.get(MICRO)).json()
    answer = await change(client, **settings)
    assert answer.status_code == 400
    assert answer.json()["errors"]
    assert (await client.get(MICRO)).json() == before


async def test_a_taken_name_undoes_the_sub_domain_too(client: httpx.AsyncClient, host: Host) -> None:
    await client.post("/projects/p/micros", json={"name": "other"})
    assert (await change(client, name="other", subdomain="wanted")).status_code == 409
    assert (await client.get(MICRO)).json()["subdomain"] is None
    assert (await change(client, "/projects/p/micros/other", subdomain="wanted")).status_code == 200


@pytest.mark.parametrize(
    "label",
    [
        "abc",
        "-abcd",
        "abcd-",
        "_abcd",
        "ab.cd",
        "ab cd",
        "x" * 64,
        "\u00e9t\u00e9s",
        "xn--abc",
        "",
        *sorted(RESERVED),
    ],
)
async def test_sub_domains_that_break_the_rules_are_refused(client: httpx.AsyncClient, label: str) -> None:
    assert (await change(client, subdomain=label)).status_code == 400


async def test_a_sub_domain_is_lower_case_and_taken_once(client: httpx.AsyncClient) -> None:
    await client.post("/projects/p/micros", json={"name": "other"})
    assert (await change(client, subdomain="Shop")).json()["subdomain"] == "shop"
    assert (await change(client, "/projects/p/micros/other", subdomain="SHOP")).status_code == 409


async def test_another_micros_random_path_cannot_be_chosen(client: httpx.AsyncClient) -> None:
    path = (await client.get(MICRO)).json()["path"]
    await client.post("/projects/p/micros", json={"name": "other"})
    assert (await change(client, "/projects/p/micros/other", subdomain=path)).status_code == 409


@pytest.mark.parametrize("way", ["given up", "deleted"])
async def test_a_name_given_up_is_closed_to_other_projects_for_a_while(
    client: httpx.AsyncClient, host: Host, way: str
) -> None:
    await change(client, subdomain="shop")
    await client.post("/projects", json={"name": "q"})
    await client.post("/projects/q/micros", json={"name": "m"})
    await client.post("/projects/p/micros", json={"name": "second"})
    await (change(client, subdomain=None) if way == "given up" else client.delete(MICRO))
    assert (await change(client, "/projects/q/micros/m", subdomain="shop")).status_code == 409
    assert (await change(client, "/projects/p/micros/second", subdomain="shop")).status_code == 200
    assert (await change(client, "/projects/p/micros/second", subdomain="other")).status_code == 200
    later = host.services.clock() + QUARANTINE + timedelta(seconds=1)
    host.services.catalog._clock = lambda: later
    assert (await change(client, "/projects/q/micros/m", subdomain="shop")).status_code == 200


async def test_a_deleted_micro_leaves_nothing(client: httpx.AsyncClient, host: Host) -> None:
    shown = (await client.get(MICRO)).json()
    await change(client, subdomain="shop")
    await client.post(f"{MICRO}/deployments", content=zip_of({"main.py": "app = 1"}), headers=ZIP)
    await client.post(f"{MICRO}/api-keys", json={"name": "k"})
    await client.put(f"{MICRO}/env", json={"A": "1"})
    await client.put(f"{MICRO}/cron", json={"expression": "1 hour"})
    assert (await client.delete(MICRO)).status_code == 204
    assert (await client.get(MICRO)).status_code == 404
    assert host.pool.removed == [shown["id"]]
    assert list((host.data / "bundles").iterdir()) == []
    directory, meta = host.services.directory, host.stores.meta
    assert directory.find(shown["path"]) is directory.find("shop") is directory.get(shown["id"]) is None
    assert meta.list_api_keys() == meta.schedules.list_schedules() == []
    assert meta.list_environment(shown["id"]) == {}
    assert host.services.schedules.get(shown["id"]) is None
    assert all(key.micro_id is None for key in meta.list_project_keys())


async def test_a_deleted_project_takes_its_micros_along(client: httpx.AsyncClient, host: Host) -> None:
    await client.post("/projects/p/micros", json={"name": "second"})
    await client.post("/projects/p/keys", json={"name": "k"})
    assert (await client.delete("/projects/p")).status_code == 204
    assert host.stores.meta.list_micros() == host.stores.meta.list_project_keys() == []
    assert len(host.pool.removed) == 2
    assert (await client.get("/projects")).json() == {"projects": []}


async def test_everything_is_there_again_after_a_restart(client: httpx.AsyncClient, host: Host) -> None:
    await change(client, subdomain="shop", http_auth=False)
    await client.post(f"{MICRO}/deployments", content=zip_of({"main.py": "app = 1"}), headers=ZIP)
    key = (await client.post(f"{MICRO}/api-keys", json={"name": "k"})).json()
    await client.put(f"{MICRO}/env", json={"A": "1", "EMPTY": ""})
    shown = (await client.get(MICRO)).json()
    host.stores.close()
    again = build_host(host.data)
    assert again.token == host.token
    async with again.client() as client:
        assert (await client.get(MICRO)).json() == {**shown, "state": "cold"}
        keys = (await client.get(f"{MICRO}/api-keys")).json()["api_keys"]
        assert [each["prefix"] for each in keys] == [key["prefix"]]
    route = again.services.directory.find("shop")
    assert route is not None
    assert len(route.digests) == 1
    _, revision, environment = again.services.deployer.load(shown["id"])
    assert revision.id == shown["live_deployment"]
    assert environment == {
        "A": "1",
        "EMPTY": "",
        "DETA_PATH": shown["path"],
        "DETA_RUNTIME": "true",
        "DETA_PROJECT_KEY": environment["DETA_PROJECT_KEY"],
    }
    assert environment["DETA_PROJECT_KEY"].startswith(f"{shown['project']}_")
    again.stores.close()


async def test_api_keys_are_shown_once_and_open_until_deleted(client: httpx.AsyncClient, host: Host) -> None:
    made = (
        await client.post(f"{MICRO}/api-keys", json={"name": "first_key", "description": "agent 1"})
    ).json()
    assert made.keys() == {"name", "description", "prefix", "api_key", "created"}
    assert made["api_key"].startswith(f"{made['prefix']}.")
    listed = (await client.get(f"{MICRO}/api-keys")).json()["api_keys"]
    assert [each.keys() for each in listed] == [{"name", "description", "prefix", "created"}]
    assert (await client.post(f"{MICRO}/api-keys", json={"name": "first_key"})).status_code == 409
    route = host.services.directory.get((await client.get(MICRO)).json()["id"])
    assert route is not None
    assert len(route.digests) == 1
    assert (await client.delete(f"{MICRO}/api-keys/first_key")).status_code == 204
    assert (await client.delete(f"{MICRO}/api-keys/first_key")).status_code == 404
    route = host.services.directory.get(route.micro.id)
    assert route is not None
    assert route.digests == frozenset()


async def test_project_keys_of_micros_are_neither_listed_nor_deleted(
    client: httpx.AsyncClient, host: Host
) -> None:
    await client.post("/projects/p/keys", json={"name": "mine"})
    assert [key["name"] for key in (await client.get("/projects/p/keys")).json()["keys"]] == ["mine"]
    own = next(key.name for key in host.stores.meta.list_project_keys() if key.micro_id)
    assert (await client.delete(f"/projects/p/keys/{own}")).status_code == 404
    assert (await client.delete("/projects/p/keys/mine")).status_code == 204


async def test_a_micro_is_not_found_through_another_project(client: httpx.AsyncClient) -> None:
    await client.post("/projects", json={"name": "q"})
    micro_id = (await client.get(MICRO)).json()["id"]
    assert (await client.get(f"/projects/p/micros/{micro_id}")).status_code == 200
    for path in ("", "/env", "/files", "/bundle", "/events", "/logs", "/cron", "/api-keys", "/deployments"):
        assert (await client.get(f"/projects/q/micros/{micro_id}{path}")).status_code == 404


async def test_a_schedule_is_set_shown_and_removed(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{MICRO}/cron")).status_code == 404
    shown = (await client.put(f"{MICRO}/cron", json={"expression": "0 10 * * ? *"})).json()
    assert len(shown["next"]) == 5
    assert (await client.get(MICRO)).json()["cron"] == "0 10 * * ? *"
    assert (await client.put(f"{MICRO}/cron", json={"expression": "1 minutes"})).status_code == 400
    assert (await client.get(f"{MICRO}/cron")).json() == shown
    assert (await client.get("/cron", params={"expression": "0 10 * * ? *"})).json() == shown
    assert (await client.delete(f"{MICRO}/cron")).status_code == 204
    assert (await client.get(f"{MICRO}/cron")).status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"name": 1}', b'{"name": "x"} x']
)
async def test_bodies_that_are_not_what_was_wanted_are_refused(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post("/projects", content=body)
    assert answer.status_code == 400
    assert all(isinstance(error, str) and error.endswith(".") for error in answer.json()["errors"])


async def test_a_body_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/projects", content=b'{"name": "' + b"x" * 1_000_000 + b'"}')
    assert answer.status_code == 413


async def test_our_own_faults_show_an_incident_number_only(client: httpx.AsyncClient, host: Host) -> None:
    async def broken() -> Any:
        raise RuntimeError("secret detail in /some/path")

    object.__setattr__(host.services, "doctor", broken)
    answer = await client.get("/doctor")
    assert answer.status_code == 500
    assert answer.json()["incident"] in answer.json()["errors"][0]
    assert "secret" not in answer.text


async def test_a_full_disk_is_507_and_says_so(client: httpx.AsyncClient, host: Host) -> None:
    with host.stores.meta._database.write() as sql:
        sql.pragma("max_page_count", sql.pragma("page_count"))
    for number in range(200):
        answer = await client.post("/projects", json={"name": f"p{number}"})
        if answer.status_code != 201:
            break
    assert answer.status_code == 507
    assert answer.json()["errors"] == ["The host's disk is full; nothing was changed."]
    assert (await client.get("/projects")).status_code == 200


async def test_an_expression_is_explained_without_being_set(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/cron", params={"expression": " 2  hours "})).json()
    assert shown["description"] == "Every 2 hours, counted from when it was set"
    assert len(shown["next"]) == CRON_NEXT_TIMES
    assert (await client.get(MICRO)).json()["cron"] is None
    for expression, reason in (
        ("1 minutes", "after 1 write 'minute'"),
        ("0 10 * * ? 1999", "never fires again"),
        ("", "An expression is required"),
        ("0" * 300, "at most 256 characters"),
    ):
        refused = await client.get("/cron", params={"expression": expression})
        assert refused.status_code == 400
        assert reason in refused.json()["errors"][0]
    assert (await client.get("/cron")).status_code == 400


@pytest.mark.parametrize("setting", ["name", "runtime", "http_auth", "visor", "timeout_s", "memory_mb"])
async def test_a_setting_that_cannot_be_null_is_refused_by_name(
    client: httpx.AsyncClient, setting: str
) -> None:
    refused = await change(client, **{setting: None})
    assert refused.status_code == 400
    assert f"'{setting}'" in refused.json()["errors"][0]


async def test_a_micro_that_a_full_disk_keeps_from_deletion_goes_on_to_serve(
    client: httpx.AsyncClient, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post("/projects", json={"name": "kept"})
    micro = (await client.post("/projects/kept/micros", json={"name": "m"})).json()

    def fill(micro_id: str, *, now: object) -> None:
        raise StorageFullError("The host's disk is full; nothing was changed.")

    monkeypatch.setattr(host.stores.meta, "delete_micro", fill)
    assert (await client.delete("/projects/kept/micros/m")).status_code == 507
    assert host.services.directory.find(micro["path"]) is not None
