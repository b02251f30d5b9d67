"""A Micro's page is a sibling of the console's host: it can neither hold, frame nor command the console of its visitor.

Every attack runs twice: against the console, and against a page without its guards, where it succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browsing import log_in
from tests.driving import Host, Micro, wait_until, zip_files

APP = """
PAGE = b"<!doctype html><title>neighbour</title><p>a neighbour's page</p><script>told = []; onmessage = e => told.push(e.data)</script>"

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [PAGE]
"""
HOLD = "address => { window.held = window.open(address); }"
SPEAK = "() => { held.postMessage('obey', '*'); return held.closed; }"
FRAME = """
address => new Promise(done => {
  const frame = Object.assign(document.createElement("iframe"), {src: address, name: "caught"});
  frame.onload = () => done();
  document.body.append(frame);
})
"""
# A request as any page may send it: no preflight asks for it, and the browser adds the cookies of its host.
COMMAND = """
([address, name]) => fetch(address, {method: "POST", mode: "no-cors", credentials: "include",
    body: JSON.stringify({name})}).then(() => true)
"""
SUBMIT = """
([address, name]) => {
  const form = Object.assign(document.createElement("form"), {method: "post", enctype: "text/plain", action: address});
  form.append(Object.assign(document.createElement("input"), {name: `{"name": "${name}", "x": "`, value: '"}'}));
  document.body.append(form);
  form.submit();
}
"""
OWN_COMMAND = """
([address, name]) => fetch(address, {method: "POST", headers: {"content-type": "application/json"},
    body: JSON.stringify({name})}).then(answer => answer.status)
"""
REBASE = """
address => {
  document.head.append(Object.assign(document.createElement("base"), {href: address}));
  return new URL(Object.assign(document.createElement("a"), {href: "x"}).href).host;
}
"""


@pytest.fixture
def visitor(browser: Browser, host: Host) -> Iterator[BrowserContext]:
    """A browser of the owner, who goes to pages of Micros too; not watched, since attacks are seen in it."""
    context = browser.new_context(base_url=f"http://localhost:{host.port}")
    log_in(context, host)
    yield context
    context.close()


@pytest.fixture
def neighbour(new_micro: Callable[..., Micro]) -> Micro:
    """A public Micro with a page."""
    micro = new_micro()
    micro.must_deploy(zip_files({"main.py": APP}))
    return micro


def address_of(micro: Micro) -> str:
    """Give where a Micro's page is."""
    return f"http://{micro.path}.localhost:{micro.host.port}/"


@pytest.fixture
def evil(visitor: BrowserContext, neighbour: Micro) -> Page:
    """The neighbour's page, open in the owner's browser."""
    page = visitor.new_page()
    page.goto(address_of(neighbour))
    return page


def test_a_neighbours_page_cannot_hold_the_consoles_window(evil: Page, neighbour: Micro, host: Host) -> None:
    opened = {}
    for name, address in (
        ("neighbour", address_of(neighbour)),
        ("console", f"http://localhost:{host.port}/"),
    ):
        with evil.expect_popup() as popup:
            evil.evaluate(HOLD, address)
        opened[name] = popup.value
        opened[name].wait_for_load_state()
        lost = evil.evaluate(SPEAK)
        assert lost is (name == "console")
    wait_until(lambda: opened["neighbour"].evaluate("told") == ["obey"], "the neighbour to be told")
    expect(opened["console"].get_by_role("heading", level=1)).to_have_text("Projects")
    assert opened["console"].evaluate("window.opener") is None


def test_a_neighbours_page_cannot_frame_the_console(evil: Page, neighbour: Micro, host: Host) -> None:
    evil.evaluate(FRAME, address_of(neighbour))
    assert "a neighbour's page" in evil.frames[1].content()
    evil.reload()
    evil.evaluate(FRAME, f"http://localhost:{host.port}/projects")
    wait_until(lambda: evil.frames[1].url.startswith("chrome-error:"), "the frame is refused")


def test_a_neighbours_page_cannot_command_with_its_visitors_session(
    evil: Page, visitor: BrowserContext, host: Host, project: str
) -> None:
    at = f"http://localhost:{host.port}/api/v1/projects"
    evil.evaluate(COMMAND, [at, f"{project} fetched"])
    evil.evaluate(SUBMIT, [at, f"{project} posted"])
    evil.wait_for_url(at)
    own = visitor.new_page()
    own.goto("/")
    assert own.evaluate(OWN_COMMAND, [at, f"{project} asked"]) == 201
    names = [each["name"] for each in host.get("/projects")["projects"]]
    assert [name for name in names if name.startswith(f"{project} ")] == [f"{project} asked"]


def test_what_the_console_opens_does_not_know_the_console(
    visitor: BrowserContext, neighbour: Micro, project: str
) -> None:
    page = visitor.new_page()
    page.goto(f"/projects/{project}/micros/{neighbour.show()['name']}")
    with visitor.expect_page() as opened:
        page.get_by_role("link", name=neighbour.path).first.click(modifiers=["Control"])
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]


def test_an_element_that_was_planted_redirects_no_address_and_no_form(
    visitor: BrowserContext, evil: Page, neighbour: Micro
) -> None:
    """The policy would hold even if markup of a tenant came into the page."""
    page = visitor.new_page()
    page.goto("/")
    own = page.evaluate("location.host")
    there = address_of(neighbour)
    assert (page.evaluate(REBASE, there), evil.evaluate(REBASE, f"http://localhost/{own}")) == (
        own,
        "localhost",
    )
    with page.expect_console_message(lambda said: "form-action" in said.text):
        page.evaluate(SUBMIT, [there, "x"])
    assert page.evaluate("location.host") == own


@pytest.mark.parametrize(
    "to", ["javascript:alert(1)", "//evil.example/", "https://evil.example/", "data:text/html,x"]
)
def test_the_way_into_a_micro_leads_nowhere_else(page: Page, to: str) -> None:
    page.goto(f"/enter?to={quote(to, safe='')}&state=x&next={quote(to, safe='')}")
    expect(page.get_by_role("alert")).to_contain_text("does not lead to a Micro of this host")
    assert page.url.partition("?")[0].endswith("/enter")


def test_logging_in_leads_to_the_page_that_was_asked_for_whatever_the_address_holds(
    browser: Browser, host: Host
) -> None:
    stranger = browser.new_context(base_url=f"http://localhost:{host.port}")
    page = stranger.new_page()
    page.goto(
        "/?next=javascript:alert(1)&return=//evil.example/&redirect=https://evil.example/#//evil.example"
    )
    page.get_by_role("tab", name="Access token").click()
    page.get_by_label("Access token", exact=True).fill(host.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")
    assert page.evaluate("location.host") == f"localhost:{host.port}"
    stranger.close()
