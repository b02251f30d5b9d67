"""Every dialog is used by keyboard alone: it has no barriers, fits a phone, and gives the focus back to what opened it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_base_page import Base
from tests.browser.test_drive_page import Files
from tests.browsing import find_barriers
from tests.driving import Host, Micro, zip_app

PHONE = {"width": 360, "height": 740}
LEAVES = """
() => {
  const inside = document.activeElement.closest("dialog") || document.activeElement === document.body;
  return !inside;
}
"""
DIALOGS = {
    "/": ["New project"],
    "/projects/{project}": ["New Micro"],
    "/projects/{project}/keys": ["New key"],
    "/projects/{project}/settings": ["Delete", "Open a Drive"],
    "/projects/{project}/bases/people": ["Add a field", "Import", "Export", "Open ada"],
    "/projects/{project}/drives/pictures": ["New folder", "a.txt"],
    "/projects/{project}/micros/blog/deployments": ["Log of deployment 1"],
    "/projects/{project}/micros/blog/environment": [
        "New variable",
        "Paste a .env",
        "Set NAME",
        "Delete NAME",
    ],
    "/projects/{project}/micros/blog/keys": ["New key"],
    "/projects/{project}/micros/blog/settings": ["Delete the Micro"],
    "/settings": ["New token"],
    "/settings/users": ["Invite"],
}


@pytest.fixture
def filled(host: Host, project: str, new_micro: Callable[..., Micro]) -> str:
    """A project with something of each kind in it."""
    micro = new_micro("blog")
    micro.must_deploy(zip_app("plain-asgi"))
    micro.put_env(NAME="Ada")
    Base(host, project, "people").put({"key": "ada", "age": 36})
    Files(host, project).put("a.txt")
    return project


def test_every_dialog_is_opened_and_left_by_keyboard(page: Page, filled: str) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for address, names in DIALOGS.items():
        page.goto(address.format(project=filled))
        for name in names:
            opener = page.get_by_role("main").get_by_role("button", name=name, exact=True)
            expect(opener).to_be_enabled()
            opener.focus()
            page.keyboard.press("Enter")
            dialog = page.get_by_role("dialog").locator("visible=true")
            expect(dialog.get_by_role("heading", level=2)).to_be_visible()
            assert find_barriers(page) == [], name
            box = dialog.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"], name
            for _ in range(6):
                page.keyboard.press("Shift+Tab")
                assert not page.evaluate(LEAVES), name
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
            expect(opener, name).to_be_focused()
