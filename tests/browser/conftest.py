"""A real host with a real browser (Debian's Chromium) that is logged in as its owner.

Every page of every test is watched: a script error, a broken policy (CSP), a dialog of the browser's own or a request
to anywhere else fails the test that saw it.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browsing import Watch, log_in
from tests.driving import Host, Micro

NAMES = itertools.count(1)
VIEW = {"width": 1280, "height": 800}
EXPECT_MS = 10_000.0


@pytest.fixture(scope="package")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host for all tests of the console."""
    running = Host(tmp_path_factory.mktemp("console") / "data")
    yield running
    assert running.stop() == 0, running.tail()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser; each test gets a context of its own."""
    path = shutil.which("chromium")
    assert path, "Debian's chromium is not installed; make test installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, host: Host) -> Iterator[BrowserContext]:
    """A browser's profile, logged in as the owner and watched."""
    context = browser.new_context(
        viewport=VIEW, base_url=f"http://localhost:{host.port}", accept_downloads=True
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(EXPECT_MS)
    watch = Watch(context, host)
    log_in(context, host)
    yield context
    context.close()
    assert watch.seen == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of the console, not yet anywhere."""
    return context.new_page()


@pytest.fixture
def project(host: Host) -> str:
    """A fresh project's name."""
    return str(host.new_project(f"console-{next(NAMES)}")["name"])


@pytest.fixture
def new_micro(host: Host, project: str) -> Callable[..., Micro]:
    """Make Micros in the project (public unless told otherwise)."""

    def make(name: str = "", **settings: object) -> Micro:
        return host.new_micro(project, name or f"micro-{next(NAMES)}", **settings)

    return make
