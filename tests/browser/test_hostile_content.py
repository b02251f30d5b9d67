"""What tenants and strangers write is shown as text: the usual attacks stand everywhere, and none of them runs.

The watch on every page (conftest.py) sees a script that ran, a dialog, a policy that was broken and a request to
anywhere else; `window.owned` is what the attacks set.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Watch
from tests.driving import Host, wait_until, zip_files

ATTACKS = [
    "<script>window.owned=1;alert(1)</script>",
    '<img src=x onerror="window.owned=1;alert(1)">',
    '"><svg onload=window.owned=1>',
    "javascript:window.owned=1//",
    "'-window.owned=1-'",
    "{{constructor.constructor('window.owned=1')()}}",
    "</textarea><iframe srcdoc='<script>parent.owned=1</script>'>",
    '<a href="javascript:window.owned=1" autofocus onfocus=window.owned=1>x</a>',
]
ALL = " ".join(ATTACKS)
APP = """import sys
ATTACK = %r

async def app(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    print(ATTACK)
    print(scope["path"], body.decode("utf-8", "replace"), file=sys.stderr)
    kind = {"/json": b"application/json", "/svg": b"image/svg+xml"}.get(scope["path"], b"text/html")
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", kind), (b"x-attack", ATTACK.encode("latin-1", "replace")),
        (b"content-disposition", b"inline; filename=\\"<svg onload=window.owned=1>.html\\"")]})
    await send({"type": "http.response.body", "body": ATTACK.encode()})
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="window.owned=1"><script>window.owned=1</script></svg>'
HTML = f"<!doctype html><title>x</title>{ALL}<script>try{{parent.owned=1}}catch(e){{}};top.owned=1</script>"


@pytest.fixture(scope="module")
def planted(host: Host) -> dict[str, str]:
    """Write attacks into everything that has a place for them. Gives addresses of the console."""
    project = str(host.new_project("hostile <img src=x onerror=window.owned=1>".replace("/", ""))["name"])
    micro = host.new_micro(quote(project, safe=""), "hostile", visor=True)
    micro.must_deploy(zip_files({"main.py": APP % ALL, f"{ATTACKS[1]}.txt".replace("/", "_"): ALL}))
    for attack in ATTACKS:
        headers = {"User-Agent": attack, "Referer": attack, "X-Attack": attack, "Content-Type": "text/html"}
        micro.call(f"/{quote(attack)}?q={quote(attack)}", "POST", content=attack, headers=headers)
    for path in ("/json", "/svg", "/html"):
        micro.call(path)
    project_id = host.get(f"/projects/{quote(project, safe='')}")["id"]
    base, drive = "b<img src=x onerror=window.owned=1>", "d<img src=x onerror=window.owned=1>"
    items = [{"key": attack, attack: attack, "deep": {attack: [attack]}} for attack in ATTACKS]
    stored = host.client.put(f"/base/v1/{project_id}/{quote(base, safe='')}/items", json={"items": items})
    assert stored.status_code == 207 and "failed" not in json.loads(stored.text), stored.text
    files = {f"{attack.replace('/', '_')}.txt": attack for attack in ATTACKS}
    files |= {"page.html": HTML, "drawing.svg": SVG, "page.txt": HTML, "fake.png": HTML, "fake.pdf": HTML}
    for name, content in files.items():
        at = f"/drive/v1/{project_id}/{quote(drive, safe='')}/files?name={quote(name, safe='')}"
        stored = host.client.post(at, content=content.encode(), headers={"Content-Type": "text/html"})
        assert stored.status_code == 201, stored.text
    host.post(f"/projects/{project_id}/keys", {"name": "key"})  # names of keys are letters and digits only
    host.post(f"{micro.at}/api-keys", {"name": "api", "description": ATTACKS[1]})
    asked = host.post("/login", {"name": ATTACKS[1]})
    at = f"/projects/{quote(project, safe='')}"
    return {
        "micro": f"{at}/micros/hostile",
        "base": f"{at}/bases/{quote(base, safe='')}",
        "drive": f"{at}/drives/{quote(drive, safe='')}",
        "keys": f"{at}/keys",
        "login": f"/login/cli?code={asked['code']}",
        "project": at,
    }


def visit(page: Page, address: str) -> None:
    """Open a page and wait until all of it is there."""
    page.goto(address)
    page.get_by_role("heading", level=1).first.wait_for()
    page.locator(".skeleton").first.wait_for(state="detached")


def must_be_unharmed(page: Page) -> None:
    """Say what an attack has reached."""
    assert page.evaluate("window.owned") is None


PARTS = ("", "/deployments", "/logs", "/visor", "/environment", "/keys", "/cron", "/domains", "/settings")


@pytest.mark.parametrize("part", PARTS)
def test_a_micros_pages_run_nothing_of_what_was_planted(
    page: Page, planted: dict[str, str], part: str
) -> None:
    visit(page, planted["micro"] + part)
    must_be_unharmed(page)


def test_every_event_shows_request_response_and_logs_as_text(
    page: Page, host: Host, planted: dict[str, str]
) -> None:
    micro_at = planted["micro"].replace("/projects", "/projects", 1)
    events = host.get(f"{micro_at}/events")["events"]
    assert len(events) == len(ATTACKS) + 3
    for event in events:
        visit(page, f"{planted['micro']}/visor/{event['id']}")
        for tab in ("Request", "Logs", "Response"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tabpanel")).to_be_visible()
        must_be_unharmed(page)


@pytest.mark.parametrize("place", ["project", "keys", "base", "drive", "login"])
def test_the_projects_pages_run_nothing_of_what_was_planted(
    page: Page, planted: dict[str, str], place: str
) -> None:
    visit(page, planted[place])
    must_be_unharmed(page)


def test_previews_of_files_run_nothing(page: Page, planted: dict[str, str]) -> None:
    for name in ("page.html", "drawing.svg", "page.txt", "fake.png", "fake.pdf"):
        visit(page, planted["drive"])
        page.get_by_role("button", name=name, exact=False).or_(
            page.get_by_role("link", name=name)
        ).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.wait_for_load_state("networkidle")
        for frame in page.frames:
            if frame.url.startswith("blob:"):
                assert frame.evaluate("window.owned") is None
        must_be_unharmed(page)


def test_the_watch_sees_an_attack_that_runs(page: Page, host: Host) -> None:
    """Else the tests above would prove nothing."""
    other = page.context.browser.new_context(base_url=f"http://localhost:{host.port}", bypass_csp=True)  # type: ignore[union-attr]
    watch = Watch(other, host)
    victim = other.new_page()
    victim.goto("/")
    victim.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.owned=1;alert(1)\">')"
    )
    wait_until(lambda: victim.evaluate("window.owned") == 1, "the attack to run")
    other.close()
    assert any(each.startswith("dialog") for each in watch.seen)
