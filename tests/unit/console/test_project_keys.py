"""The directory knows every project key from the moment its making has answered until its deletion has."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from standins import Host

from microhost.micros.keys import open_micro_key

pytestmark = pytest.mark.anyio


async def test_a_key_opens_from_its_making_to_its_deletion(host: Host, client: httpx.AsyncClient) -> None:
    directory = host.services.directory
    project = (await client.post("/projects", json={"name": "p"})).json()["id"]
    assert directory.has_project(project)
    first = (await client.post("/projects/p/keys", json={"name": "a"})).json()["key"]
    second = (await client.post("/projects/p/keys", json={"name": "b"})).json()["key"]
    assert [directory.find_project_of(each) for each in (first, second)] == [project, project]
    assert (await client.delete("/projects/p/keys/a")).status_code == 204
    assert [directory.find_project_of(each) for each in (first, second)] == [None, project]
    assert (await client.delete("/projects/p")).status_code == 204
    assert directory.find_project_of(second) is None
    assert not directory.has_project(project)


async def test_a_micros_own_key_opens_while_the_micro_lives(host: Host, client: httpx.AsyncClient) -> None:
    stores, directory = host.services.stores, host.services.directory
    project = (await client.post("/projects", json={"name": "p"})).json()["id"]
    micro = (await client.post("/projects/p/micros", json={"name": "m"})).json()["id"]
    record = stores.meta.find_key_of_micro(micro)
    assert record is not None
    key = open_micro_key(record, stores.vault)
    assert directory.find_project_of(key) == project
    assert (await client.delete("/projects/p/micros/m")).status_code == 204
    assert directory.find_project_of(key) is None
    assert directory.has_project(project)


async def test_keys_are_known_again_after_a_start(host: Host, client: httpx.AsyncClient) -> None:
    directory = host.services.directory
    project = (await client.post("/projects", json={"name": "p"})).json()["id"]
    key = (await client.post("/projects/p/keys", json={"name": "a"})).json()["key"]
    directory.remove_project(project)
    host.services.catalog.load()
    assert directory.find_project_of(key) == project


async def test_keys_made_and_deleted_at_once_are_known_as_they_stand(
    host: Host, client: httpx.AsyncClient
) -> None:
    project = (await client.post("/projects", json={"name": "p"})).json()["id"]

    async def churn(name: str) -> str:
        for _ in range(5):
            await client.post("/projects/p/keys", json={"name": name})
            await client.delete(f"/projects/p/keys/{name}")
        return str((await client.post("/projects/p/keys", json={"name": name})).json()["key"])

    keys = await asyncio.gather(*(churn(f"k{number}") for number in range(4)))
    assert [host.services.directory.find_project_of(each) for each in keys] == [project] * 4
