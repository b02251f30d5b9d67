"""The console's pages: which addresses show them, in which form, under which policy."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from standins import Host
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microhost.console.site import Site

pytestmark = pytest.mark.anyio


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Lay out what a build gives."""
    root = tmp_path / "static"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>microhost</title>")
    (root / "index.html.gz").write_bytes(b"packed by gzip")
    (root / "assets" / "index-abc.js").write_text("go()")
    (root / "assets" / "index-abc.js.br").write_bytes(b"packed by brotli")
    (root / "assets" / "index-abc.js.gz").write_bytes(b"packed by gzip")
    return root


def client_of(site: Site) -> httpx.AsyncClient:
    """Speak to a site alone."""

    async def serve(request: Request) -> Response:
        return await site.serve(request) or Response(status_code=404)

    app = Starlette(routes=[Route("/{path:path}", serve)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize(
    "path", ["/", "/projects/a/micros/b/visor", "/settings", "/login/cli?code=A", "/invitation/x"]
)
async def test_every_page_is_the_same_document(built: Path, path: str) -> None:
    async with client_of(Site(built)) as client:
        page = await client.get(path, headers={"accept-encoding": "identity"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!doctype html>")
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy
        and "unsafe-inline" not in policy
        and "frame-ancestors 'none'" in policy
    )


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/projectsx", "/assets/", "/assets/../index.html.gz", "/index.html.br", "/..%2fsite.py"],
)
async def test_other_addresses_are_none_of_the_sites(built: Path, path: str) -> None:
    async with client_of(Site(built)) as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("br, gzip", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br;q=0.001", "br"),
        ("identity", ""),
        ("", ""),
    ],
)
async def test_a_file_comes_in_the_smallest_form_that_is_taken(
    built: Path, accepted: str, encoding: str
) -> None:
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/assets/index-abc.js",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"accept-encoding", accepted.encode())],
        }
    )
    answer = await Site(built).serve(request)
    assert answer is not None
    assert answer.headers.get("content-encoding", "") == encoding
    assert answer.body == {"br": b"packed by brotli", "gzip": b"packed by gzip", "": b"go()"}[encoding]
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "accept-encoding"


async def test_a_document_that_is_known_is_not_sent_again(built: Path) -> None:
    async with client_of(Site(built)) as client:
        tag = (await client.get("/", headers={"accept-encoding": "identity"})).headers["etag"]
        again = await client.get("/", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_without_the_built_files_the_host_serves_and_says_what_to_do(tmp_path: Path) -> None:
    async with client_of(Site(tmp_path / "nothing")) as client:
        page = await client.get("/projects/a")
    assert page.status_code == 503
    assert "make setup" in page.text


async def test_pages_stand_beside_the_api(host: Host, client: httpx.AsyncClient) -> None:
    """What is no page keeps the API's own refusals."""
    missing = await client.get("http://localhost:8000/nothing/at/all")
    assert (missing.status_code, missing.json()) == (404, {"errors": ["There is nothing at this address."]})
    assert (await client.get("http://localhost:8000/api/v1/projects")).headers[
        "content-type"
    ] == "application/json"
    assert (await client.get("http://localhost:8000/")).headers["content-type"].partition(";")[0] in (
        "text/html",
        "text/plain",
    )
