"""A project's Micros and the parts of a Micro's page, used as their owner uses them."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import find_barriers, log_in
from tests.driving import Host, Micro, wait_until, zip_files

PHONE = {"width": 360, "height": 740}
MAIN = """
import os
from deta import App
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def hello(request):
    print("hello from", os.environ.get("NAME"))
    return PlainTextResponse("one")

def fail(request):
    raise ValueError("no luck")

app = App(Starlette(routes=[Route("/", hello), Route("/fail", fail)]))

@app.lib.cron()
def tick(event):
    print("it ticked")
    return {"ticked": True}
"""
FILES: dict[str, str | bytes] = {"main.py": MAIN, "requirements.txt": "starlette\n", "old.txt": "old\n"}
PARTS = ("", "deployments", "logs", "environment", "keys", "cron", "domains", "settings")


@pytest.fixture
def micro(new_micro: Callable[..., Micro]) -> Micro:
    """A Micro that is live."""
    made = new_micro("guestbook")
    made.must_deploy(zip_files(FILES))
    return made


def visit(page: Page, micro: Micro, part: str = "") -> None:
    """Open a part of the Micro's page and wait until all of it is there."""
    page.goto(f"/projects/{micro.project}/micros/guestbook/{part}".rstrip("/"))
    expect(page.get_by_role("heading", level=1)).to_have_text("guestbook")
    expect(page.locator(".skeleton")).to_have_count(0)


def must_fit(page: Page) -> None:
    """Say what axe finds, and what is wider than a phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert find_barriers(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert find_barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def say_yes(page: Page, action: str) -> None:
    """Answer the console's question."""
    page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


# A project


def test_an_empty_project_teaches_the_command_and_deploys_a_sample_by_one_click(
    page: Page, host: Host, project: str
) -> None:
    page.goto(f"/projects/{project}")
    server = f"deta --server http://localhost:{host.port}"
    for command in ("pip install microhost", f"{server} login", f"{server} new --project {project}"):
        expect(page.get_by_text(command, exact=True)).to_be_visible()
    page.get_by_role("button", name="Deploy a sample Micro").click()
    expect(page.get_by_role("navigation", name="Parts of the Micro")).to_be_visible(timeout=60_000)
    (made,) = host.get(f"/projects/{project}/micros")["micros"]
    expect(page.get_by_role("heading", level=1)).to_have_text(made["name"])
    assert made["live_deployment"]


def test_an_empty_project_has_no_barriers_and_fits_a_phone(page: Page, project: str) -> None:
    page.goto(f"/projects/{project}")
    expect(page.get_by_role("button", name="Deploy a sample Micro")).to_be_visible()
    must_fit(page)


def test_a_new_micro_tells_how_code_comes_into_it(page: Page, host: Host, project: str) -> None:
    page.goto(f"/projects/{project}")
    page.get_by_role("button", name="New Micro").click()
    dialog = page.get_by_role("dialog", name="New Micro")
    dialog.get_by_label("Name").fill("my blog/")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.get_by_role("alert")).to_contain_text("leave out '/'")
    dialog.get_by_label("Name").fill("my blog")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("my blog")
    expect(page.get_by_text(f"clone --name 'my blog' --project {project}")).to_be_visible()
    expect(page.get_by_role("main").get_by_text("new", exact=True)).to_be_visible()


def test_a_project_shows_its_micros_with_their_state_and_address(
    page: Page, host: Host, micro: Micro
) -> None:
    host.new_micro(micro.project, "empty", public=False)
    page.goto(f"/projects/{micro.project}")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="guestbook"))
    expect(card.get_by_text(re.compile("^(awake|asleep)$"))).to_be_visible()
    expect(card.get_by_role("link", name=micro.path)).to_have_attribute("href", micro.show()["endpoint"])
    for figure in ("Requests", "Errors", "Latency", "Memory"):
        expect(card.get_by_role("img", name=f"{figure} over the last hour")).to_be_visible()
    must_fit(page)
    card.get_by_role("link", name="guestbook").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("guestbook")


# A Micro


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_a_micro_has_no_barriers_and_fits_a_phone(page: Page, micro: Micro, part: str) -> None:
    micro.put_env(NAME="Ada")
    micro.set_cron("0 10 * * ? *")
    micro.host.post(f"{micro.at}/api-keys", {"name": "phone", "description": "Of Ada"})
    micro.call("/")
    micro.call("/fail")
    visit(page, micro, part)
    must_fit(page)


def test_the_overview_shows_what_is_live_what_comes_next_and_what_failed(page: Page, micro: Micro) -> None:
    micro.set_cron("0 10 * * ? *")
    micro.call("/fail")
    visit(page, micro)
    main = page.get_by_role("main")
    expect(main.get_by_text("3 files")).to_be_visible()
    expect(main.get_by_text("Public: everybody")).to_be_visible()
    expect(main.get_by_text(re.compile("10:00"))).to_be_visible()
    failure = main.get_by_role("link", name="GET /fail")
    expect(failure).to_be_visible()
    expect(main.get_by_text("It raised an exception")).to_be_visible()
    failure.click()
    event = micro.events()[0]["id"]
    expect(page).to_have_url(re.compile(f"/visor/{event}$"))


def test_the_charts_count_requests_and_failures(page: Page, micro: Micro) -> None:
    for _ in range(3):
        micro.call("/")
    micro.call("/fail")
    visit(page, micro)
    chart = page.get_by_role("img", name=re.compile("^Requests: .* per minute, 4 in all$"))
    expect(chart).to_be_visible(timeout=30_000)
    expect(page.get_by_role("img", name="Errors: 25 % of the requests, 1 in all")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Latency: [0-9.]+ ms median"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Memory: [0-9.]+ MB in use"))).to_be_visible(
        timeout=30_000
    )
    page.get_by_label("Period").select_option("Last day")
    expect(page.get_by_text("24 hours ago").first).to_be_visible()
    page.goto(f"/projects/{micro.project}")
    expect(
        page.get_by_role("img", name=re.compile("^Errors over the last hour: 25 % 1 in all"))
    ).to_be_visible()


def test_a_micro_that_is_not_there_says_so(page: Page, project: str) -> None:
    page.goto(f"/projects/{project}/micros/nobody")
    expect(page.get_by_role("alert")).to_contain_text("There is no Micro 'nobody'")


# Deployments


@pytest.fixture
def deployed_twice(micro: Micro) -> Micro:
    """A Micro with a second deployment, which changed one file, added one and removed one."""
    changed = {**FILES, "main.py": MAIN.replace('"one"', '"two"'), "new.bin": bytes(range(256))}
    del changed["old.txt"]
    micro.must_deploy(zip_files(changed))
    return micro


def test_an_earlier_deployment_is_made_live_again(page: Page, deployed_twice: Micro) -> None:
    assert deployed_twice.call("/").text == "two"
    visit(page, deployed_twice, "deployments")
    page.get_by_role("button", name="Make live: deployment 1").click()
    say_yes(page, "Make it live")
    expect(page.get_by_text("Deployment 1 is live.")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^1 live"))).to_be_visible()
    assert deployed_twice.call("/").text == "one"


def test_the_files_of_two_deployments_are_compared_line_by_line(page: Page, deployed_twice: Micro) -> None:
    visit(page, deployed_twice, "deployments")
    page.get_by_role("button", name="Compare deployment 1").click()
    expect(page.get_by_text("3 files changed")).to_be_visible()
    for file in ("main.py changed", "new.bin added", "old.txt removed"):
        page.get_by_role("button", name=file).click()
    changes = page.get_by_role("region", name="Changes of main.py")
    expect(changes.get_by_role("row", name='− return PlainTextResponse("one")')).to_be_visible()
    expect(changes.get_by_role("row", name='+ return PlainTextResponse("two")')).to_be_visible()
    expect(page.get_by_text("It is not a text.")).to_be_visible()
    expect(page.get_by_role("region", name="Changes of old.txt")).to_contain_text("old")
    must_fit(page)
    page.reload()
    expect(page.get_by_text("3 files changed")).to_be_visible()
    page.get_by_label("From").select_option(label="Deployment 2 (live)")
    expect(page.get_by_text("Their files are the same")).to_be_visible()


def test_a_deployments_log_is_shown(page: Page, micro: Micro) -> None:
    micro.must_deploy(
        zip_files({"main.py": "print('it is imported')\n" + MAIN, "requirements.txt": "starlette\n"})
    )
    visit(page, micro, "deployments")
    page.get_by_role("button", name="Log of deployment 2").click()
    expect(page.get_by_role("dialog", name="Log of deployment 2")).to_contain_text("it is imported")


# Logs


def test_logs_are_live_and_can_be_paused(page: Page, micro: Micro) -> None:
    micro.call("/?before")
    visit(page, micro, "logs")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_role("article")).to_have_count(1)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    micro.call("/fail")
    expect(log.get_by_role("article")).to_have_count(2)
    expect(log.get_by_text("It raised an exception.")).to_be_visible()
    expect(log).to_contain_text("ValueError: no luck")
    page.get_by_role("button", name="Pause").click()
    micro.call("/")
    expect(page.get_by_text("paused, 1 new")).to_be_visible()
    expect(log.get_by_role("article")).to_have_count(2)
    page.get_by_role("button", name="Go on").click()
    expect(log.get_by_role("article")).to_have_count(3)


def test_logs_are_filtered_by_what_stands_in_the_address(page: Page, micro: Micro) -> None:
    micro.call("/")
    micro.call("/fail")
    visit(page, micro, "logs?status=5xx")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_role("article")).to_have_count(1)
    expect(log.get_by_role("link", name="GET /fail")).to_be_visible()
    page.get_by_label("Status").select_option("2xx")
    expect(log.get_by_role("link", name="GET /", exact=True)).to_be_visible()
    expect(log.get_by_role("article")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?status=2xx$"))
    page.get_by_label("Path begins with").fill("fail")
    expect(page.get_by_role("alert")).to_contain_text("with its first '/'")
    page.get_by_label("Path begins with").fill("/fail")
    expect(page.get_by_text("Nothing fits these filters")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_logs_are_searched_for_a_text_in_what_was_printed(page: Page, micro: Micro) -> None:
    micro.call("/")
    micro.call("/fail")
    visit(page, micro, "logs")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_role("article")).to_have_count(2)
    page.get_by_label("Text").fill("no luck")
    expect(log.get_by_role("article")).to_have_count(1)
    expect(log.get_by_role("link", name="GET /fail")).to_be_visible()


def test_logs_are_copied_and_downloaded_as_the_command_prints_them(
    page: Page, micro: Micro, tmp_path: Path
) -> None:
    micro.call("/")
    visit(page, micro, "logs")
    expect(page.get_by_role("region", name="Log").get_by_role("article")).to_have_count(1)
    page.get_by_role("button", name="Copy", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert download.value.suggested_filename == "guestbook.log"
    assert re.fullmatch(r"\S+ \S+ GET / 200 [0-9.]+ ms\n\S+ \S+ hello from None\n", text), text
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_older_logs_are_loaded_above_and_what_is_read_stays_in_view(page: Page, micro: Micro) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: micro.call(f"/past-{number}"), range(450)))
    visit(page, micro, "logs")
    log = page.get_by_role("region", name="Log")
    older = log.get_by_role("button", name="Load older")
    expect(log.get_by_role("article")).to_have_count(100)
    log.evaluate("e => e.scrollTop = 0")
    first = log.get_by_role("article").first
    name = first.get_by_role("link").inner_text()
    top = first.bounding_box()
    older.click()
    expect(log.get_by_role("article")).to_have_count(300)
    now = (
        log.get_by_role("article").filter(has=page.get_by_role("link", name=name, exact=True)).bounding_box()
    )
    assert top and now and abs(top["y"] - now["y"]) < 60, "what was read has moved away"
    micro.call("/fresh")
    expect(log.get_by_role("article")).to_have_count(301)
    older.click()
    expect(log.get_by_role("article")).to_have_count(451)
    expect(older).to_have_count(0)


def test_who_was_cut_off_misses_nothing(browser: Browser, micro: Micro) -> None:
    context = browser.new_context(
        base_url=f"http://localhost:{micro.host.port}"
    )  # lost connections are no fault here
    log_in(context, micro.host)
    page = context.new_page()
    visit(page, micro, "logs")
    micro.call("/first")
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_role("article")).to_have_count(1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: micro.call(f"/seen-{number}"), range(250)))
    expect(log.get_by_role("article")).to_have_count(251)
    context.set_offline(True)
    micro.host.kill_host_process()
    expect(page.get_by_text("connecting again")).to_be_visible()
    wait_until(lambda: _serves(micro), "the next host")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: micro.call(f"/missed-{number}"), range(300)))
    context.set_offline(False)
    expect(log.get_by_role("link", name="GET /missed-299", exact=True)).to_have_count(1)
    shown = set(log.get_by_role("link").all_inner_texts())
    assert {f"GET /missed-{number}" for number in range(300)} <= shown
    assert "GET /first" in shown
    context.close()


def _serves(micro: Micro) -> bool:
    try:
        return micro.call("/?back").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_flood_of_events_does_not_freeze_the_logs(page: Page, micro: Micro) -> None:
    visit(page, micro, "logs")
    for _ in range(300):
        micro.call("/")
    expect(page.get_by_role("region", name="Log").get_by_role("article")).to_have_count(300)
    box = page.get_by_role("region", name="Log")
    assert box.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight < 8"), "the end is out of view"


# Environment, keys


def test_variables_are_set_and_deleted_and_never_shown(page: Page, micro: Micro) -> None:
    visit(page, micro, "environment")
    page.get_by_role("button", name="New variable").click()
    page.get_by_label("Name").fill("1x")
    page.get_by_label("Value").fill("Ada")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Name").fill("NAME")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    micro.call("/")
    assert "hello from Ada" in micro.events()[0]["log"]
    page.get_by_role("button", name="Set NAME").click()
    expect(page.get_by_role("dialog", name="Set NAME")).to_be_visible()
    expect(page.get_by_label("Value")).to_have_value("")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete NAME").click()
    say_yes(page, "Delete")
    expect(page.get_by_text("No variables yet")).to_be_visible()
    assert micro.host.get(f"{micro.at}/env") == {"names": []}


def test_a_pasted_env_file_is_checked_before_it_is_saved(page: Page, micro: Micro) -> None:
    micro.put_env(NAME="old", OTHER="stays")
    visit(page, micro, "environment")
    page.get_by_role("button", name="Paste a .env").click()
    content = page.get_by_label("Content of the file")
    content.fill("NAME=Ada\nnonsense")
    expect(page.get_by_role("alert")).to_contain_text("Line 2")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    content.fill('# mine\nexport NAME="Ada L."\nMORE=1\n')
    expect(page.get_by_text("2 variables, 1 of them replaced")).to_be_visible()
    assert find_barriers(page) == []
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("MORE", exact=True)).to_be_visible()
    assert micro.host.get(f"{micro.at}/env") == {"names": ["MORE", "NAME", "OTHER"]}
    assert micro.call("/").status_code == 200
    # a search of a busy machine's events may end early, with none found yet
    assert "hello from Ada L." in wait_until(micro.events, "its event")[0]["log"]


def test_a_variable_with_which_the_app_does_not_start_is_refused_with_its_log(
    page: Page, micro: Micro
) -> None:
    picky = "import os\nif os.environ.get('BAD'): raise RuntimeError('this is bad')\n" + MAIN
    micro.must_deploy(zip_files({**FILES, "main.py": picky}))
    visit(page, micro, "environment")
    page.get_by_role("button", name="New variable").click()
    page.get_by_label("Name").fill("BAD")
    page.get_by_label("Value").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Log")).to_contain_text(
        "RuntimeError: this is bad", timeout=30_000
    )
    assert micro.host.get(f"{micro.at}/env") == {"names": []}


def test_an_api_key_is_shown_once_and_opens_the_micro_until_it_is_deleted(page: Page, micro: Micro) -> None:
    micro.change(http_auth=True)
    visit(page, micro, "keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("phone")
    page.get_by_label("Description").fill("The app on a phone")
    page.get_by_role("button", name="Make the key").click()
    dialog = page.get_by_role("dialog", name="Your new API key")
    dialog.get_by_role("button", name="Copy the key").click()
    key = page.evaluate("navigator.clipboard.readText()")
    assert find_barriers(page) == []
    dialog.get_by_role("button", name="Done").click()
    assert micro.call("/", headers={"X-API-Key": key}).status_code == 200
    expect(page.get_by_role("row", name=re.compile("phone The app on a phone"))).to_be_visible()
    assert key not in page.content()
    page.get_by_role("button", name="Delete the key phone").click()
    say_yes(page, "Delete")
    expect(page.get_by_text("No keys yet")).to_be_visible()
    assert micro.call("/", headers={"X-API-Key": key}).status_code == 401


# Cron


def test_a_schedule_is_set_explained_and_removed(page: Page, micro: Micro) -> None:
    visit(page, micro, "cron")
    page.get_by_label("Run", exact=True).fill("1 minutes")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("minute")
    page.get_by_label("Run", exact=True).fill("0 10 * * ? *")
    page.get_by_role("button", name="Set", exact=True).click()
    card = (
        page.get_by_role("main").locator("section").filter(has=page.get_by_role("heading", name="Schedule"))
    )
    expect(card.get_by_text("In words")).to_be_visible()
    expect(
        card.get_by_role("definition").filter(has_text="10:00 (UTC)").or_(card.get_by_text("10:00")).first
    ).to_be_visible()
    expect(card.get_by_role("listitem")).to_have_count(5)
    assert micro.show()["cron"] == "0 10 * * ? *"
    page.get_by_role("button", name="Remove").click()
    say_yes(page, "Remove")
    expect(page.get_by_text("This Micro has no schedule.")).to_be_visible()
    assert micro.show()["cron"] is None


def test_the_cron_handler_is_run_at_once_and_stands_in_the_history(page: Page, micro: Micro) -> None:
    visit(page, micro, "cron")
    page.get_by_role("button", name="Run now").click()
    dialog = page.get_by_role("dialog", name="It ran")
    expect(dialog).to_contain_text('"ticked": true')
    expect(dialog).to_contain_text("it ticked")
    assert find_barriers(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_text("done", exact=True)).to_be_visible()


# Domains, settings


def test_a_sub_domain_of_ones_choice_is_set_and_removed(page: Page, micro: Micro) -> None:
    visit(page, micro, "domains")
    field = page.get_by_label("Sub-domain of your choice")
    field.fill("www")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("4 to")
    chosen = f"chosen-{micro.path}"
    field.fill(chosen.upper())
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("main").get_by_role("link", name=chosen).first).to_be_visible()
    assert micro.show()["subdomain"] == chosen
    page.get_by_role("button", name="Remove").click()
    say_yes(page, "Remove")
    expect(page.get_by_text("none", exact=True)).to_be_visible()
    assert micro.show()["subdomain"] is None


def test_a_domain_of_ones_own_is_added_and_removed(page: Page, micro: Micro) -> None:
    visit(page, micro, "domains")
    page.get_by_label("Domain", exact=True).fill("not a domain")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    domain = f"{micro.path}.example.org"
    page.get_by_label("Domain", exact=True).fill(domain)
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row", name=re.compile(domain))
    expect(row.get_by_text("pending")).to_be_visible()
    expect(row).to_contain_text(re.compile("does not exist yet|could not be asked"))
    must_fit(page)
    page.get_by_role("button", name=f"Check {domain} again").click()
    expect(page.get_by_text(f"{domain} was looked up.")).to_be_visible()
    page.get_by_role("button", name=f"Remove {domain}").click()
    say_yes(page, "Remove")
    expect(row).to_have_count(0)


def test_a_micro_is_opened_to_everybody_only_when_one_is_sure(page: Page, micro: Micro) -> None:
    micro.change(http_auth=True)
    visit(page, micro, "settings")
    access = page.get_by_role("switch", name="Deta Access")
    access.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(access).to_be_checked()
    assert micro.call("/").status_code == 401
    access.click()
    say_yes(page, "Open it")
    expect(page.get_by_text("The Micro is public.", exact=True)).to_be_visible()
    expect(access).not_to_be_checked()
    assert micro.call("/").status_code == 200


def test_name_and_limits_are_changed_and_wrong_ones_refused(page: Page, micro: Micro) -> None:
    visit(page, micro, "settings")
    save = page.get_by_role("button", name="Save").first
    expect(save).to_be_disabled()
    page.get_by_label("Name").fill("renamed")
    page.get_by_label("Time limit in seconds").fill("2.5")
    page.get_by_label("Memory limit in MiB").fill("128")
    save.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("renamed")
    expect(page).to_have_url(re.compile("/micros/renamed/settings$"))
    shown = micro.show()
    assert (shown["name"], shown["timeout_s"], shown["memory_mb"]) == ("renamed", 2.5, 128)
    expect(page.get_by_label("Requests at once in one process")).to_have_count(0)
    runtimes = page.get_by_label("Runtime")
    node = runtimes.locator("option").filter(has_text="node").last
    node.wait_for(state="attached")
    runtimes.select_option(node.inner_text())
    page.get_by_label("Requests at once in one process").fill("8")
    save.click()
    wait_until(lambda: micro.show()["concurrency"] == 8, "it is saved")
    micro.host.new_micro(micro.project, "taken")
    page.get_by_label("Name").fill("taken")
    save.click()
    expect(page.get_by_role("alert")).to_contain_text("taken")


def test_visor_is_switched_and_packages_are_dated_and_forgotten(page: Page, micro: Micro) -> None:
    visit(page, micro, "settings")
    page.get_by_role("switch", name="Visor").click()
    expect(page.get_by_text("Visor is on.")).to_be_visible()
    page.get_by_label("As of").fill("2026-01-31")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    shown = micro.show()
    assert (shown["visor"], shown["packages_as_of"]) == (True, "2026-01-31")
    page.get_by_role("button", name="Forget installed packages").click()
    say_yes(page, "Forget them")
    expect(page.get_by_text("installs its packages anew.")).to_be_visible()


def test_a_micro_is_deleted_when_its_name_is_typed(page: Page, host: Host, micro: Micro) -> None:
    visit(page, micro, "settings")
    page.get_by_role("button", name="Delete the Micro").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete it")).to_be_disabled()
    dialog.get_by_label("Type guestbook to go on").fill("guestbook")
    dialog.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(micro.project)
    wait_until(lambda: host.get(f"/projects/{micro.project}/micros")["micros"] == [], "the Micro is gone")
