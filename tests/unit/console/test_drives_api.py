"""The owner sees what a project's Drives hold, verifies it, and deletes it with the project."""

from __future__ import annotations

import httpx
import pytest
from standins import Host

from microhost.storage.drive_records import Place

pytestmark = pytest.mark.anyio


def put(host: Host, project_id: str, name: str, content: bytes) -> None:
    """Store a file in Drive `box`."""
    project = host.stores.drives.of(project_id)
    incoming = project.begin(len(content))
    incoming.write(content)
    project.put(Place("box", name), "text/plain", incoming)


async def test_drives_are_listed_with_what_they_hold(client: httpx.AsyncClient, host: Host) -> None:
    project_id = (await client.post("/projects", json={"name": "p"})).json()["id"]
    empty = (await client.get("/projects/p/drives")).json()
    assert empty == {"drives": [], "used_bytes": 0, "quota_bytes": 10_000_000_000}
    put(host, project_id, "a", b"hello")
    put(host, project_id, "b", b"you")
    put(host, project_id, "b", b"all")
    shown = (await client.get("/projects/p/drives")).json()
    assert shown["drives"] == [{"name": "box", "files": 2, "bytes": 8}]
    assert shown["used_bytes"] >= 8192


async def test_verifying_names_what_is_damaged(client: httpx.AsyncClient, host: Host) -> None:
    project_id = (await client.post("/projects", json={"name": "p"})).json()["id"]
    put(host, project_id, "a", b"hello")
    put(host, project_id, "b", b"world!")
    whole = await client.post("/projects/p/drives/box/verify")
    assert (whole.status_code, whole.json()) == (200, {"files": 2, "bytes": 11, "damaged": []})
    data = host.stores.drives._root / project_id
    (content,) = [path for path in data.rglob("*") if path.is_file() and path.read_bytes() == b"hello"]
    content.write_bytes(b"hellp")
    assert (await client.post("/projects/p/drives/box/verify", json={"name": "b"})).json()["damaged"] == []
    assert (await client.post("/projects/p/drives/box/verify")).json()["damaged"] == ["a"]
    for path, body in (("none", {}), ("box", {"name": "none"})):
        assert (await client.post(f"/projects/p/drives/{path}/verify", json=body)).status_code == 404


async def test_files_go_with_their_project(client: httpx.AsyncClient, host: Host) -> None:
    project_id = (await client.post("/projects", json={"name": "p"})).json()["id"]
    put(host, project_id, "a", b"hello")
    assert (await client.delete("/projects/p")).status_code == 204
    assert host.stores.drives.list_projects() == []
    assert not (host.stores.drives._root / project_id).exists()
