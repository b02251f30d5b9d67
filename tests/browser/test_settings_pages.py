"""Keys, tokens, users, the host and a project's end, each as one does it in the browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import Watch, find_barriers
from tests.driving import Host, Micro, wait_until

PHONE = {"width": 360, "height": 740}


def secret_of(page: Page) -> str:
    """Read what a dialog hands out once, and close it."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("shown this once")
    text = dialog.locator(".code-line code").inner_text()
    assert find_barriers(page) == []
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_text(text)).to_have_count(0)
    return text


def test_a_project_key_is_shown_once_opens_the_project_and_is_deleted(
    page: Page, host: Host, project: str
) -> None:
    page.goto(f"/projects/{project}/keys")
    project_id = host.get(f"/projects/{project}")["id"]
    expect(page.get_by_text(project_id)).to_be_visible()
    page.get_by_role("button", name="New key").click()
    page.get_by_role("dialog").get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create").click()
    key = secret_of(page)

    def status() -> int:
        headers = {"X-API-Key": key, "Authorization": ""}
        return int(host.client.get(f"/drive/v1/{project_id}/d/files", headers=headers).status_code)

    assert key.startswith(f"{project_id}_") and status() == 200
    page.get_by_role("button", name="Delete laptop").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There is no key yet")).to_be_visible()
    assert status() == 401


def test_a_project_is_deleted_only_by_who_types_its_name(page: Page, host: Host, project: str) -> None:
    page.goto(f"/projects/{project}/settings")
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    button = dialog.get_by_role("button", name="Delete the project")
    expect(button).to_be_disabled()
    dialog.get_by_label(f"Type {project} to go on").fill(project)
    button.click()
    expect(page).to_have_url(re.compile(r"/$"))
    assert project not in [each["name"] for each in host.get("/projects")["projects"]]


def test_an_access_token_is_shown_once_works_and_is_deleted(page: Page, host: Host) -> None:
    page.goto("/settings")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_label("Name").fill("build server")
    page.get_by_role("button", name="Create").click()
    headers = {"Authorization": f"Bearer {secret_of(page)}"}
    assert host.client.get("/api/v1/projects", headers=headers).status_code == 200
    page.get_by_role("button", name="Delete build server").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("cell", name="build server")).to_have_count(0)
    assert host.client.get("/api/v1/projects", headers=headers).status_code == 401


def test_a_member_is_invited_chooses_a_password_and_is_deleted(
    page: Page, host: Host, browser: Browser
) -> None:
    page.goto("/settings/users")
    page.get_by_role("button", name="Invite", exact=True).click()
    page.get_by_role("dialog").get_by_label("Name").fill("anna")
    page.get_by_role("button", name="Make an invitation").click()
    invitation = secret_of(page)
    expect(page.get_by_role("row", name="anna")).to_contain_text("invited")
    other = browser.new_context()
    watch = Watch(other, host)
    guest = other.new_page()
    guest.goto(invitation)
    guest.get_by_label("New password", exact=True).fill("a good long password")
    guest.get_by_label("New password again").fill("another one")
    guest.get_by_role("button", name="Accept").click()
    expect(guest.get_by_role("alert")).to_have_text("The two are not the same.")
    assert find_barriers(guest) == []
    guest.get_by_label("New password again").fill("a good long password")
    guest.get_by_role("button", name="Accept").click()
    expect(guest.get_by_role("heading", level=1)).to_have_text("Projects")
    guest.goto(f"http://localhost:{host.port}/settings/password")
    expect(guest.get_by_role("heading", name="Change the password")).to_be_visible()
    expect(guest.get_by_role("link", name="Users")).to_have_count(0)
    guest.get_by_label("Current password").fill("a good long password")
    guest.get_by_label("New password", exact=True).fill("a better long password")
    guest.get_by_label("New password again").fill("a better long password")
    guest.get_by_role("button", name="Change").click()
    expect(guest.get_by_text("The password is changed.")).to_be_visible()
    page.get_by_role("button", name="Delete anna").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("row", name="anna")).to_have_count(0)
    guest.goto(f"http://localhost:{host.port}/")
    expect(guest.get_by_role("heading", level=1)).to_have_text("Log in")
    other.close()
    assert watch.seen == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_open_to_all_and_fit_a_phone(
    page: Page, host: Host, project: str, new_micro: Callable[..., object], scheme: str
) -> None:
    host.post(f"/projects/{project}/keys", {"name": "laptop"})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    at = f"/projects/{project}"
    for address in (
        f"{at}/keys",
        f"{at}/settings",
        "/settings",
        "/settings/password",
        "/settings/users",
        "/settings/host",
    ):
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(address)
        page.get_by_role("heading", level=2).first.wait_for()
        expect(page.locator(".skeleton")).to_have_count(0)
        assert find_barriers(page) == [], address
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
        assert find_barriers(page) == [], address


def test_where_a_micro_may_connect_to_is_chosen(
    page: Page, project: str, new_micro: Callable[..., Micro]
) -> None:
    micro = new_micro()
    page.goto(f"/projects/{project}/micros/{micro.show()['name']}/settings")
    card = page.locator("section", has=page.get_by_role("heading", name="Egress"))
    save = card.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    card.get_by_label("It may connect to").select_option("Only the names below")
    card.get_by_label("Names").fill("8.8.8.8")
    save.click()
    expect(card.get_by_role("alert")).to_contain_text("is not a domain")
    card.get_by_label("Names").fill("b.example.org, *.Example.net")
    save.click()
    expect(save).to_be_disabled()
    expect(card.get_by_label("Names")).to_have_value("*.example.net\nb.example.org")
    assert micro.show()["egress"] == ["*.example.net", "b.example.org"]
    assert find_barriers(page) == []
    card.get_by_label("It may connect to").select_option("Nothing")
    save.click()
    wait_until(lambda: micro.show()["egress"] == "none", "the choice to be kept")
