"""Serve the deploy button's two names: `button.`, the picture, and `go.`, which leads to the console's page.

The page is the console's own, so a session counts there and nowhere else; nothing is done by a GET.
Source: Deta docs, Deploy to Deta Button; RFC 9110, section 8.8.3.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from microhost.gateway.hosts import Names
from microhost.settings import Settings

KEPT_S = 86_400
PICTURE_PATH = "/1/svg"
PAGE = "/deploy"
PICTURE_HEADERS = {
    "cache-control": f"public, max-age={KEPT_S}",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
    "x-content-type-options": "nosniff",
}
PAGE_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


class Button:
    """Serve the button's names and pass everything else on to the console."""

    def __init__(self, console: ASGIApp, *, names: Names, settings: Settings) -> None:
        """Stand before `console`."""
        self._console = console
        self._names = names
        self._settings = settings
        self._picture = (files("microhost.gateway") / "button.svg").read_bytes()
        self._tag = f'"{sha256(self._picture).hexdigest()[:16]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        place = None
        if scope["type"] == "http":
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            place = self._names.find(host)
        if place is None or not place.button:
            await self._console(scope, receive, send)
            return
        request = Request(scope)
        answer = self._show(request) if place.button == "button" else self._lead(request, place.port)
        await answer(scope, receive, send)

    def _show(self, request: Request) -> Response:
        """Give the picture."""
        if request.scope["path"] != PICTURE_PATH:
            return _nothing()
        if request.method not in ("GET", "HEAD"):
            return _not_allowed()
        headers = {**PICTURE_HEADERS, "etag": self._tag}
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self._picture, headers=headers, media_type="image/svg+xml")

    def _lead(self, request: Request, port: bytes) -> Response:
        """Lead to the console's page, by the way that the visitor came."""
        if request.scope["path"] not in ("/", PAGE):
            return _nothing()
        if request.method not in ("GET", "HEAD"):
            return _not_allowed()
        origin = self._settings.public_url
        if self._settings.https_port is None:
            part = f":{port.decode('ascii')}" if port else ""
            origin = f"{request.scope['scheme']}://{self._settings.console_name}{part}"
        repo = request.query_params.get("repo", "")
        path = f"{PAGE}?repo={quote(repo, safe='')}" if request.scope["path"] == PAGE else "/"
        return RedirectResponse(f"{origin}{path}", 302, PAGE_HEADERS)


def _nothing() -> Response:
    return PlainTextResponse("There is nothing at this address.\n", 404, {"cache-control": "no-store"})


def _not_allowed() -> Response:
    return PlainTextResponse("This address is for GET alone.\n", 405, {"allow": "GET, HEAD"})
