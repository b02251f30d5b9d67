"""Send a browser that Deta Access keeps out to the console, and let it in when it comes back (accounts/entries.py)."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote

from microhost.accounts.browsers import (
    COOKIE_BYTES_MAX,
    ENTER_PATH,
    SECURE_PREFIX,
    VISIT,
    find_cookies,
    is_loopback,
    visit_cookie,
)
from microhost.accounts.entries import state_of
from microhost.gateway.access import navigates
from microhost.gateway.console import ConsoleRequest
from microhost.gateway.guard import Head
from microhost.gateway.pages import wants_html
from microhost.records import Micro

CONSOLE_PAGE = "/enter"
SECRET_BYTES = 32
_ENTER = ENTER_PATH.encode("ascii")


class EnterRequest(ConsoleRequest):
    """Be a request to be let into a Micro, answered by the console's application on the Micro's own host."""

    __slots__ = ("micro",)

    micro: Micro

    def _scope(self) -> dict[str, Any]:
        scope = super()._scope()
        scope["headers"] += [(b"cookie", value) for value in self.head.cookies]
        scope["state"]["entered_micro"] = self.micro.id
        return scope


def is_entering(head: Head) -> bool:
    """Tell whether a browser comes back from the console."""
    return head.method == b"GET" and head.target.partition(b"?")[0] == _ENTER


def send_to_console(head: Head, *, scheme: bytes, console: str, peer: str) -> bytes:
    """Give the header lines that send a browser to the console, empty when it is none, or takes no cookie here."""
    if not wants_html(head.method, head.accept) or not navigates(head):
        return b""
    secure, name = scheme == b"https", head.place.name.decode("ascii")
    if not secure and not (is_loopback(name) and is_loopback(peer)):
        return b""
    port = f":{head.place.port.decode('ascii')}" if head.place.port else ""
    to = f"{scheme.decode('ascii')}://{name}{port}".encode("ascii") + head.target
    secret = _secret_of(head, secure=secure)
    page = f"{scheme.decode('ascii')}://{console}{port}{CONSOLE_PAGE}?to={quote(to, safe='')}"
    location = f"{page}&state={state_of(secret)}"
    return f"location: {location}\r\nset-cookie: {visit_cookie(secret, secure=secure)}\r\n".encode("ascii")


def _secret_of(head: Head, *, secure: bool) -> str:
    """Give the secret that the browser has, so that one tab does not put out another's; else a new one."""
    name = f"{SECURE_PREFIX}{VISIT}" if secure else VISIT
    found = find_cookies([(b"cookie", value) for value in head.cookies], name)
    is_whole = len(found) == 1 and 40 <= len(found[0]) <= COOKIE_BYTES_MAX and found[0].isascii()
    if is_whole and found[0].replace("-", "").replace("_", "").isalnum():
        return found[0]
    return secrets.token_urlsafe(SECRET_BYTES)
