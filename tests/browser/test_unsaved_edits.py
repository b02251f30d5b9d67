"""What somebody typed outlives the host that should have taken it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Browser, expect

from tests.browser.test_base_page import Base, cell, edit, open_base, save, saved
from tests.browsing import log_in
from tests.driving import Host, Micro, wait_until


def serves(host: Host) -> bool:
    """Tell whether the next host answers."""
    try:
        return host.client.get("/api/v1/projects").status_code == 200
    except httpx.HTTPError:
        return False


def test_edits_stay_while_the_host_is_gone_and_are_saved_by_the_next_one(
    browser: Browser, host: Host, project: str, new_micro: Callable[..., Micro]
) -> None:
    base = Base(host, project, "names")
    base.put({"key": "ada", "age": 36})
    micro = new_micro("blog")
    # lost connections are no fault here
    context = browser.new_context(base_url=f"http://localhost:{host.port}")
    log_in(context, host)
    table, variable, name = (context.new_page() for _ in range(3))
    open_base(table, base)
    edit(table, "ada", "age", "37")
    variable.goto(f"/projects/{project}/micros/blog/environment")
    variable.get_by_role("button", name="New variable").click()
    dialog = variable.get_by_role("dialog")
    dialog.get_by_label("Name").fill("COLOUR")
    dialog.get_by_label("Value").fill("blue")
    name.goto(f"/projects/{project}/micros/blog/settings")
    name.get_by_label("Name", exact=True).fill("diary")

    context.set_offline(True)
    host.kill_host_process()
    save(table)
    dialog.get_by_role("button", name="Save").click()
    name.get_by_role("button", name="Save").first.click()
    for page in (table, variable, name):
        expect(page.get_by_role("alert").filter(has_text="The host does not answer").first).to_be_visible()
    wait_until(lambda: serves(host), "the next host")
    assert base.find("ada")["age"] == 36
    context.set_offline(False)

    save(table)
    saved(table, "1 row saved")
    expect(cell(table, "ada", "age")).to_have_text("37")
    assert base.find("ada")["age"] == 37
    dialog.get_by_role("button", name="Save").click()
    expect(variable.get_by_role("dialog")).to_have_count(0)
    expect(variable.get_by_text("COLOUR", exact=True)).to_be_visible()
    name.get_by_role("button", name="Save").first.click()
    expect(name.get_by_role("heading", level=1)).to_have_text("diary")
    assert micro.show()["name"] == "diary"
    context.close()
