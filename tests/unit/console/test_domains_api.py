"""Custom domains: which there may be, whose they are, and whether they lead here."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standins import Host

from microhost.errors import ClientError
from microhost.gateway.hosts import split_host
from microhost.micros.names import check_domain
from tests.name_server import NameServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def at(client: httpx.AsyncClient) -> str:
    """Give the address of the domains of a Micro."""
    await client.post("/projects", json={"name": "p"})
    for name in ("m", "other"):
        await client.post("/projects/p/micros", json={"name": name})
    return "/projects/p/micros/m/domains"


async def test_five_domains_can_be_given_and_taken(client: httpx.AsyncClient, at: str) -> None:
    for number in range(5):
        assert (await client.put(f"{at}/Shop{number}.Example.ORG.")).status_code == 200
    assert (await client.put(f"{at}/shop0.example.org")).status_code == 200
    refused = await client.put(f"{at}/sixth.example.org")
    assert (refused.status_code, "at most 5" in refused.text) == (409, True)
    assert (await client.delete(f"{at}/shop0.example.org")).status_code == 204
    assert (await client.delete(f"{at}/shop0.example.org")).status_code == 404
    shown = (await client.put(f"{at}/sixth.example.org")).json()["domains"]
    assert [each["domain"] for each in shown] == [
        *(f"shop{number}.example.org" for number in range(1, 5)),
        "sixth.example.org",
    ]


async def test_a_domain_leads_to_one_micro(host: Host, client: httpx.AsyncClient, at: str) -> None:
    other = at.replace("/m/", "/other/")
    await client.put(f"{at}/shop.example.org")
    assert (await client.put(f"{other}/shop.example.org")).status_code == 409
    found = host.services.directory.find_domain(b"shop.example.org")
    assert found is not None
    assert found.micro.name == "m"
    await client.delete("/projects/p/micros/m")
    assert host.services.directory.find_domain(b"shop.example.org") is None
    assert (await client.put(f"{other}/shop.example.org")).status_code == 200


async def test_domains_are_known_again_after_a_start(host: Host, client: httpx.AsyncClient, at: str) -> None:
    await client.put(f"{at}/shop.example.org")
    found = host.services.directory.find_domain(b"shop.example.org")
    assert found is not None
    host.services.directory.remove_domain("shop.example.org", "another")
    assert host.services.directory.find_domain(b"shop.example.org") is not None
    host.services.directory.remove_domain("shop.example.org", found.micro.id)
    assert host.services.directory.find_domain(b"shop.example.org") is None
    host.services.catalog.load()
    assert host.services.directory.find_domain(b"shop.example.org") is not None


@pytest.mark.parametrize(
    "domain",
    [
        *("localhost", "x.localhost", "example", "database.deta.sh", "192.0.2.1", "1.2.3.4.", "[::1]"),
        *("-a.example", "a-.example", "a..example", "*.example.org", "späti.de", "a_b.example.org"),
        *("a" * 64 + ".org", "a." * 127 + "org", "shop.example.org:80", "user@example.org", "printer.local"),
    ],
)
async def test_what_is_no_domain_or_not_theirs_is_refused(
    client: httpx.AsyncClient, at: str, domain: str
) -> None:
    assert (await client.put(f"{at}/{domain}")).status_code == 400


def test_nothing_below_our_own_domain_can_be_given() -> None:
    for name in ("example.org", "API.example.org", "a.b.example.org"):
        with pytest.raises(ClientError, match="is not yours"):
            check_domain(name, own=("example.org",))
    assert check_domain("notexample.org", own=("example.org",)) == "notexample.org"


@given(st.from_regex(r"\A[A-Za-z0-9.-]{1,40}\.?\Z"))
def test_every_domain_that_may_be_given_is_one_that_the_gateway_reads(name: str) -> None:
    try:
        domain = check_domain(name, own=("localhost",))
    except ClientError:
        return
    assert split_host(domain.encode()) == (domain.encode(), b"")


async def test_a_domain_is_active_once_it_leads_here(
    host: Host, client: httpx.AsyncClient, at: str, name_server: NameServer
) -> None:
    shown = (await client.put(f"{at}/shop.example.org")).json()["domains"]
    assert [(each["state"], each["points_to"]) for each in shown] == [("pending", "127.0.0.1")]
    reason = "'shop.example.org' does not exist yet. Add an A record for it with 127.0.0.1"
    assert shown[0]["reason"].startswith(reason)
    directory = host.services.directory
    assert not directory.is_active_domain(b"shop.example.org")
    name_server.zone["shop.example.org"] = {"A": ["127.0.0.1"]}
    shown = (await client.post(f"{at}/shop.example.org/check")).json()["domains"]
    assert [(each["state"], each["reason"]) for each in shown] == [("active", "")]
    assert directory.is_active_domain(b"shop.example.org")
    host.services.catalog.load()
    assert directory.is_active_domain(b"shop.example.org")
    name_server.zone["shop.example.org"] = {"A": ["203.0.113.7"]}
    await host.services.domains.check_due()  # its turn is in six hours
    assert (await client.get(at)).json()["domains"][0]["state"] == "active"
    shown = (await client.post(f"{at}/shop.example.org/check")).json()["domains"]
    assert shown[0]["state"] == "failed"
    assert not directory.is_active_domain(b"shop.example.org")
    assert (await client.post(f"{at}/other.example.org/check")).status_code == 404


async def test_a_domain_that_was_given_up_is_kept_for_its_project(
    client: httpx.AsyncClient, at: str, name_server: NameServer
) -> None:
    await client.post("/projects", json={"name": "q"})
    await client.post("/projects/q/micros", json={"name": "m"})
    for name in ("shop", "blog"):
        name_server.zone[f"{name}.example.org"] = {"A": ["127.0.0.1"]}
        await client.put(f"{at}/{name}.example.org")
    await client.put(f"{at}/mistaken.example.org")  # it never led here
    for name in ("shop", "mistaken"):
        await client.delete(f"{at}/{name}.example.org")
    await client.delete("/projects/p/micros/m")
    for name in ("shop", "blog"):
        refused = await client.put(f"/projects/q/micros/m/domains/{name}.example.org")
        assert (refused.status_code, "was another project's until recently" in refused.text) == (409, True)
    assert (await client.put("/projects/p/micros/other/domains/shop.example.org")).status_code == 200
    assert (await client.put("/projects/q/micros/m/domains/mistaken.example.org")).status_code == 200


async def test_a_lookup_that_ends_after_its_domain_went_brings_nothing_back(
    host: Host, client: httpx.AsyncClient, at: str, name_server: NameServer
) -> None:
    name_server.zone["shop.example.org"] = {"A": ["127.0.0.1"]}
    await client.put(f"{at}/shop.example.org")
    (before,) = host.stores.meta.domains.list_domains()
    await client.delete(f"{at}/shop.example.org")
    await host.services.domains.check(before)
    assert host.services.directory.find_domain(b"shop.example.org") is None
    assert not host.services.directory.is_active_domain(b"shop.example.org")
