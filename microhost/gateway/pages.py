"""Answer for ourselves: constant pages in HTML for browsers and JSON for everything else.

Nothing of ours appears in them: no path, no traceback, no host name but the visitor's own.
"""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus

from microhost.micros.work import Failure

STATUS_LINES: dict[int, bytes] = {}
for _status in range(100, 600):
    try:
        _phrase = HTTPStatus(_status).phrase
    except ValueError:
        _phrase = ""
    STATUS_LINES[_status] = f"HTTP/1.1 {_status} {_phrase}\r\n".encode()

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 36em; margin: 18vh auto 0; padding: 0 1.5em;
color: #222; background: #fff }}
h1 {{ font-size: 1.3em }} code {{ color: #666 }}
@media (prefers-color-scheme: dark) {{ body {{ color: #ddd; background: #161616 }} }}
</style></head><body><h1>{title}</h1><p>{message}</p>{note}</body></html>
"""
_SAFE = (
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
)


# What the user's code said of its failure (an exception's text may hold a password) is for its log, not for visitors.
_FAILURES = {
    "exception": "failed while it handled the request.",
    "crashed": "ended before its answer was complete.",
    "import_error": "could not be imported.",
    "startup_error": "could not be started.",
    "bad_response": "sent an invalid response.",
    "no_handler": "has nothing that could answer.",
    "bad_result": "gave a result that cannot be sent.",
}


def failure_of(failure: Failure, micro_name: str) -> str:
    """Give the sentence that a visitor may read. Timeouts and memory are in our own words already."""
    said = _FAILURES.get(failure.cause)
    return f"Micro '{micro_name}' {said}" if said else failure.message


def wants_html(method: bytes, accept: bytes) -> bool:
    """Tell whether a browser asks for a page."""
    return method == b"GET" and b"text/html" in accept


def body_of(status: int, message: str, *, html: bool, cause: str = "", event: str = "") -> bytes:
    """Give the body of an answer of ours: `{"errors": [message], "cause"?, "event"?}` or a page."""
    if html:
        title = f"{status} {HTTPStatus(status).phrase}"
        note = f"<p><code>{escape(cause)} {escape(event)}</code></p>" if cause or event else ""
        return _HTML.format(title=escape(title), message=escape(message), note=note).encode()
    document: dict[str, object] = {"errors": [message]}
    if cause:
        document["cause"] = cause
    if event:
        document["event"] = event
    return json.dumps(document).encode()


def answer(
    status: int,
    message: str,
    *,
    html: bool = False,
    close: bool = True,
    head_only: bool = False,
    cause: str = "",
    event: str = "",
    extra: bytes = b"",
    date: bytes = b"",
) -> bytes:
    """Give a whole answer of ours, ready to be written. `extra` and `date` are header lines."""
    body = body_of(status, message, html=html, cause=cause, event=event)
    kind = b"text/html; charset=utf-8" if html else b"application/json"
    if cause:
        extra += b"x-microhost-cause: " + cause.encode("ascii") + b"\r\n"
    return b"".join(
        (
            STATUS_LINES[status],
            date,
            b"content-type: " + kind + b"\r\ncontent-length: %d\r\n" % len(body),
            _SAFE,
            extra,
            b"connection: close\r\n\r\n" if close else b"\r\n",
            b"" if head_only else body,
        )
    )
