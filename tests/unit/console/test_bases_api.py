"""The owner sees the Bases of a project and declares indexes on them."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from standins import Host

from microhost.base.http import create_app
from microhost.storage.base_file import StoredItem

pytestmark = pytest.mark.anyio
INDEXES = "/projects/p/bases/things/indexes"


async def make_base(host: Host, client: httpx.AsyncClient) -> str:
    """Make a project with one Base; give the project's id."""
    project_id = str((await client.post("/projects", json={"name": "p"})).json()["id"])
    items = [StoredItem(b"%03d" % n, f'{{"key":"{n:03}","n":{n % 10},"a":{{"b":{n}}}}}') for n in range(300)]
    await host.stores.bases.put(project_id, "things", items)
    return project_id


async def test_bases_are_listed_once_they_are_written_to(host: Host, client: httpx.AsyncClient) -> None:
    await client.post("/projects", json={"name": "empty"})
    assert (await client.get("/projects/empty/bases")).json() == {"bases": []}
    await make_base(host, client)
    assert (await client.get("/projects/p/bases")).json() == {"bases": [{"name": "things"}]}
    assert (await client.get("/projects/none/bases")).status_code == 404
    assert (await client.get("/projects/empty/bases/things/indexes")).status_code == 404


async def test_an_index_is_declared_built_shown_and_deleted(host: Host, client: httpx.AsyncClient) -> None:
    await make_base(host, client)
    assert (await client.get(INDEXES)).json() == {"indexes": [], "suggestions": []}
    made = await client.post(INDEXES, json={"path": "a.b"})
    assert made.status_code == 201
    assert {"path": "a.b"}.items() <= made.json().items()
    assert (await client.post(INDEXES, json={"path": "a.b"})).status_code == 409
    deadline = time.monotonic() + 20
    while (await client.get(INDEXES)).json()["indexes"][0]["state"] != "ready":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    assert (await client.delete(INDEXES)).status_code == 400
    assert (await client.delete(INDEXES, params={"path": "a"})).status_code == 404
    assert (await client.delete(INDEXES, params={"path": "a.b"})).status_code == 204
    assert (await client.get(INDEXES)).json()["indexes"] == []


@pytest.mark.parametrize("path", ["", ".", "a.", "a..b", "key", "a\0b", "a?gt", "x" * 1025, "\ud800"])
async def test_a_path_that_no_query_can_use_is_refused(
    host: Host, client: httpx.AsyncClient, path: str
) -> None:
    await make_base(host, client)
    content = (
        b'{"path": "\\ud800"}'
        if path == "\ud800"
        else httpx.Request("POST", "http://x", json={"path": path}).content
    )
    assert (await client.post(INDEXES, content=content)).status_code == 400


async def test_an_index_is_suggested_from_what_queries_scanned(host: Host, client: httpx.AsyncClient) -> None:
    project_id = await make_base(host, client)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(host.stores.bases))) as base:
        for _ in range(2):
            for query in ({"n": 7}, {"n?ne": 3}, {"a.b?lt": 299}, {"key?pfx": "1"}):
                url = f"http://base/v1/{project_id}/things/query"
                assert (await base.post(url, json={"query": query})).status_code == 200
    shown = (await client.get(INDEXES)).json()
    assert shown["suggestions"] == [{"path": "n", "pages": 2, "rows_scanned": 600, "rows_given": 60}]
    await client.post(INDEXES, json={"path": "n"})
    assert (await client.get(INDEXES)).json()["suggestions"] == []
