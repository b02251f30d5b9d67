"""A project's own settings: its name, and whether packages may be built."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browsing import find_barriers
from tests.driving import Host


def test_a_project_is_renamed_and_the_page_follows(page: Page, host: Host, project: str) -> None:
    host.new_project("taken-name")
    project_id = host.get(f"/projects/{project}")["id"]
    page.goto(f"/projects/{project}/settings")
    name = page.get_by_role("textbox", name="Name")
    rename = page.get_by_role("button", name="Rename")
    expect(rename).to_be_disabled()
    name.fill("taken-name")
    rename.click()
    expect(page.get_by_role("alert")).to_contain_text("There is a project 'taken-name' already.")
    name.fill(f"{project} & sons")
    rename.click()
    expect(page).to_have_url(re.compile(rf"/projects/{project}%20%26%20sons/settings$"))
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(rename).to_be_disabled()
    assert find_barriers(page) == []
    assert host.get(f"/projects/{project_id}")["name"] == f"{project} & sons"


def test_builds_are_allowed_after_a_question_and_forbidden_at_once(
    page: Page, host: Host, project: str
) -> None:
    def allowed() -> bool:
        return bool(host.get(f"/projects/{project}")["builds_allowed"])

    page.goto(f"/projects/{project}/settings")
    switch = page.get_by_role("switch", name="Packages may be built")
    switch.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(switch).not_to_be_checked()
    assert not allowed()
    switch.click()
    page.get_by_role("dialog").get_by_role("button", name="Allow builds").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(switch).to_be_checked()
    assert allowed()
    switch.click()
    expect(switch).not_to_be_checked()
    expect(switch).to_be_enabled()
    assert not allowed()
