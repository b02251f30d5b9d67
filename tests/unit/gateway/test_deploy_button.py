"""`button.` gives a picture, `go.` leads to the console's page, and nothing else is there."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import httpx
import pytest

from microhost.gateway.button import Button
from microhost.gateway.hosts import Names
from microhost.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client_of(origin: str, settings: Settings | None = None) -> httpx.AsyncClient:
    settings = settings or Settings()

    async def console(scope: object, receive: object, send: object) -> None:
        raise AssertionError("the console was asked")

    button = Button(console, names=Names(settings.domain, settings.console_name), settings=settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=button), base_url=origin)


async def test_the_picture_is_an_svg_that_may_be_kept_and_shown_anywhere() -> None:
    async with client_of("http://button.localhost:8000") as client:
        answer = await client.get("/1/svg")
        again = await client.get("/1/svg", headers={"if-none-match": answer.headers["etag"]})
        head = await client.head("/1/svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cache-control"] == "public, max-age=86400"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert ElementTree.fromstring(answer.text).get("aria-label") == "Deploy to Deta"
    assert "<script" not in answer.text
    assert (again.status_code, again.content, head.status_code) == (304, b"", 200)


@pytest.mark.parametrize(
    ("origin", "settings", "leads_to"),
    [
        ("http://go.localhost:8000", Settings(), "http://localhost:8000"),
        ("https://go.localhost:8443", Settings(), "https://localhost:8443"),
        ("http://go.a.example", Settings(domain="a.example"), "http://a.example"),
        (
            "http://go.a.example:8000",
            Settings(domain="a.example", console_domain="c.example", https_port=443),
            "https://c.example",
        ),
    ],
)
async def test_the_way_to_the_page_is_the_visitors(origin: str, settings: Settings, leads_to: str) -> None:
    async with client_of(origin, settings) as client:
        answer = await client.get("/deploy?repo=https://github.com/a/b/tree/x%2Fy&evil=1")
        root = await client.get("/")
    assert answer.status_code == 302
    assert (
        answer.headers["location"]
        == f"{leads_to}/deploy?repo=https%3A%2F%2Fgithub.com%2Fa%2Fb%2Ftree%2Fx%2Fy"
    )
    assert root.headers["location"] == f"{leads_to}/"


async def test_no_address_leads_to_another_host() -> None:
    async with client_of("http://go.localhost:8000") as client:
        for path in ("/deploy?repo=//evil.example", "/deploy?repo=%0d%0aset-cookie:x", "/deploy"):
            answer = await client.get(path)
            assert answer.headers["location"].startswith("http://localhost:8000/deploy?repo=")
            assert "set-cookie" not in answer.headers
        assert (await client.get("/api/v1/projects")).status_code == 404
        assert (await client.post("/deploy?repo=x")).status_code == 405
    async with client_of("http://button.localhost:8000") as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.delete("/1/svg")).status_code == 405


def test_their_names_are_nobody_elses() -> None:
    names = Names("a.example")
    assert [
        getattr(names.find(name), "button", None) for name in (b"go.a.example", b"button.a.example:80")
    ] == [
        "go",
        "button",
    ]
    assert getattr(names.find(b"go.b.example"), "button", None) == ""
