"""Sessions of the console: what a browser's cookie opens, and for whom (WEB-02, WEB-03, WEB-06, WEB-11, AUTH-07)."""

from __future__ import annotations

import re
import socket
from typing import Any

import httpx
import pytest

from tests.cookies import LOCAL_COOKIE, Browser
from tests.driving import Host

pytestmark = pytest.mark.root


@pytest.fixture
def browser(host: Host) -> Browser:
    return Browser(host).logged_in()


def test_the_owners_token_opens_a_session_and_its_end_closes_it(host: Host) -> None:
    browser = Browser(host)
    assert browser.api("GET", "/session").status_code == 401
    answer = browser.log_in(token=host.token)
    assert answer.status_code == 201
    assert answer.json()["user"] == {"id": "owner", "name": "owner", "role": "owner"}
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(
        LOCAL_COOKIE + r"=[\w-]{43}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict", cookie
    )
    assert browser.api("GET", "/session").json() == answer.json()
    assert browser.api("GET", "/projects").status_code == 200
    stolen = browser.secret
    assert browser.api("DELETE", "/session").status_code == 204
    assert LOCAL_COOKIE not in browser.jars["localhost"]
    browser.jars["localhost"][LOCAL_COOKIE] = stolen
    assert browser.api("GET", "/projects").status_code == 401


def test_a_wrong_token_opens_none(host: Host) -> None:
    browser = Browser(host)
    assert browser.log_in(token=host.token + "x").status_code == 401
    assert browser.log_in(token="").status_code == 401
    assert not browser.jars["localhost"]


@pytest.mark.parametrize("body", [{}, {"name": "owner"}, {"token": "a", "name": "b", "password": "c"}])
def test_half_a_login_is_refused(host: Host, body: dict[str, str]) -> None:
    assert Browser(host).api("POST", "/session", body).status_code == 400


FOREIGN: dict[str, dict[str, Any]] = {
    "a sibling's form": {"Sec-Fetch-Site": "same-site", "Content-Type": "text/plain"},
    "a sibling's fetch, no-cors": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    "a stranger's": {"Sec-Fetch-Site": "cross-site"},
    "an address that was typed": {"Sec-Fetch-Site": "none"},
    "another origin's, which says it is the same": {"Origin": "http://evil.localhost:{port}"},
    "a sandboxed page's": {"Origin": "null"},
    "a sibling's, of an old browser": {"Sec-Fetch-Site": None, "Origin": "http://evil.localhost:{port}"},
    "one with another port": {"Sec-Fetch-Site": None, "Origin": "http://localhost:1"},
    "one with another scheme": {"Sec-Fetch-Site": None, "Origin": "https://localhost:{port}"},
    "one that tells nothing": {"Sec-Fetch-Site": None, "Origin": None},
    "one with a Referer only": {
        "Sec-Fetch-Site": None,
        "Origin": None,
        "Referer": "http://localhost:{port}/",
    },
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/projects"),
        ("GET", "/api/v1/projects"),
        ("DELETE", "/api/v1/session"),
        ("GET", "/base/v1/{project}/b/items/k"),
        ("PUT", "/base/v1/{project}/b/items"),
        ("DELETE", "/drive/v1/{project}/d/files"),
    ],
)
def test_no_other_page_uses_a_session(
    browser: Browser, project: str, name: str, method: str, path: str
) -> None:
    headers = {
        each: value and value.replace("{port}", str(browser.host.port))
        for each, value in FOREIGN[name].items()
    }
    headers = {"Sec-Fetch-Site": "same-origin"} | headers
    content = b'{"name": "planted"}' if method != "GET" else b""
    answer = browser.send(
        method, browser.origin + path.replace("{project}", project), headers=headers, content=content
    )
    assert answer.status_code == 403
    assert answer.json() == {"errors": ["This request did not come from the console's own pages."]}
    assert "access-control-allow-credentials" not in answer.headers
    assert all(each["name"] != "planted" for each in browser.host.get("/projects")["projects"])
    assert browser.api("GET", "/session").status_code == 200


def test_two_sec_fetch_headers_are_no_proof(browser: Browser) -> None:
    lines = ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-site"]
    assert b" 403 " in raw(browser, "GET", "/api/v1/projects", lines)
    assert b" 200 " in raw(browser, "GET", "/api/v1/projects", lines[:1])


def test_an_old_browsers_origin_is_enough(browser: Browser) -> None:
    headers = {"Sec-Fetch-Site": None, "Origin": browser.origin}
    assert browser.send("GET", f"{browser.origin}/api/v1/projects", headers=headers).status_code == 200


def test_another_page_cannot_log_a_visitor_in(host: Host) -> None:
    browser = Browser(host)
    url = f"{browser.origin}/api/v1/session"
    for headers in (
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": None, "Origin": "http://evil.localhost"},
    ):
        answer = browser.send("POST", url, headers=headers, content=f'{{"token": "{host.token}"}}')
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_tossed_cookie_beside_ours_is_no_session(browser: Browser) -> None:
    for cookies in (
        f"{LOCAL_COOKIE}={browser.secret}; {LOCAL_COOKIE}=tossed",
        f"{LOCAL_COOKIE}=tossed; {LOCAL_COOKIE}={browser.secret}",
        f"{LOCAL_COOKIE}={browser.secret}; {LOCAL_COOKIE}={browser.secret}",
        f"__Host-microhost={browser.secret}",
        f"{LOCAL_COOKIE.upper()}={browser.secret}",
        f'{LOCAL_COOKIE}="{browser.secret}"',
    ):
        assert browser.api("GET", "/projects", headers={"Cookie": cookies}).status_code == 401
    lines = ["Sec-Fetch-Site: same-origin", f"Cookie: {LOCAL_COOKIE}=tossed"]
    assert b" 401 " in raw(browser, "GET", "/api/v1/projects", lines)


def test_a_brought_secret_is_never_taken_over_and_ends(host: Host, browser: Browser) -> None:
    former = browser.secret
    browser.logged_in()
    assert browser.secret != former
    other = Browser(host)
    other.jars["localhost"] = {LOCAL_COOKIE: former}
    assert other.api("GET", "/session").status_code == 401
    other.jars["localhost"] = {LOCAL_COOKIE: "chosen-by-an-attacker"}
    other.logged_in()
    assert other.secret != "chosen-by-an-attacker"


@pytest.mark.parametrize(
    "name", ["192.0.2.7", "example.org", "localhost.example.org", "localhost@example.org"]
)
def test_without_tls_only_loopback_names_get_a_cookie(host: Host, name: str) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{host.port}/api/v1/session",
        headers={"Host": name},
        json={"token": host.token},
    )
    assert answer.status_code in (400, 404)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]", "www.localhost"])
def test_loopback_by_other_names_does(host: Host, name: str) -> None:
    at = f"{name}:{host.port}"
    url = f"http://127.0.0.1:{host.port}/api/v1/session"
    answer = httpx.post(url, headers={"Host": at}, json={"token": host.token})
    assert answer.status_code == 201
    cookie = answer.headers["set-cookie"].partition(";")[0]
    headers = {"Host": at, "Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(url, headers=headers).status_code == 200


def test_a_token_in_the_header_needs_no_origin_and_beats_the_cookie(browser: Browser) -> None:
    url = f"{browser.origin}/api/v1/projects"
    foreign = {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {browser.host.token}"}
    assert browser.send("GET", url, headers=foreign).status_code == 200
    assert browser.api("GET", "/projects", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_session_opens_base_and_drive_below_the_consoles_name_only(browser: Browser, project: str) -> None:
    at = f"{browser.origin}/base/v1/{project}/guests"
    same = {"Sec-Fetch-Site": "same-origin"}
    put = browser.send("PUT", f"{at}/items", headers=same, json={"items": [{"key": "k", "a": 1}]})
    assert put.status_code == 207
    got = browser.send("GET", f"{at}/items/k", headers=same)
    assert got.json() == {"key": "k", "a": 1}
    assert "access-control-allow-origin" not in got.headers
    assert got.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert (
        browser.send("GET", f"{browser.origin}/base/v1/nosuchproj1/b/items/k", headers=same).status_code
        == 404
    )
    cookie = {"Cookie": f"{LOCAL_COOKIE}={browser.secret}", **same}
    by_name = f"http://database.localhost:{browser.host.port}/v1/{project}/guests/items/k"
    assert browser.send("GET", by_name, headers=cookie).status_code == 401


def test_an_html_file_of_a_drive_runs_nothing_in_the_consoles_origin(browser: Browser, project: str) -> None:
    at = f"{browser.origin}/drive/v1/{project}/pages/files"
    same = {"Sec-Fetch-Site": "same-origin"}
    sent = {**same, "Content-Type": "text/html"}
    assert browser.send("POST", f"{at}?name=a.html", headers=sent, content=b"<script>").status_code == 201
    got = browser.send("GET", f"{at}/download?name=a.html", headers=same)
    assert got.status_code == 200
    assert "sandbox" in got.headers["content-security-policy"]
    assert got.headers["cross-origin-resource-policy"] == "same-origin"
    assert got.headers["content-disposition"].startswith("attachment")


def test_guessing_tokens_is_slowed_down(tmp_path: Any) -> None:
    host = Host(tmp_path / "data")
    try:
        browser = Browser(host)
        statuses = [browser.log_in(token="abcdefghijk_wrong").status_code for _ in range(21)]
        assert statuses == [401] * 20 + [429]
        assert browser.log_in(token=host.token).status_code == 201
    finally:
        assert host.stop() == 0


def test_a_session_outlives_a_restart_of_the_host(tmp_path: Any) -> None:
    host = Host(tmp_path / "data")
    try:
        browser = Browser(host).logged_in()
        host.kill()
        host.restart()
        assert browser.api("GET", "/session").status_code == 200
        secrets = [file.read_bytes() for file in host.data.glob("meta.db*")]
        assert secrets
        assert all(browser.secret.encode() not in each for each in secrets)
    finally:
        assert host.stop() == 0


def raw(browser: Browser, method: str, path: str, lines: list[str]) -> bytes:
    """Send a head as it is, with the session's cookie."""
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: localhost:{browser.host.port}",
        f"Cookie: {LOCAL_COOKIE}={browser.secret}",
        "Connection: close",
        *lines,
    ]
    with socket.create_connection(("127.0.0.1", browser.host.port), 10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return connection.recv(65536)
