"""Put, download, list and delete answer as the original did."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import httpx
import pytest
from driving_drive import MIB, PROJECT, Clock, client_of, get, names, on_disk, open_drives, put

from microhost.drive.upkeep import Upkeep
from microhost.errors import NotFoundError
from microhost.storage.drives import Drives

pytestmark = pytest.mark.anyio


async def test_a_file_comes_back_as_it_was_put(client: httpx.AsyncClient) -> None:
    for size in (0, 1, 65_536, 65_537, 3 * MIB + 7, 10 * MIB):
        content = os.urandom(size)
        answer = await client.post("/files", params={"name": "a/b.bin"}, content=content)
        assert answer.status_code == 201
        assert answer.json() == {"name": "a/b.bin", "project_id": PROJECT, "drive_name": "box"}
        found = await get(client, "a/b.bin")
        assert found.status_code == 200
        assert found.content == content
        assert found.headers["content-length"] == str(size)
        assert found.headers["accept-ranges"] == "bytes"


async def test_a_put_beyond_10_mib_is_refused_and_stores_nothing(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(11):
            yield b"x" * MIB

    announced = await client.post("/files?name=big", content=b"x" * (10 * MIB + 1))
    streamed = await client.post("/files?name=big", content=pieces())
    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/json"
        assert "chunked upload" in answer.json()["errors"][0]
    assert await names(client) == []
    assert on_disk(tmp_path) == []


async def test_the_content_type_is_the_told_one_else_the_names(client: httpx.AsyncClient) -> None:
    await put(client, "told.txt", **{"content-type": "x-own/thing; v=1"})
    await put(client, "dir.html/photo.PNG")
    await put(client, "unknown.zzz")
    await put(client, "packed.tar.gz")
    types = [(await get(client, name)).headers["content-type"] for name in await names(client)]
    assert types == ["image/png", "application/gzip", "x-own/thing; v=1", "application/octet-stream"]


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "p.pdf", "x.js"])
async def test_what_could_run_is_saved_and_not_shown(client: httpx.AsyncClient, name: str) -> None:
    await put(client, name, b"<script>alert(1)</script>")
    headers = (await get(client, name)).headers
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


async def test_a_picture_is_shown_but_never_guessed_at(client: httpx.AsyncClient) -> None:
    await put(client, "a.png", b"<html>")
    headers = (await get(client, "a.png")).headers
    assert headers["content-disposition"].startswith("inline;")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("name", ["a%0d%0aset-cookie:x", "a%00b", "%e2%80%a8", "a%7f"])
async def test_a_name_cannot_carry_a_header(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post(f"/files?name={name}", content=b"x")
    assert answer.status_code == 400
    assert answer.json()["errors"]


async def test_a_content_type_cannot_carry_a_header(client: httpx.AsyncClient) -> None:
    for told in (b"a/b\r\nx: y", b"a/b\x00", b"a/\xff", b"a/" + b"b" * 300):
        answer = await client.post("/files?name=x", content=b"x", headers=[(b"content-type", told)])
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "a/../../b",
        "..\\x",
        ".",
        "..",
        "con",
        "a//b",
        " lead",
        "ä ö/ü",
        "A",
        "a",
        "100%",
        "%2e",
    ],
)
async def test_a_name_is_only_a_key(client: httpx.AsyncClient, tmp_path: Path, name: str) -> None:
    await put(client, name, name.encode())
    assert (await get(client, name)).content == name.encode()
    assert await names(client) == [name]
    (content,) = on_disk(tmp_path)
    assert content.relative_to(tmp_path / "drive" / PROJECT).parts[0] == content.name[:2]
    assert len(content.name) == 32


async def test_bad_names_are_refused(client: httpx.AsyncClient) -> None:
    for query in ("", "?name=", "?name=%20%20", "?name=dir/", "?name=%ff", "?name=" + "a" * 1025):
        answer = await client.post("/files" + query, content=b"x")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json"), query
        assert len(answer.json()["errors"]) == 1
    await put(client, "a" * 1024)


async def test_plus_and_percent_20_are_both_a_space_raw_or_encoded(client: httpx.AsyncClient) -> None:
    await put(client, "a b+c&d=e")
    for query in (b"a+b%2Bc%26d=e", b"a%20b%2bc%26d%3De", b"a b%2bc%26d=e"):
        assert await _raw(client, b"name=" + query) == 200, query


async def _raw(client: httpx.AsyncClient, query: bytes) -> int:
    """Ask with a query string that no client library would build."""
    app = client._transport.app  # type: ignore[attr-defined]
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    path = f"/v1/{PROJECT}/box/files/download"
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query, "headers": []
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


async def test_an_overwrite_replaces_content_type_and_bytes(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await put(client, "x.txt", b"one", **{"content-type": "a/a"})
    await put(client, "x.txt", b"two!")
    found = await get(client, "x.txt")
    assert (found.content, found.headers["content-type"]) == (b"two!", "text/plain")
    assert len(on_disk(tmp_path)) == 1


async def test_a_missing_file_is_404_in_json(client: httpx.AsyncClient) -> None:
    for answer in (
        await get(client, "none"),
        await client.get("/files/none"),
        await client.get("/elsewhere"),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["errors"]
    assert (await client.put("/files", params={"name": "x"})).status_code == 405


async def test_a_conditional_get_saves_the_body(client: httpx.AsyncClient) -> None:
    await put(client, "x", b"0123456789")
    etag = (await get(client, "x")).headers["etag"]
    assert etag == f'"{hashlib.sha256(b"0123456789").hexdigest()}"'
    same = await get(client, "x", **{"if-none-match": f'"other", W/{etag}'})
    assert (same.status_code, same.content) == (304, b"")
    part = await get(client, "x", **{"if-range": etag, "range": "bytes=2-3"})
    assert (part.status_code, part.content) == (206, b"23")
    whole = await get(client, "x", **{"if-range": '"old"', "range": "bytes=2-3"})
    assert (whole.status_code, whole.content) == (200, b"0123456789")


@pytest.mark.parametrize("size", [10, 200_000])
async def test_ranges_give_what_was_asked(client: httpx.AsyncClient, size: int) -> None:
    content = os.urandom(size)
    await put(client, "x", content)
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=3-", 3, size - 1),
        ("bytes=-4", size - 4, size - 1),
        (f"bytes=2-{size + 50}", 2, size - 1),
        ("bytes=-99999999", 0, size - 1),
    ):
        found = await get(client, "x", range=asked)
        assert found.status_code == 206, asked
        assert found.content == content[first : last + 1]
        assert found.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert found.headers["content-length"] == str(last - first + 1)
    for asked in (
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=-",
        "lines=0-1",
        "bytes=x",
        "bytes=" + "0-0," * 10_000,
    ):
        assert (await get(client, "x", range=asked)).content == content
    for asked in (f"bytes={size}-", "bytes=-0"):
        none = await get(client, "x", range=asked)
        assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{size}")


async def test_head_tells_what_get_would(client: httpx.AsyncClient) -> None:
    await put(client, "x", b"0123456789")
    head = await client.head("/files/download", params={"name": "x"})
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")
    assert (await client.head("/files/download", params={"name": "none"})).status_code == 404


async def test_names_come_in_the_order_of_their_bytes_in_pages(client: httpx.AsyncClient) -> None:
    wanted = sorted(
        ["B", "a", "a/b", "a0", "ä", "z", "\U0001f600", "\uffee", "%", "_", "*"],
        key=lambda each: each.encode(),
    )
    for name in reversed(wanted):
        await put(client, name)
    assert (await client.get("/files")).json() == {"names": wanted}
    found, last = [], ""
    while True:
        page = (await client.get("/files", params={"limit": 3, "last": last})).json()
        found += page["names"]
        if "paging" not in page:
            break
        assert page["paging"] == {"size": 3, "last": page["names"][-1]}
        last = page["paging"]["last"]
    assert found == wanted


async def test_the_last_page_has_no_paging_even_when_it_is_full(client: httpx.AsyncClient) -> None:
    for name in ("a", "b"):
        await put(client, name)
    assert (await client.get("/files?limit=2&prefix=&last=")).json() == {"names": ["a", "b"]}
    assert (await client.get("/files?limit=1000000")).json() == {"names": ["a", "b"]}
    for limit in ("0", "-1", "x", "1.5"):
        assert (await client.get(f"/files?limit={limit}")).status_code == 400


async def test_an_empty_drive_lists_no_names(client: httpx.AsyncClient) -> None:
    assert (await client.get("/files")).json() == {"names": []}


async def test_a_prefix_is_literal(client: httpx.AsyncClient) -> None:
    for name in ("100%", "100x", "a_b", "axb", "a*", "\\"):
        await put(client, name)
    assert await names(client, prefix="100%") == ["100%"]
    assert await names(client, prefix="a_") == ["a_b"]
    assert await names(client, prefix="a*") == ["a*"]
    assert await names(client, prefix="\\") == ["\\"]
    assert await names(client, prefix="a", last="a*") == ["a_b", "axb"]


async def test_directories_collapse_to_one_name(client: httpx.AsyncClient) -> None:
    for name in ("a", "d/1", "d/2", "d/e/3", "d0", "dir/x", "z/1", "z/2"):
        await put(client, name)
    assert await names(client, recursive="false") == ["a", "d/", "d0", "dir/", "z/"]
    assert await names(client, recursive="false", prefix="d") == ["d/", "d0", "dir/"]
    assert await names(client, recursive="false", prefix="d/") == ["d/1", "d/2", "d/e/"]
    assert await names(client, recursive="false", last="d/") == ["d0", "dir/", "z/"]
    assert await names(client, recursive="false", last="d/1") == ["d0", "dir/", "z/"]
    page = (await client.get("/files", params={"recursive": "false", "limit": 2})).json()
    assert page == {"paging": {"size": 2, "last": "d/"}, "names": ["a", "d/"]}
    page = (await client.get("/files", params={"recursive": "false", "limit": 3, "last": "d/"})).json()
    assert page == {"names": ["d0", "dir/", "z/"]}


async def test_deleting_tells_what_is_gone_and_what_has_no_name(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        await put(client, name)
    answer = await client.request("DELETE", "/files", json={"names": ["a", "none", "b"]})
    assert (answer.status_code, answer.json()) == (200, {"deleted": ["a", "none", "b"]})
    answer = await client.request("DELETE", "/files", json={"names": ["c", "", "  "]})
    assert answer.json() == {"deleted": ["c"], "failed": {"": "invalid name", "  ": "invalid name"}}
    assert on_disk(tmp_path) == []


async def test_a_deletion_without_names_is_refused(client: httpx.AsyncClient) -> None:
    for body in (
        {"names": []},
        {"names": ["", " "]},
        {"names": "a"},
        {"names": [1]},
        {},
        [],
        {"names": ["x"] * 1001},
    ):
        assert (await client.request("DELETE", "/files", json=body)).status_code == 400
    assert (await client.request("DELETE", "/files", content=b"{")).status_code == 400
    assert (
        await client.request("DELETE", "/files", json={"names": [str(n) for n in range(1000)]})
    ).status_code == 200


async def test_projects_and_drives_do_not_see_each_other(client: httpx.AsyncClient, drives: Drives) -> None:
    await put(client, "mine")
    for other in (client_of(drives, project="b0projectb"), client_of(drives, drive="other")):
        async with other:
            assert (await get(other, "mine")).status_code == 404
            assert await names(other) == []
    async with client_of(drives, drive="box%2Fx") as nested:
        assert (await nested.get("/files")).status_code == 400
    async with client_of(drives, project="..") as nobody:
        assert (await nobody.get("/files")).status_code == 404


async def test_deleting_a_project_leaves_nothing(
    client: httpx.AsyncClient, drives: Drives, tmp_path: Path
) -> None:
    await put(client, "x")
    async with client_of(drives, project="b0projectb") as other:
        await put(other, "stays")
        drives.delete_project(PROJECT)
        assert [path.name for path in (tmp_path / "drive").iterdir() if path.name.startswith(PROJECT)] == []
        assert await names(other) == ["stays"]
        late = await client.post("/files", params={"name": "late"}, content=b"x")
        assert late.status_code == 404
    Upkeep(drives, clock=Clock())._look_after(PROJECT)  # it had listed the project before
    assert drives.list_projects() == ["b0projectb"]


async def test_a_request_that_comes_late_does_not_bring_a_deleted_project_back(
    drives: Drives, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await put(client, "x")
    drives.delete_project(PROJECT)
    answer = await client.get("/files")
    assert answer.status_code == 404
    with pytest.raises(NotFoundError):
        drives.of(PROJECT)
    assert list((tmp_path / "drive").iterdir()) == []


@pytest.mark.parametrize("killed", ["before anything", "after the rename", "before the contents"])
async def test_a_start_removes_what_a_killed_deletion_left(tmp_path: Path, killed: str) -> None:
    before, root = open_drives(tmp_path), tmp_path / "drive"
    for project in (PROJECT, "b0projectb"):
        async with client_of(before, project=project) as client:
            await put(client, "x")
    before.close()
    if killed != "before anything":
        (root / PROJECT).rename(root / f"{PROJECT}.gone")
    if killed == "before the contents":
        (root / f"{PROJECT}.db").unlink()
    again = open_drives(tmp_path)

    def list_kept() -> set[str]:
        (root / "c0projectc.db").touch()  # by a predecessor, for a project it has just made
        return {"b0projectb"}

    again.keep_only(list_kept)
    assert not list(root.glob(f"{PROJECT}*"))
    assert (root / "c0projectc.db").exists()
    async with client_of(again, project="b0projectb") as client:
        assert (await get(client, "x")).content == b"hello"
    again.close()
