"""Decide what `deta curl` sends, and that it goes to the Micro of this very server. Pure.

The access token opens everything the owner has. It goes to the address that the server names for the Micro, and only
when that address leads to the server: not to another program on this machine, and not unprotected where the server's
own connection is protected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from microhost.cli.failures import USAGE, CliError

FORM = "application/x-www-form-urlencoded"
METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")  # RFC 9110, section 5.6.2
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Call:
    """Be a request. `anonymous`: without the token, since the caller says otherwise."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    anonymous: bool


def build(url: str, *, method: str | None, headers: Sequence[str], data: Sequence[bytes]) -> Call:
    """Put a request together, with curl's habits. Raises: CliError for a header or a method that will not do."""
    named = _read_headers(headers)
    content = b"&".join(data) if data else None
    defaults = {"accept": "*/*", "accept-encoding": "identity"}
    if content is not None:
        defaults["content-type"] = FORM
    told = {name: value for name, value in {**defaults, **named}.items() if value}
    verb = (method or ("GET" if content is None else "POST")).upper()
    if not METHOD.fullmatch(verb):
        raise CliError(f"{verb!r} is no method.", "Methods are words such as PUT.", exit_code=USAGE)
    return Call(verb, url, told, content, anonymous="authorization" in named)


def address(endpoint: str, path: str, server: str) -> str:
    """Give the URL below a Micro's endpoint, when the token may go there.

    Raises: CliError when it may not, or when the path names another host.
    """
    check_endpoint(endpoint, server)
    if "://" in path:
        if not (path == endpoint or path.startswith((f"{endpoint}/", f"{endpoint}?"))):
            raise CliError(
                f"'{path}' is not below this Micro's endpoint, {endpoint}.",
                "Give a path, such as /; your access token goes nowhere else.",
                exit_code=USAGE,
            )
        path = path[len(endpoint) :]
    return f"{endpoint}{path}" if path.startswith("/") else f"{endpoint}/{path}"


def check_endpoint(endpoint: str, server: str) -> None:
    """Refuse an endpoint that leads elsewhere than to the server. Raises: CliError."""
    ours, theirs = urlsplit(server), urlsplit(endpoint)
    is_here = _is_loopback(ours.hostname or "")
    if _is_loopback(theirs.hostname or "") and not is_here:
        raise _elsewhere(endpoint, f"leads to this machine, and not to {server}")
    if is_here and ours.scheme == theirs.scheme and ours.port != theirs.port:
        raise _elsewhere(endpoint, f"has another port than {server}")
    if ours.scheme == "https" and theirs.scheme != "https" and not is_here:
        raise _elsewhere(endpoint, f"is unprotected, while {server} is not")


def _elsewhere(endpoint: str, why: str) -> CliError:
    return CliError(
        f"The Micro's endpoint {endpoint} {why}: your access token was not sent there.",
        "Take curl with one of its API keys: deta auth create-api-key",
    )


def _read_headers(lines: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name or not f"{name}{value}".isprintable() or " " in name:
            raise CliError(f"{line!r} is no header.", "Write it as 'Name: value'.", exit_code=USAGE)
        if name in OWN_HEADERS:
            raise CliError(f"The header '{name}' cannot be given: the request makes it.", exit_code=USAGE)
        joint = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{joint}{value}" if found.get(name) else value
    return found


def _is_loopback(name: str) -> bool:
    return name in ("localhost", "127.0.0.1", "::1") or name.endswith(".localhost")
