"""The cron editor says what is typed into it before it is set."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, Request, expect

from tests.browsing import find_barriers
from tests.driving import Micro


def test_what_is_typed_is_explained_and_not_set(page: Page, new_micro: Callable[..., Micro]) -> None:
    micro = new_micro()
    shown = micro.show()
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/api/v1/cron?" in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.goto(f"/projects/{shown['project_name']}/micros/{shown['name']}/cron")
    field = page.get_by_label("Run", exact=True)
    said = page.get_by_role("main").get_by_role("status")
    field.press_sequentially("10 minutes")
    expect(said).to_contain_text("Every 10 minutes, counted from when it was set.")
    expect(said).to_contain_text("Next runs: ")
    assert len(asked) < len("10 minutes"), asked  # it waits until nobody types
    assert find_barriers(page) == []
    field.fill("0 10 * * * *")
    expect(said).to_contain_text("?")
    expect(said).not_to_contain_text("Next runs")
    assert micro.show()["cron"] is None
    field.fill("")
    expect(page.get_by_text("Next runs: ")).to_have_count(0)
