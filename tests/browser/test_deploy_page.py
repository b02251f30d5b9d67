"""The page behind the Deploy to Deta button: from a link anywhere, through the login, to a Micro that answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import EXPECT_MS, VIEW
from tests.browsing import find_barriers
from tests.driving import Host
from tests.git_server import GitServer, host_that_fetches, serving_repositories

LIVE_MS = 60_000.0
HOSTILE = "<img src=x onerror=alert(1)>"
APP = """
import os
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": (os.environ["GREETING"] + os.environ["NAME"]).encode()})
"""
DETA_JSON = {
    "name": "greeter",
    "description": f"Greets. {HOSTILE}",
    "env": [
        {"key": "GREETING", "description": f"How it begins {HOSTILE}", "required": True},
        {"key": "NAME", "value": "Ada"},
    ],
    "cron": "7 minutes",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving_repositories(tmp_path_factory.mktemp("repositories")) as server:
        yield server


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, server: GitServer) -> Iterator[Host]:
    """A host that may fetch from the test's server."""
    with host_that_fetches(server, tmp_path_factory.mktemp("button") / "data") as running:
        yield running


@pytest.fixture
def stranger(browser: Browser, host: Host) -> Iterator[BrowserContext]:
    """A browser in which nobody is logged in."""
    context = browser.new_context(viewport=VIEW, base_url=f"http://localhost:{host.port}")
    context.set_default_timeout(EXPECT_MS)
    yield context
    context.close()


def look_at(page: Page, address: str) -> None:
    page.goto("/deploy")
    page.get_by_role("textbox", name="Repository").fill(address)
    page.get_by_role("button", name="Look at it").click()


def test_a_link_leads_through_the_login_to_a_micro(
    stranger: BrowserContext, host: Host, server: GitServer, project: str
) -> None:
    repository = server.add("ada/greeter")
    commit = repository.commit({"main.py": APP, "deta.json": json.dumps(DETA_JSON)}, branch="new/greeter")
    page = stranger.new_page()
    page.goto(f"http://go.localhost:{host.port}/deploy?repo={repository.url}/tree/new/greeter")
    page.get_by_role("tab", name="Access token").click()
    page.get_by_role("textbox", name="Access token").fill(host.token)
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("heading", name="greeter")).to_be_visible()
    expect(page.get_by_text(DETA_JSON["description"])).to_be_visible()
    expect(page.get_by_text(commit[:12])).to_be_visible()
    expect(page.get_by_text("new/greeter", exact=True)).to_be_visible()
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert host.get(f"/projects/{project}/micros") == {"micros": []}
    assert find_barriers(page) == []

    page.get_by_label("Into the project").select_option(project)
    expect(page.get_by_label("Cron")).to_have_value("7 minutes")
    expect(page.get_by_label("NAME", exact=True)).to_have_value("Ada")
    deploy = page.get_by_role("button", name="Deploy", exact=True)
    deploy.click()  # the browser itself asks for what is required
    assert page.get_by_label("GREETING (required)").evaluate("field => field.validity.valueMissing")
    page.get_by_label("GREETING (required)").fill("   ")
    deploy.click()
    expect(page.get_by_role("alert")).to_contain_text("'GREETING' is required; give it a value.")
    assert host.get(f"/projects/{project}/micros") == {"micros": []}
    page.get_by_label("GREETING (required)").fill("Good morning, ")
    deploy.click()
    expect(page.get_by_role("heading", name="It is live")).to_be_visible(timeout=LIVE_MS)
    assert find_barriers(page) == []

    (micro,) = host.get(f"/projects/{project}/micros")["micros"]
    assert (micro["name"], micro["cron"]) == ("greeter", "7 minutes")
    expect(page.get_by_role("link", name=micro["endpoint"])).to_have_attribute("href", micro["endpoint"])
    host.api("PATCH", f"/projects/{project}/micros/greeter", {"http_auth": False})
    visit = stranger.new_page()
    visit.goto(micro["endpoint"])
    expect(visit.get_by_text("Good morning, Ada")).to_be_visible()
    page.get_by_role("link", name="greeter").last.click()
    expect(page).to_have_url(re.compile(rf"/projects/{project}/micros/greeter"))


def test_a_wrong_deta_json_is_told_field_by_field_and_nothing_can_be_deployed(
    page: Page, server: GitServer
) -> None:
    repository = server.add("ada/wrong")
    wrong = {"runtime": 1, "env": [{"description": "x"}, {"key": "B", "required": HOSTILE}], "cron": ["x"]}
    repository.commit({"main.py": APP, "deta.json": json.dumps(wrong)})
    look_at(page, repository.url)
    told = page.get_by_role("alert")
    for sentence in (
        "'env.0.key' is required.",
        "'env.1.required' must be true or false.",
        "'cron' must be text.",
    ):
        expect(told).to_contain_text(sentence)
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_have_count(0)
    # mended, it can be looked at again
    repository.commit({"main.py": APP, "deta.json": "{}"})
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("heading", name="wrong")).to_be_visible()


def test_what_is_no_public_repository_is_said_in_one_sentence(page: Page, server: GitServer) -> None:
    for address, sentence in (
        ("file:///etc/passwd", "is not an https address"),
        ("git@github.com:a/b.git", "is not an https address"),
        (f"{server.origin}/ada/nothing", "There is no public repository"),
        ("https://127.0.0.1/a/b", "leads to no public address"),
    ):
        look_at(page, address)
        expect(page.get_by_role("alert")).to_contain_text(sentence)


def test_code_that_does_not_start_shows_its_own_words_and_can_be_tried_again(
    page: Page, host: Host, server: GitServer, project: str
) -> None:
    repository = server.add("ada/broken")
    repository.commit({"main.py": f"raise ValueError({HOSTILE!r})"})
    look_at(page, repository.url)
    page.get_by_label("Into the project").select_option(project)
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator("pre")).to_contain_text(f"ValueError: {HOSTILE}", timeout=LIVE_MS)
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert host.get(f"/projects/{project}/micros") == {"micros": []}
    expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_enabled()
