"""What the page about the host tells."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browsing import find_barriers
from tests.driving import Host


def test_what_was_not_recorded_is_told(page: Page, host: Host) -> None:
    page.goto("/settings/host")
    expect(page.get_by_text("Nothing since the start of the host.")).to_be_visible()
    told = host.get("/doctor") | {"dropped": {"events": 1, "exchanges": 2500}}
    page.route("**/api/v1/doctor", lambda route: route.fulfill(json=told))
    page.reload()
    expect(page.get_by_text("1 event and the contents of 2,500 requests")).to_be_visible()
    assert find_barriers(page) == []
