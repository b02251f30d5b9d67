"""Deta Access by browser: a session of the console lets into one Micro at a time (AUTH-05, AUTH-06, AUTH-11, WEB-02)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from tests.cookies import Browser
from tests.driving import Host, Micro, open_websocket, zip_app

pytestmark = pytest.mark.root
MakeMicro = Callable[..., Micro]
ENTRY, VISIT = "microhost-entry", "microhost-visit"


@pytest.fixture
def browser(host: Host) -> Browser:
    return Browser(host).logged_in()


@pytest.fixture
def closed(new_micro: MakeMicro) -> Micro:
    micro = new_micro(public=False)
    micro.must_deploy(zip_app("plain-asgi"))
    return micro


def name_of(micro: Micro) -> str:
    """Give a Micro's host name."""
    return f"{micro.path}.localhost"


def ask(browser: Browser, micro: Micro, path: str = "/") -> httpx.Response:
    """Go to a page, and let the console's page ask for the way in."""
    sent = browser.visit(micro, path)
    assert sent.status_code == 303, sent.text
    given = {name: value[0] for name, value in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    return browser.api("POST", "/enter", given)


def enter(browser: Browser, micro: Micro, path: str = "/") -> httpx.Response:
    """Go all the way; give the answer of the Micro's host."""
    asked = ask(browser, micro, path)
    assert asked.status_code == 200, asked.text
    return browser.send("GET", asked.json()["location"], headers={"Sec-Fetch-Site": "same-site"})


def test_a_browser_is_sent_to_the_console_and_comes_back_to_its_page(browser: Browser, closed: Micro) -> None:
    page = "/a%20page?with=a&query=//x"
    sent = browser.visit(closed, page)
    there = urlsplit(sent.headers["location"])
    assert (there.scheme, there.netloc, there.path) == ("http", f"localhost:{browser.host.port}", "/enter")
    assert parse_qs(there.query)["to"] == [f"http://{name_of(closed)}:{browser.host.port}{page}"]
    assert all(each["path"] != "/a%20page" for each in closed.events())

    entered = enter(browser, closed, page)
    assert (entered.status_code, entered.headers["location"]) == (303, page)
    assert entered.headers["set-cookie"].endswith("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")
    assert browser.visit(closed, page).status_code == 200


def test_no_cookie_of_ours_reaches_the_micro_and_its_own_do(browser: Browser, new_micro: MakeMicro) -> None:
    micro = new_micro(public=False)
    micro.must_deploy(
        zip_app(
            "plain-asgi",
            main_py="async def app(scope, receive, send):\n"
            "    found = b'|'.join(v for n, v in scope['headers'] if n == b'cookie')\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            "    await send({'type': 'http.response.body', 'body': found})\n",
        )
    )
    enter(browser, micro)
    browser.jars[name_of(micro)]["mine"] = "1"
    assert browser.visit(micro).text == "mine=1"
    micro.change(http_auth=False)
    jar = browser.jars[name_of(micro)]
    assert {ENTRY, VISIT} <= jar.keys()
    sent = "; ".join(f"{n}={v}" for n, v in {**jar, "__Host-microhost": "x", "microhost-local": "y"}.items())
    assert (
        browser.visit(micro, headers={"Cookie": f"{sent}; microhostess=z"}).text == "mine=1; microhostess=z"
    )


def test_an_entry_opens_one_micro_and_nothing_else(
    browser: Browser, closed: Micro, new_micro: MakeMicro
) -> None:
    other = new_micro(public=False)
    other.must_deploy(zip_app("plain-asgi"))
    enter(browser, closed)
    secret = browser.jars[name_of(closed)][ENTRY]
    cookie = {"Cookie": f"{ENTRY}={secret}", "Sec-Fetch-Site": "same-origin"}
    assert closed.call("/", headers=cookie).status_code == 200
    assert other.call("/", headers=cookie).status_code == 401
    for name in ("microhost-local", "__Host-microhost"):
        stolen = {"Cookie": f"{name}={secret}"}
        assert browser.api("GET", "/projects", headers=stolen).status_code == 401
    console = {"Cookie": f"{ENTRY}={browser.secret}"}
    assert closed.call("/", headers=console).status_code == 401
    two = {"Cookie": f"{ENTRY}={secret}; {ENTRY}={secret}"}
    assert closed.call("/", headers=two).status_code == 401


def test_an_entry_dies_with_the_session(browser: Browser, closed: Micro) -> None:
    enter(browser, closed)
    assert browser.visit(closed).status_code == 200
    browser.api("DELETE", "/session")
    assert browser.visit(closed).status_code == 303
    assert ask(browser, closed).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 401),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 401),
        ({"Origin": "http://evil.localhost"}, 401),
        ({"Origin": "null"}, 401),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_siblings_page_does_not_act_with_an_entry(
    browser: Browser, closed: Micro, method: str, headers: dict[str, str], status: int
) -> None:
    enter(browser, closed)
    cookie = {"Cookie": f"{ENTRY}={browser.jars[name_of(closed)][ENTRY]}"}
    assert closed.call("/", method, headers=cookie | headers).status_code == status


def test_a_form_that_a_sibling_sends_as_a_navigation_is_kept_out(browser: Browser, closed: Micro) -> None:
    enter(browser, closed)
    cookie = {"Cookie": f"{ENTRY}={browser.jars[name_of(closed)][ENTRY]}"}
    sent = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert closed.call("/", "POST", headers=cookie | sent).status_code == 401
    assert closed.call("/", "GET", headers=cookie | sent).status_code == 200


def test_a_websocket_is_let_in_from_its_own_page_only(browser: Browser, new_micro: MakeMicro) -> None:
    micro = new_micro(public=False)
    micro.must_deploy(zip_app("websocket"))
    enter(browser, micro)
    cookie = {"Cookie": f"{ENTRY}={browser.jars[name_of(micro)][ENTRY]}"}
    at = f"{name_of(micro)}:{browser.host.port}"
    with open_websocket(micro, "/ws", additional_headers=cookie, origin=f"http://{at}"):
        pass
    for origin in ("http://evil.localhost", None):
        with pytest.raises(Exception, match="401"):
            open_websocket(micro, "/ws", additional_headers=cookie, origin=origin)


def test_a_code_works_once_in_the_browser_that_asked_and_for_its_micro(
    browser: Browser, closed: Micro, new_micro: MakeMicro
) -> None:
    def location() -> str:
        browser.jars.setdefault(name_of(closed), {}).pop(ENTRY, None)
        return str(ask(browser, closed).json()["location"])

    used = location()
    assert browser.send("GET", used).status_code == 303
    assert browser.send("GET", used).status_code == 403
    stranger = Browser(browser.host)
    assert stranger.send("GET", location()).status_code == 403
    stranger.visit(closed)
    assert stranger.send("GET", location()).status_code == 403
    other = new_micro(public=False)
    moved = location().replace(closed.path, other.path)
    browser.jars[name_of(other)] = dict(browser.jars[name_of(closed)])
    assert browser.send("GET", moved).status_code == 403
    assert browser.send("GET", location().replace("code=", "code=x")).status_code == 403
    on_the_console = location().replace(name_of(closed), "localhost")
    assert browser.send("GET", on_the_console).status_code == 404


@pytest.mark.parametrize(
    "to",
    [
        *(
            "",
            "/",
            "//evil.example/",
            "javascript:alert(1)",
            "https://evil.example/",
            "http://evil.example:{port}/",
        ),
        *("http://{micro}:1/", "http://{micro}/", "https://{micro}:{port}/", "http://x@{micro}:{port}/"),
        *(
            "http://localhost:{port}/",
            "http://database.localhost:{port}/",
            "http://nobodys.localhost:{port}/",
        ),
        *(
            "http://{micro}:{port}/\\evil",
            "http://{micro}:{port}//evil.example/",
            "http://evil.example\\@{micro}:{port}/",
        ),
        *(
            "http://{micro}:{port}/.microhost/enter?code=x",
            "http://{micro}:{port}/\r\nSet-Cookie: a=b",
            "http://[::1",
        ),
    ],
)
def test_no_address_leads_elsewhere(browser: Browser, closed: Micro, to: str) -> None:
    wanted = to.replace("{micro}", name_of(closed)).replace("{port}", str(browser.host.port))
    answer = browser.api("POST", "/enter", {"to": wanted, "state": "s" * 43})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("page", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\r\nb"])
def test_the_way_in_leads_to_a_page_of_the_micro_only(browser: Browser, closed: Micro, page: str) -> None:
    location = ask(browser, closed).json()["location"].partition("&next=")[0]
    answer = browser.send("GET", f"{location}&next={quote(page, safe='')}")
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_what_is_no_browser_and_no_navigation_gets_401(closed: Micro) -> None:
    page = {"Accept": "text/html"}
    for headers in (
        {},
        {"Accept": "application/json"},
        page | {"Sec-Fetch-Mode": "cors"},
        page | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        page | {"X-API-Key": "wrong.key"},
        page | {"Authorization": "Bearer wrong"},
    ):
        assert closed.call("/", headers=headers).status_code == 401
    assert closed.call("/", "POST", headers=page).status_code == 401


def test_a_token_does_not_let_a_browser_in(host: Host, closed: Micro) -> None:
    to = f"http://{name_of(closed)}:{host.port}/"
    assert host.api("POST", "/enter", {"to": to, "state": "s" * 43}).status_code == 400


def test_an_opened_micro_keeps_its_paths(new_micro: MakeMicro) -> None:
    micro = new_micro()
    micro.must_deploy(zip_app("plain-asgi"))
    assert micro.call("/.microhost/other").status_code == 200
    assert micro.call("/.microhost/enter", "POST").status_code == 200
