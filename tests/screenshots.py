"""Make pictures of every page of the console, filled as after a week of use: `make screenshots`.

Each page is shown bright, dark and as wide as a phone, into `screenshots/`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
from playwright.sync_api import Browser, sync_playwright

from tests.browsing import log_in
from tests.driving import Host, Micro, zip_app, zip_files

OUT = Path("screenshots")
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
CODE = """import json
from deta import App, Base
import flask

app = App(flask.Flask(__name__))


@app.route("/")
def hello():
    print("somebody came by")
    return {"shop": "open", "items": 3}


@app.route("/orders", methods=["POST"])
def order():
    body = flask.request.get_json()
    print("order", body.get("item"))
    return {"order": 1042, **body}, 201


@app.route("/broken")
def broken():
    raise ValueError("the till is empty")


@app.lib.run("report")
def report(event):
    return {"orders": 12, "asked": event.json}


@app.lib.cron()
def nightly(event):
    print("counted the stock")
    return "counted"
"""


def fill(host: Host) -> tuple[str, Micro]:
    """Make a project with a busy Micro, a Base and a Drive. Gives the project's name and the Micro."""
    project = host.new_project("shop")
    shop = host.new_micro("shop", "storefront", visor=True)
    shop.must_deploy(zip_files({"main.py": CODE, "requirements.txt": "flask\ndeta\n"}))
    shop.must_deploy(
        zip_files({"main.py": CODE.replace('items": 3', 'items": 4'), "requirements.txt": "flask\ndeta\n"})
    )
    for number in range(12):
        shop.call("/", headers={"User-Agent": "Mozilla/5.0", "Cookie": "session=secret"})
        shop.call("/orders", "POST", json={"item": f"tea {number}", "count": number})
    for path in ("/broken", "/missing?page=2"):
        shop.call(path)
    shop.run("report", day="monday")
    shop.set_cron("0 6 * * ? *")
    shop.put_env(CURRENCY="EUR", PAYMENT_TOKEN="secret")
    host.post(f"{shop.at}/api-keys", {"name": "partner", "description": "the wholesaler"})
    newsletter = host.new_micro("shop", "newsletter", public=False)
    newsletter.must_deploy(zip_app("hello-starlette"))
    newsletter.set_cron("1 hour")
    host.post("/projects/shop/keys", {"name": "laptop"})
    _fill_products(host, str(project["id"]))
    return "shop", shop


def _fill_products(host: Host, project: str) -> None:
    items = [
        {
            "key": f"order-{number:03d}",
            "item": ["tea", "coffee", "cocoa"][number % 3],
            "count": number,
            "paid": number % 4 != 0,
            "price": 3.5 + number,
            "tags": ["new"] if number % 5 == 0 else [],
            "customer": {"name": f"customer {number}", "city": "Bern"},
            "note": None,
        }
        for number in range(60)
    ]
    for start in range(0, len(items), 25):
        _must(host.client.put(f"/base/v1/{project}/orders/items", json={"items": items[start : start + 25]}))
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300"><rect width="400" height="300" fill="#8a1c6a"/></svg>'
    files = {
        "readme.txt": b"Pictures of the shop.\n",
        "photos/front.svg": drawing,
        "photos/2026/tea.svg": drawing,
        "list.csv": b"a,b\n1,2\n",
    }
    for name, content in files.items():
        _must(
            host.client.post(
                f"/drive/v1/{project}/pictures/files?name={quote(name, safe='')}", content=content
            )
        )


def _must(answer: httpx.Response) -> None:
    if not answer.is_success:
        raise SystemExit(f"{answer.request.url}: {answer.status_code} {answer.text}")


def list_pages(host: Host, project: str, micro: Micro) -> Iterator[tuple[str, str]]:
    """Give the name and the address of each page."""
    at = f"/projects/{project}/micros/storefront"
    yield "projects", "/"
    yield "deploy", "/deploy"
    yield "project", f"/projects/{project}"
    yield "project-empty", "/projects/default"
    yield "project-keys", f"/projects/{project}/keys"
    yield "project-settings", f"/projects/{project}/settings"
    yield "micro", at
    for part in ("deployments", "logs", "visor", "environment", "keys", "cron", "domains", "settings"):
        yield f"micro-{part}", f"{at}/{part}"
    newest = next(each for each in micro.events() if each["method"] == "POST")
    yield "micro-visor-event", f"{at}/visor/{newest['id']}"
    yield "base", f"/projects/{project}/bases/orders"
    yield "drive", f"/projects/{project}/drives/pictures"
    yield "drive-folder", f"/projects/{project}/drives/pictures?path=photos"
    yield "settings", "/settings"
    for part in ("password", "users", "host"):
        yield f"settings-{part}", f"/settings/{part}"
    asked = host.post("/login", {"name": "anna@laptop"})
    yield "terminal-login", f"/login/cli?code={asked['code']}"


def shoot(browser: Browser, host: Host, pages: list[tuple[str, str]]) -> None:
    """Make the pictures."""
    forms = {"": (WIDE, "light"), "-dark": (WIDE, "dark"), "-phone": (PHONE, "light")}
    for ending, (size, scheme) in forms.items():
        context = browser.new_context(
            viewport=size,  # type: ignore[arg-type]
            color_scheme=scheme,  # type: ignore[arg-type]
            base_url=f"http://localhost:{host.port}",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.goto("/")
        page.get_by_role("heading", level=1).wait_for()
        page.screenshot(path=OUT / f"log-in{ending}.png")
        log_in(context, host)
        for name, address in pages:
            page.goto(address)
            page.get_by_role("heading", level=1).first.wait_for()
            page.locator(".skeleton").first.wait_for(state="detached")
            page.screenshot(path=OUT / f"{name}{ending}.png")
        context.close()


def main() -> None:
    """Start a host, fill it and make the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="microhost-screenshots-") as directory:
        Path(directory).chmod(0o755)  # noqa: S103  the host's user must reach its data in it
        host = Host(Path(directory) / "data")
        try:
            project, micro = fill(host)
            pages = list(list_pages(host, project, micro))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                shoot(browser, host, pages)
                browser.close()
        finally:
            host.stop()
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT}/", file=sys.stderr)


if __name__ == "__main__":
    main()
