"""Help tests that use the console in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request

from tests.driving import Host

AXE = Path(__file__).parents[1] / "microhost/console/web/node_modules/axe-core/axe.min.js"
# what a refusal by the host looks like in the browser's console; the page shows it in words
HARMLESS = ("Failed to load resource: the server responded with a status of",)


class Watch:
    """Note what must never happen on a page of the console."""

    def __init__(self, context: BrowserContext, host: Host) -> None:
        """Watch all pages of a context."""
        self.seen: list[str] = []
        self._own = f"localhost:{host.port}"
        context.on("console", self._console)
        context.on("dialog", self._dialog)
        context.on("request", self._request)
        context.on("weberror", lambda error: self.seen.append(f"script error: {error.error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(HARMLESS):
            self.seen.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.netloc != self._own:
            self.seen.append(f"request to {request.url}")


def log_in(context: BrowserContext, host: Host) -> None:
    """Log a context in by the owner's access token, as the page does."""
    answer = context.request.post(
        "/api/v1/session", data={"token": host.token}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status == 201, answer.text()


def find_barriers(page: Page) -> list[dict[str, Any]]:
    """Give what axe finds wrong on the page as it stands, each with its rule and the elements."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        {"rule": each["id"], "nodes": [node["html"][:200] for node in each["nodes"]]}
        for each in found["violations"]
    ]
