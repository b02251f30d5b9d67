"""Sessions and entries over TLS, and behind a proxy that speaks it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.driving import Host, Micro, zip_app

pytestmark = pytest.mark.root
DOMAIN = "micros.example.org"
SAME = {"Sec-Fetch-Site": "same-origin"}
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host of a real domain, with TLS, that believes a proxy at 127.0.0.1."""
    data = tmp_path_factory.mktemp("secure") / "data"
    settings = {"MICROHOST_UPSTREAM_PROXIES": "127.0.0.1"}
    running = Host(data, "--tls-port", "0", "--domain", DOMAIN, environment=settings)
    running.client.headers["Host"] = f"{DOMAIN}:{running.port}"
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="module")
def closed(host: Host) -> Micro:
    project = host.new_project("secure")["id"]
    micro = host.new_micro(project, "closed", public=False)
    micro.must_deploy(zip_app("plain-asgi"))
    return micro


def over_tls(host: Host, method: str, url: str, **more: object) -> httpx.Response:
    """Send a request to the TLS port under the name in `url`."""
    parts = httpx.URL(url)
    headers = {"Host": parts.netloc.decode(), **dict(more.pop("headers", None) or {})}  # type: ignore[call-overload]
    at = f"https://127.0.0.1:{host.tls_port}{parts.raw_path.decode()}"
    with httpx.Client(verify=False) as client:
        request = client.build_request(method, at, headers=headers, **more)  # type: ignore[arg-type]
        request.extensions["sni_hostname"] = parts.host
        return client.send(request)


def cookie_of(answer: httpx.Response) -> str:
    """Give the pair that a browser sends back."""
    return answer.headers["set-cookie"].partition(";")[0]


def test_over_tls_a_session_and_an_entry_have_the_prefix(host: Host, closed: Micro) -> None:
    console = f"https://{DOMAIN}:{host.tls_port}"
    begun = over_tls(host, "POST", f"{console}/api/v1/session", json={"token": host.token}, headers=SAME)
    assert begun.status_code == 201
    assert begun.headers["set-cookie"].startswith("__Host-microhost=")
    assert begun.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")
    session = {"Cookie": cookie_of(begun), **SAME}
    assert over_tls(host, "GET", f"{console}/api/v1/projects", headers=session).status_code == 200

    page = f"https://{closed.path}.{DOMAIN}:{host.tls_port}/page"
    sent = over_tls(host, "GET", page, headers=PAGE)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith(f"{console}/enter?to=")
    assert sent.headers["set-cookie"].startswith("__Host-microhost-visit=")
    given = {name: value[0] for name, value in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    asked = over_tls(host, "POST", f"{console}/api/v1/enter", json=given, headers=session)
    entered = over_tls(host, "GET", asked.json()["location"], headers={"Cookie": cookie_of(sent)})
    assert (entered.status_code, entered.headers["location"]) == (303, "/page")
    assert entered.headers["set-cookie"].startswith("__Host-microhost-entry=")
    assert over_tls(host, "GET", page, headers={"Cookie": cookie_of(entered)} | PAGE).status_code == 200


def test_behind_a_trusted_proxy_that_speaks_tls_it_is_the_same(host: Host, closed: Micro) -> None:
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.5"}
    at, headers = f"http://127.0.0.1:{host.port}", {"Host": DOMAIN, **proxied, **SAME}
    begun = httpx.post(f"{at}/api/v1/session", json={"token": host.token}, headers=headers)
    assert begun.headers["set-cookie"].startswith("__Host-microhost=")
    session = headers | {"Cookie": cookie_of(begun), "Origin": f"https://{DOMAIN}"}
    assert httpx.get(f"{at}/api/v1/projects", headers=session).status_code == 200
    sent = httpx.get(at, headers={"Host": f"{closed.path}.{DOMAIN}", **proxied, **PAGE})
    assert sent.headers["location"].startswith(f"https://{DOMAIN}/enter?to=")


def test_a_terminals_login_is_approved_where_the_terminal_reaches_the_console(host: Host) -> None:
    named = {"json": {"name": "anna@laptop"}}
    direct = over_tls(host, "POST", f"https://{DOMAIN}:{host.tls_port}/api/v1/login", **named).json()
    assert direct["url"] == f"https://{DOMAIN}:{host.tls_port}/login/cli?code={direct['code']}"
    proxied = {"Host": DOMAIN, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.5"}
    at = f"http://127.0.0.1:{host.port}/api/v1/login"
    behind = httpx.post(at, headers=proxied, **named).json()
    assert behind["url"] == f"https://{DOMAIN}/login/cli?code={behind['code']}"
    strange = httpx.post(at, headers=proxied | {"Host": "evil.example"}, **named)
    assert strange.status_code == 404


def test_in_the_clear_a_real_domain_gets_no_session_and_no_way_in(host: Host, closed: Micro) -> None:
    at = f"http://127.0.0.1:{host.port}"
    for headers in ({}, {"X-Forwarded-Proto": "http"}):
        named = {"Host": f"{DOMAIN}:{host.port}", **headers, **SAME}
        begun = httpx.post(f"{at}/api/v1/session", json={"token": host.token}, headers=named)
        assert (begun.status_code, "HTTPS" in begun.text) == (400, True)
        assert "set-cookie" not in begun.headers
    kept_out = httpx.get(at, headers={"Host": f"{closed.path}.{DOMAIN}:{host.port}", **PAGE})
    assert kept_out.status_code == 401
    assert "set-cookie" not in kept_out.headers


def test_a_session_opens_by_a_custom_domain_too(host: Host, closed: Micro) -> None:
    assert host.api("PUT", f"{closed.at}/domains/shop.example.com").status_code == 200
    sent = over_tls(host, "GET", f"https://shop.example.com:{host.tls_port}/", headers=PAGE)
    there = urlsplit(sent.headers["location"])
    assert there.netloc == f"{DOMAIN}:{host.tls_port}"
    assert parse_qs(there.query)["to"] == [f"https://shop.example.com:{host.tls_port}/"]
